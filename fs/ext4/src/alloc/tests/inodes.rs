//! Inodes: all of them, and where they are.

use super::{Image, KINDS};
use rumpcap_host::Error;
use rumpcap_testing::seed::Random;
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
