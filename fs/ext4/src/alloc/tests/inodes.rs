//! Inodes: all of them, and where they are.

use super::{Image, KINDS};
use rumpcap_host::Error;
use rumpcap_testing::seed::Random;
use rumpcap_testing::tools::{DebugfsMode, debugfs};
use rumpcap_vfs::{FileKind, InodeNo};
use std::collections::BTreeSet;

#[test]
fn all_inodes_come_and_go_on_every_kind_of_file_system() {
    for (seed, kind) in KINDS.iter().enumerate() {
        let Some(image) = Image::make(*kind) else { return };
        let before = image.dump();
        let mounted = image.mount();
        let free = mounted.free();
        let mut random = Random::new(seed as u64);
        let mut inodes = Vec::new();
        loop {
            let what = if random.one_in(5) { FileKind::Directory } else { FileKind::Regular };
            match mounted.change(|h| h.allocate_inode(InodeNo(2), what)) {
                Ok((ino, _)) => inodes.push((ino, what)),
                Err(Error::NoSpace { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((mounted.free(), inodes.len()), ((free.0, 0), free.1 as usize), "{kind:?}");
        let different: BTreeSet<u64> = inodes.iter().map(|(ino, _)| ino.0).collect();
        assert_eq!(different.len(), inodes.len());
        for _ in 0..5 {
            let (ino, what) = *random.pick(&inodes);
            mounted.change(|h| h.free_inode(ino, what)).unwrap();
            let parent = InodeNo(1 + random.below(u64::from(mounted.fs.sb.inodes_count)));
            let (again, _) = mounted.change(|h| h.allocate_inode(parent, FileKind::Regular)).unwrap();
            assert_eq!(again, ino, "{kind:?}");
            mounted.change(|h| h.free_inode(ino, FileKind::Regular)).unwrap();
            let same = mounted.change(|h| h.allocate_inode(InodeNo(2), what)).unwrap();
            assert_eq!(same.0, ino, "{kind:?}");
        }
        assert!(*different.first().unwrap() >= 11);
        while !inodes.is_empty() {
            let (ino, what) = inodes.swap_remove(random.below(inodes.len() as u64) as usize);
            mounted.change(|h| h.free_inode(ino, what)).unwrap();
        }
        assert_eq!(mounted.free(), free, "{kind:?}");
        mounted.unmount();
        image.assert_clean(&format!("{kind:?}"));
        image.assert_dump(&before, &format!("{kind:?}"));
    }
}

#[test]
fn reserved_inodes_are_not_given_even_if_they_are_free() {
    let Some(image) = Image::make(("-t ext2 -b 1024", "20M")) else { return };
    // As many as before.
    let lines = ["freei <9>", "freei <10>", "seti <20>", "seti <21>"].map(str::to_owned);
    debugfs(&image.path(), DebugfsMode::Write, &lines);
    let mounted = image.mount();
    let (ino, _) = mounted.change(|h| h.allocate_inode(InodeNo(2), FileKind::Regular)).unwrap();
    assert_eq!(ino, InodeNo(12), "behind lost+found");
}

#[test]
fn directories_of_the_root_are_spread_and_others_are_near() {
    // 28 flex groups of 4 groups.
    let Some(image) = Image::make(("-t ext4 -b 1024 -g 1024 -G 4 -N 7168", "112M")) else { return };
    let mounted = image.mount();
    let sb = mounted.fs.sb;
    let flex = |ino: InodeNo| ((ino.0 - 1) / u64::from(sb.inodes_per_group)) >> sb.flex_log;
    let mut flexes = BTreeSet::new();
    for _ in 0..20 {
        let (top, generation) = mounted
            .change(|h| {
                let (ino, generation) = h.allocate_inode(InodeNo(2), FileKind::Directory)?;
                let mut inode = h.new_inode(ino, generation)?;
                (inode.raw.mode, inode.raw.links) = (0o040_755.into(), 2.into());
                h.put_new_inode(&inode)?;
                Ok((ino, generation))
            })
            .unwrap();
        assert_ne!(generation, 0);
        flexes.insert(flex(top));
        for kind in [FileKind::Directory, FileKind::Regular, FileKind::Symlink] {
            let (below, _) = mounted.change(|h| h.allocate_inode(top, kind)).unwrap();
            assert_eq!(flex(below), flex(top), "{kind:?}");
        }
    }
    assert!(flexes.len() >= 15, "{flexes:?}");
}

#[test]
fn what_is_free_or_reserved_cannot_be_freed() {
    for kind in KINDS {
        let Some(image) = Image::make(*kind) else { return };
        let mounted = image.mount();
        let sb = mounted.fs.sb;
        let (ino, _) = mounted.change(|h| h.allocate_inode(InodeNo(2), FileKind::Regular)).unwrap();
        mounted.change(|h| h.free_inode(ino, FileKind::Regular)).unwrap();
        for ino in
            [0, 1, 2, 8, 10, ino.0, u64::from(sb.inodes_count), u64::from(sb.inodes_count) + 1, u64::MAX]
        {
            let freed = mounted.change(|h| h.free_inode(InodeNo(ino), FileKind::Regular));
            assert_eq!(
                freed.map_err(|error| matches!(error, Error::Corrupt { .. })),
                Err(true),
                "{kind:?}: {ino}"
            );
        }
        // Where no directory is there is none to be freed.
        let last = InodeNo(u64::from(sb.inodes_per_group) * u64::from(sb.group_count - 1) + 1);
        let (ino, _) = mounted.change(|h| h.allocate_inode(last, FileKind::Regular)).unwrap();
        let group = |ino: InodeNo| (ino.0 - 1) / u64::from(sb.inodes_per_group);
        if group(ino) > 0 {
            let freed = mounted.change(|h| h.free_inode(ino, FileKind::Directory));
            assert!(matches!(freed, Err(Error::Corrupt { .. })), "{kind:?}: {freed:?}");
        }
    }
}
