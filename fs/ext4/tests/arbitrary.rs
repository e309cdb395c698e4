//! No bytes on a device make it panic, hang, or give an empty run: arbitrary super blocks, extent trees and block maps of
//! arbitrary words, and images with arbitrary damage.

mod support;

use core::ops::ControlFlow;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use rumpcap_block::MemoryDevice;
use rumpcap_ext4::layout::{SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use rumpcap_ext4::{Ext4, MAX_PINS, Options, SuperBlock};
use rumpcap_host::Error;
use rumpcap_vfs::{DirCookie, Extent, FileKind, FileSystem, InodeNo};
use rumpcap_vm::{BootOptions, Vm};
use std::sync::{Arc, LazyLock};
use support::{Image, have_tools, noise};
use tempfile::TempDir;

/// Bytes of the images: small, so that damage hits something.
const IMAGE_BYTES: usize = 1 << 20;

/// Images without checksums, so that damage reaches the parsers behind them.
static IMAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    if !have_tools() {
        return Vec::new();
    }
    let tree = TempDir::new().expect("a directory");
    for n in 0..12usize {
        let len = n * n * 700;
        std::fs::write(tree.path().join(format!("file{n}")), noise(n as u64, len)).expect("written");
    }
    std::os::unix::fs::symlink("x".repeat(100), tree.path().join("slow")).expect("a link");
    std::fs::create_dir(tree.path().join("dir")).expect("a directory");
    let features: [&[&str]; 4] = [
        &["-t", "ext2", "-b", "1024", "-N", "64"],
        &["-t", "ext4", "-b", "1024", "-N", "64", "-O", "^metadata_csum,inline_data,^has_journal"],
        &["-t", "ext4", "-b", "4096", "-N", "64", "-O", "^metadata_csum,^has_journal"],
        &["-t", "ext4", "-b", "8192", "-N", "64", "-O", "^metadata_csum,^has_journal"],
    ];
    let images = features.iter().map(|arguments| Image::make(arguments, "1M", Some(tree.path())));
    images.map(|image| image.bytes(0, IMAGE_BYTES)).collect()
});

fn mount(bytes: &[u8]) -> Result<(Arc<Vm>, Ext4), Error> {
    let vm = Vm::boot(BootOptions { limit_bytes: Some(256 << 10), ..BootOptions::default() })?;
    let device = Arc::new(MemoryDevice::from_bytes(bytes));
    let fs = Ext4::mount(&vm, device, &Options::default())?;
    Ok((vm, fs))
}

