//! Orphans come and go, against a set; e2fsck and the kernel finish those that are left, and so do we.

use crate::alloc::tests::{Image, Mounted, NOW};
use crate::map_change::Fill;
use rumpcap_host::Error;
use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::seed::Random;
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{FileKind, InodeNo};
use std::collections::BTreeSet;
use std::process::Command;

/// With a list; with a file of one block (254 places), which is then full; with and without checksums.
const KINDS: &[(&str, &str)] = &[
    ("-t ext3 -b 1024", "20M"),
    ("-t ext4 -b 4096 -O ^orphan_file", "40M"),
    ("-t ext4 -b 1024 -O orphan_file -E orphan_file_size=1", "20M"),
    ("-t ext4 -b 1024 -O orphan_file,^metadata_csum -E orphan_file_size=2", "20M"),
    ("-t ext4 -b 4096 -O orphan_file", "40M"),
];

/// Makes an empty file with `links` links that no directory names.
fn make_file(mounted: &Mounted, links: u16) -> InodeNo {
    let made = mounted.change(|h| {
        let (ino, generation) = h.allocate_inode(InodeNo(2), FileKind::Regular)?;
        let mut inode = h.new_inode(ino, generation)?;
        (inode.raw.mode, inode.raw.links) = (0o100_600.into(), links.into());
        h.begin_map(&mut inode);
        h.put_new_inode(&inode)?;
        Ok(ino)
    });
    made.unwrap()
}

fn add(mounted: &Mounted, ino: InodeNo) {
    let added = mounted.change(|h| {
        let mut inode = h.inode_even_nameless(ino)?;
        h.add_orphan(&mut inode)
    });
    added.unwrap();
}

fn remove(mounted: &Mounted, ino: InodeNo) {
    let removed = mounted.change(|h| {
        let mut inode = h.inode_even_nameless(ino)?;
        h.remove_orphan(&mut inode)
    });
    removed.unwrap();
}

/// Makes `count` nameless files and has them come and go as orphans; those that are in the end.
fn come_and_go(mounted: &Mounted, count: usize, random: &mut Random) -> BTreeSet<u64> {
    let inodes: Vec<InodeNo> = (0..count).map(|_| make_file(mounted, 0)).collect();
    let mut orphans = BTreeSet::new();
    for _ in 0..count * 4 {
        let ino = *random.pick(&inodes);
        if random.one_in(20) {
            let undone: Result<(), Error> = mounted.change(|h| {
                let mut inode = h.inode_even_nameless(ino)?;
                h.remove_orphan(&mut inode)?;
                h.add_orphan(&mut inode)?;
                Err(Error::Exists)
            });
            assert_eq!(undone, Err(Error::Exists));
        } else if random.one_in(3) {
            remove(mounted, ino);
            orphans.remove(&ino.0);
        } else {
            add(mounted, ino);
            orphans.insert(ino.0);
        }
    }
    // What is none is to have been deleted.
    for ino in inodes.into_iter().filter(|ino| !orphans.contains(&ino.0)) {
        let deleted = mounted.change(|h| {
            let mut inode = h.inode_even_nameless(ino)?;
            inode.raw.dtime = (NOW.seconds as u32).into();
            h.put_inode(&inode)?;
            h.free_inode(ino, FileKind::Regular)
        });
        deleted.unwrap();
    }
    orphans
}

