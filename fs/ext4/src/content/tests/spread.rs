//! Block maps whose blocks of numbers are each in a group of its own: what frees them does so in steps, in the smallest memory.

use super::{free_blocks, image_with_files};
use crate::alloc::tests::{Image, Mounted, NOW, assert_clean};
use crate::transaction::Handle;
use rumpcap_host::Result;
use rumpcap_vfs::{Change, EntryName, InodeNo, Remove};

/// 256 groups of a MiB, whose bitmaps lie in them; and over how many groups content is spread.
const KINDS: [(&str, u64); 2] = [
    ("-t ext3 -b 4096 -g 256 -N 4096 -J size=4", 1),
    ("-t ext4 -b 4096 -g 256 -N 4096 -J size=4 -O ^extents,^64bit,^flex_bg", 40),
];
const SIZE: &str = "256M";
const BLOCK: u64 = 4096;
/// Numbers of a block.
const NUMBERS: u64 = BLOCK / 4;
/// Branches of the map.
const BRANCHES: u64 = 60;
/// First group of content. Where it is all in one, it does not end a step.
const CONTENT_GROUP: u64 = 10;
/// First group that a block of numbers is put into.
const FIRST_GROUP: u64 = 70;
const ROOT: InodeNo = InodeNo(2);

/// How the branches hang on the inode.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// All under the inode's double number: a block of numbers each.
    Wide,
    /// All under its triple number: two each.
    Deep,
}

impl Shape {
    /// The first block of the file under branch `n`.
    fn logical(self, n: u64) -> u64 {
        match self {
            Shape::Wide => 12 + NUMBERS + n * NUMBERS,
            Shape::Deep => 12 + NUMBERS + NUMBERS * NUMBERS + n * NUMBERS * NUMBERS,
        }
    }

    fn word(self) -> usize {
        match self {
            Shape::Wide => 13,
            Shape::Deep => 14,
        }
    }
}

fn new_block(h: &mut Handle<'_>, group: u64, number: u64) -> Result<u64> {
    let goal = h.fs.sb.group_first_block(group as u32);
    let block = h.allocate_blocks(goal, 1)?.first;
    assert_eq!(u64::from(h.fs.sb.group_of(block).0), group);
    h.create_block(block, |bytes| bytes[..4].copy_from_slice(&(number as u32).to_le_bytes()))?;
    Ok(block)
}

/// Gives a file the branch `n`: one block of content under blocks of numbers in groups that no other branch has.
fn grow_branch(mounted: &Mounted, ino: InodeNo, shape: Shape, n: u64, content_groups: u64) {
    let changed = mounted.change(|h| {
        let mut inode = h.inode(ino)?;
        let goal = h.fs.sb.group_first_block((CONTENT_GROUP + n % content_groups) as u32);
        let content = h.allocate_blocks(goal, 1)?.first;
        let (mut block, mut taken) = (new_block(h, FIRST_GROUP + 2 * n, content)?, 2);
        if let Shape::Deep = shape {
            (block, taken) = (new_block(h, FIRST_GROUP + 2 * n + 1, block)?, 3);
        }
        let word = shape.word();
        let top = inode.raw.block[word].get();
        if top == 0 {
            inode.raw.block[word] = (new_block(h, FIRST_GROUP - 1, block)? as u32).into();
            taken += 1;
        } else {
            let at = n as usize * 4;
            let bytes = (block as u32).to_le_bytes();
            #[allow(clippy::single_range_in_vec_init)] // One range is changed.
            h.edit(top.into(), &[at..at + 4], |all| all[at..at + 4].copy_from_slice(&bytes))?;
        }
        inode.add_blocks(&h.fs.sb, taken)?;
        h.put_inode(&inode)
    });
    changed.unwrap();
}

fn spread((kind, content_groups): (&'static str, u64), shape: Shape) -> Option<(Image, InodeNo, u64)> {
    let (image, inodes) = image_with_files((kind, SIZE), 1)?;
    let mounted = image.mount();
    let free = free_blocks(&mounted.fs);
    mounted.set_size(inodes[0], shape.logical(BRANCHES) * BLOCK).unwrap();
    (0..BRANCHES).for_each(|n| grow_branch(&mounted, inodes[0], shape, n, content_groups));
    mounted.unmount();
    assert_clean(&image.path(), &format!("{kind} {shape:?}: as it was made"));
    Some((image, inodes[0], free))
}

fn each(work: impl Fn(&Mounted, InodeNo, Shape)) {
    for kind in KINDS {
        for shape in [Shape::Wide, Shape::Deep] {
            let Some((image, ino, free)) = spread(kind, shape) else { return };
            let mounted = image.mount_within(256 << 10).unwrap();
            work(&mounted, ino, shape);
            assert_eq!(free_blocks(&mounted.fs), free, "{kind:?} {shape:?}");
            mounted.unmount();
            assert_clean(&image.path(), &format!("{kind:?} {shape:?}"));
        }
    }
}

#[test]
fn cut() {
    each(|mounted, ino, shape| {
        mounted.set_size(ino, shape.logical(BRANCHES / 2) * BLOCK + 1).unwrap();
        mounted.set_size(ino, 0).unwrap();
    });
}

#[test]
fn punched() {
    each(|mounted, ino, shape| {
        mounted.punch(ino, shape.logical(10) * BLOCK..shape.logical(50) * BLOCK).unwrap();
        mounted.punch(ino, 0..shape.logical(BRANCHES) * BLOCK).unwrap();
    });
}

#[test]
fn deleted() {
    each(|mounted, ino, _| {
        mounted.change(|h| h.inode(ino).map(drop)).unwrap();
        let at = EntryName { dir: ROOT, name: b"f0" };
        let r = mounted.vm.reserve(crate::MAX_PINS);
        let removed = mounted.fs.remove(&r, at, Remove::File, &|_| false, NOW).unwrap();
        assert!(removed.is_left, "so much is deleted in steps");
        mounted.fs.delete(&r, ino, NOW).unwrap();
        drop(r);
        assert!(mounted.change(|h| h.inode(ino).map(drop)).is_err());
    });
}