/// Asks everything of every inode. Errors are fine.
fn exercise(vm: &Arc<Vm>, fs: &Ext4) {
    let r = || vm.reserve(MAX_PINS);
    let _ = (fs.stat_fs(&r()), fs.info(&r()));
    for ino in 1..=64 {
        let Ok(node) = fs.read_node(&r(), InodeNo(ino), 2) else { continue };
        assert_eq!(node.attributes.ino, InodeNo(ino));
        let size = node.attributes.size_bytes;
        for offset in
            [0, 1, 4096, 12 << 10, 268 << 10, 70_000_000, size.saturating_sub(1), size, 1 << 42, u64::MAX]
        {
            match fs.map(&r(), &node, offset) {
                Ok(Extent::Device { offset, len_bytes }) => {
                    assert!(len_bytes > 0 && offset + len_bytes <= fs.super_block().len_bytes());
                }
                Ok(Extent::Hole { len_bytes }) => assert!(len_bytes > 0),
                Ok(Extent::Inline) | Err(_) => {}
            }
        }
        let mut buf = [0; 700];
        let _ = fs.read_link(&r(), &node, &mut buf);
        let _ = fs.read_inline(&r(), &node, 30, &mut buf);
        let _ = fs.list_xattr(&r(), &node, &mut |_, _| ControlFlow::Continue(()));
        let _ = fs.get_xattr(&r(), &node, b"user.name", &mut buf);
        if node.kind() == FileKind::Directory {
            let _ = fs.lookup(&r(), &node, b"file3");
            let mut left = 10_000;
            let _ = fs.read_dir(&r(), &node, DirCookie(0), &mut |entry| {
                assert!(!entry.name.is_empty() && entry.name.len() <= 255);
                left -= 1;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
    }
}

/// Words that are small, near powers of two, or anything.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..16, 0u32..1024, (0u32..32).prop_map(|n| 1 << n), Just(u32::MAX), any::<u32>()]
}

/// An extent header with some chance to be taken for one.
fn header() -> impl Strategy<Value = [u8; 12]> {
    let count = prop_oneof![0u16..6, Just(84), Just(340), Just(681), any::<u16>()];
    (select(vec![0xF30Au16, 0xF30A, 0xF30A, 0]), count.clone(), count, 0u16..7).prop_map(
        |(magic, entries, max, depth)| {
            let mut bytes = [0; 12];
            for (to, value) in bytes.chunks_exact_mut(2).zip([magic, entries, max, depth]) {
                to.copy_from_slice(&value.to_le_bytes());
            }
            bytes
        },
    )
}

/// An image and the numbers that find an inode in it: first block of its inode table and bytes of a block.
fn place_of_inode(fs: &Ext4, image: &[u8], ino: usize) -> usize {
    let block = fs.super_block().block_size as usize;
    let descriptor = (if block == 1024 { 2 } else { 1 }) * block;
    let table: [u8; 4] = image[descriptor + 8..descriptor + 12].try_into().expect("four bytes");
    u32::from_le_bytes(table) as usize * block + (ino - 1) * fs.super_block().inode_size as usize
}

proptest! {
    #[test]
    fn super_blocks(words in vec(word(), 256), at in 0usize..1000, damage in vec(any::<u8>(), 1..24)) {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes[0x38..0x3A].copy_from_slice(&[0x53, 0xEF]);
        let check = |bytes: &[u8]| {
            let bytes: &[u8; SUPER_BLOCK_BYTES] = bytes.first_chunk().expect("it is that long");
            if let Ok(sb) = SuperBlock::parse(bytes, SUPER_BLOCK_OFFSET) {
                assert!(sb.group_count > 0 && sb.inode_size <= sb.block_size);
            }
        };
        check(&bytes);
        for image in IMAGES.iter() {
            let mut bytes = image[1024..2048].to_vec();
            let len = damage.len().min(1024 - at);
            bytes[at..at + len].copy_from_slice(&damage[..len]);
            check(&bytes);
            let mut image = image.clone();
            image[1024..2048].copy_from_slice(&bytes);
            if let Ok((vm, fs)) = mount(&image) {
                exercise(&vm, &fs);
            }
        }
    }

    #[test]
    fn extent_trees_and_block_maps(
        which in 0usize..4,
        flags in select(vec![0u32, 0x8_0000, 0x8_0000, 0x1000_0000]),
        root in header(),
        words in vec(word(), 15),
        nodes in vec((header(), vec(word(), 255)), 8),
    ) {
        if let Some(image) = IMAGES.get(which) {
            let (vm, fs) = mount(image).expect("it is whole");
            let at = place_of_inode(&fs, image, 13);
            let block = fs.super_block().block_size as usize;
            let first = IMAGE_BYTES / block - nodes.len();
            drop((fs, vm));
            let mut image = image.clone();
            // Most words name one of the blocks that are written to below.
            let word = |n: usize, word: u32| if n % 3 == 1 { word % 9 + first as u32 } else { word };
            for (n, value) in words.iter().enumerate() {
                image[at + 40 + n * 4..][..4].copy_from_slice(&word(n, *value).to_le_bytes());
            }
            if flags == 0x8_0000 {
                image[at + 40..at + 52].copy_from_slice(&root);
            }
            image[at + 32..at + 36].copy_from_slice(&flags.to_le_bytes());
            for (n, (header, words)) in nodes.iter().enumerate() {
                let place = (first + n) * block;
                for (n, value) in words.iter().enumerate() {
                    image[place + n * 4..][..4].copy_from_slice(&word(n, *value).to_le_bytes());
                }
                image[place..place + 12].copy_from_slice(header);
            }
            let (vm, fs) = mount(&image).expect("the super block is whole");
            exercise(&vm, &fs);
        }
    }

    #[test]
    fn damaged_images(which in 0usize..4, damage in vec((0usize..200_000, vec(any::<u8>(), 1..40)), 1..30)) {
        if let Some(image) = IMAGES.get(which) {
            let mut image = image.clone();
            for (at, bytes) in &damage {
                image[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            if let Ok((vm, fs)) = mount(&image) {
                exercise(&vm, &fs);
            }
        }
    }
}