#[test]
fn e2fsck_finishes_those_that_are_left() {
    for (seed, kind) in KINDS.iter().enumerate() {
        let Some(image) = Image::make(*kind) else { return };
        let mounted = image.mount();
        let mut orphans = come_and_go(&mounted, 300, &mut Random::new(seed as u64));
        mounted.unmount();
        let output = Command::new("e2fsck").arg("-fy").arg(image.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines().filter(|line| line.starts_with("Clearing orphaned inode ")) {
            let ino = line.split(' ').nth(3).unwrap().parse().unwrap();
            assert!(orphans.remove(&ino), "{kind:?}: {line}");
        }
        assert!(orphans.is_empty(), "{kind:?}: {orphans:?} in {text}");
        let problems =
            ["Pass 1: C", "Pass 2", "Pass 3", "Pass 4", "Pass 5", "e2fsck", "Clearing orphaned", ""];
        let other = text.lines().filter(|line| !problems.iter().any(|known| line.starts_with(known)));
        assert_eq!(other.count(), 0, "{kind:?}: {text}");
        image.assert_clean(&format!("{kind:?}"));
    }
}

#[test]
fn a_file_system_without_orphans_is_as_before() {
    for (seed, kind) in KINDS.iter().enumerate() {
        let Some(image) = Image::make(*kind) else { return };
        let before = image.dump();
        let mounted = image.mount();
        for ino in come_and_go(&mounted, 300, &mut Random::new(seed as u64 + 50)) {
            remove(&mounted, InodeNo(ino));
            mounted.change(|h| h.free_inode(InodeNo(ino), FileKind::Regular)).unwrap();
        }
        mounted.unmount();
        image.assert_dump(&before, &format!("{kind:?}"));
    }
}

/// When damage is met.
#[derive(Clone, Copy, PartialEq)]
enum Look {
    Before,
    AtMount,
}

#[test]
fn a_list_that_is_damaged_is_an_error_and_the_next_mount_goes_on() {
    let (first, end) = (30, 40);
    // The list that debugfs leaves, and whether it ends.
    let damages: &[(&str, &dyn Fn(u64) -> u64)] = &[
        ("a loop", &|ino| if ino + 1 < end { ino + 1 } else { first + 3 }),
        ("an inode that does not exist", &|ino| if ino + 1 < end { ino + 1 } else { 1 << 30 }),
        ("a reserved inode", &|ino| if ino + 1 < end { ino + 1 } else { 5 }),
        ("a free inode", &|ino| if ino + 1 < end { ino + 1 } else { 900 }),
    ];
    for ((what, next), look) in
        damages.iter().flat_map(|damage| [(damage, Look::Before), (damage, Look::AtMount)])
    {
        let look = &look;
        let Some(image) = Image::make(KINDS[0]) else { return };
        let mounted = image.mount();
        let inodes: Vec<InodeNo> = (0..100).map(|_| make_file(&mounted, 1)).collect();
        let other = *inodes.last().unwrap();
        let damaged = mounted.change(|h| {
            for ino in first..end {
                let mut inode = h.inode(InodeNo(ino))?;
                inode.raw.dtime = (next(ino) as u32).into();
                h.put_inode(&inode)?;
            }
            h.edit_super(|raw| raw.last_orphan = (first as u32).into())
        });
        damaged.unwrap();
        if *look == Look::Before {
            let added = mounted.change(|h| {
                let mut inode = h.inode(other)?;
                h.add_orphan(&mut inode)
            });
            assert!(matches!(added, Err(Error::Corrupt { .. })), "{what}: {added:?}");
        }
        mounted.unmount();
        let mounted = image.mount();
        let (first, state) = mounted
            .change(|h| {
                let sb = h.super_block()?;
                Ok((sb.last_orphan.get(), sb.state.get()))
            })
            .unwrap();
        assert_eq!(first, 0, "{what}");
        let is_noted = state & crate::layout::STATE_ERRORS != 0;
        // A loop ends by itself when its inodes are finished one after the other.
        assert_eq!(is_noted, *look == Look::Before || *what != "a loop", "{what}");
        mounted.unmount();
    }
}

#[test]
fn the_kernel_finishes_those_that_are_left() {
    if !loop_mount::available() {
        return skip("no loop mounts here");
    }
    for (seed, kind) in KINDS.iter().enumerate() {
        let Some(image) = Image::make(*kind) else { return };
        let mounted = image.mount();
        let free = mounted.free();
        let orphans = come_and_go(&mounted, 300, &mut Random::new(seed as u64 + 90));
        assert_eq!(mounted.free().1 as usize + orphans.len(), free.1 as usize);
        mounted.unmount();
        match LoopMount::new(&image.path(), "") {
            Ok(kernels) => drop(kernels),
            Err(why) => {
                skip(&format!("the kernel does not mount {kind:?}: {why}"));
                continue;
            }
        }
        image.assert_clean(&format!("{kind:?}"));
        let mounted = image.mount();
        assert_eq!(mounted.free(), free, "{kind:?}");
        mounted.unmount();
    }
}

#[test]
fn a_mount_cuts_what_was_being_cut() {
    for kind in KINDS {
        let Some(image) = Image::make(*kind) else { return };
        let mounted = image.mount();
        let free = mounted.free().0;
        let ino = make_file(&mounted, 1);
        let size = u64::from(mounted.fs.sb.block_size) * 3;
        let made = mounted.change(|h| {
            let mut inode = h.inode(ino)?;
            h.map_blocks(&mut inode, 0, 10, Fill::Written)?;
            inode.set_size_bytes(size);
            h.add_orphan(&mut inode)
        });
        made.unwrap();
        assert!(mounted.free().0 <= free - 10);
        mounted.unmount();
        let mounted = image.mount();
        assert_eq!(mounted.free().0, free - 3, "{kind:?}");
        let is_orphan = mounted.change(|h| {
            let inode = h.inode(ino)?;
            Ok(h.first_orphan()? != 0 || inode.raw.dtime.get() != 0 || inode.size_bytes() != size)
        });
        assert_eq!(is_orphan, Ok(false), "{kind:?}");
        mounted.unmount();
    }
}

/// How a mount ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    InOrder,
    /// All is durable, and nothing more is done.
    PowerCut,
}

#[test]
fn a_mount_deletes_those_without_names() {
    for (kind, end) in KINDS.iter().flat_map(|kind| [(kind, End::InOrder), (kind, End::PowerCut)]) {
        let Some(image) = Image::make(*kind) else { return };
        let mounted = image.mount();
        let free = mounted.free();
        for blocks in [0, 1, 40, 0, 300] {
            let ino = make_file(&mounted, 0);
            let filled = mounted.change(|h| {
                let mut inode = h.inode_even_nameless(ino)?;
                if blocks > 0 {
                    h.map_blocks(&mut inode, 0, blocks, Fill::Written)?;
                }
                inode.set_size_bytes(u64::from(blocks) << h.fs.sb.block_log);
                h.add_orphan(&mut inode)
            });
            filled.unwrap();
        }
        come_and_go(&mounted, 40, &mut Random::new(7));
        match end {
            End::InOrder => mounted.unmount(),
            End::PowerCut => {
                mounted.sync();
                drop(mounted);
            }
        }
        let mounted = image.mount();
        assert_eq!(mounted.free(), free, "{kind:?}, {end:?}");
        mounted.unmount();
        image.assert_clean(&format!("{kind:?}, {end:?}"));
    }
}
