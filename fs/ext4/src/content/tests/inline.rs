//! Files that are kept in their inode: written there, cut there, grown out of it.

use super::{FIRST_INODE, debugfs};
use crate::alloc::tests::{Image, assert_clean};
use rumpcap_vfs::{Allocate, InodeNo};

/// Lengths of the files, from inode 12 on: nothing, in `i_block`, with a value behind, all of the inode.
const LENGTHS: &[usize] = &[0, 11, 60, 100, 240];

/// An image with a file of each length; every second also has an attribute, set before or behind its content.
fn image() -> Option<(Image, Vec<Vec<u8>>)> {
    let image = Image::make(("-t ext4 -b 1024 -O inline_data -I 512", "8M"))?;
    let (mut contents, mut script) = (Vec::new(), String::new());
    for (at, &len) in LENGTHS.iter().enumerate() {
        let content: Vec<u8> = (0..len).map(|byte| (byte * 7 + at) as u8 | 1).collect();
        let path = image.path().with_file_name(format!("in{at}"));
        std::fs::write(&path, &content).unwrap();
        script += &format!("write {} f{at}\n", path.display());
        if at % 2 == 1 {
            script +=
                &format!("ea_set f{at} user.color blue{at}\nea_set f{at} user.note a-longer-value{at}\n");
        }
        contents.push(content);
    }
    debugfs(&image.path(), &script);
    assert_clean(&image.path(), "as made");
    Some((image, contents))
}

fn inode(at: usize) -> InodeNo {
    InodeNo(FIRST_INODE + at as u64)
}

/// The files hold `contents`, as debugfs and the mount see it; the attributes are still there.
fn check(image: &Image, contents: &[Vec<u8>], what: &str) {
    assert_clean(&image.path(), what);
    let out = image.path().with_file_name("out");
    let mounted = image.mount();
    for (at, content) in contents.iter().enumerate() {
        debugfs(&image.path(), &format!("dump f{at} {}\n", out.display()));
        let mut dumped = std::fs::read(&out).unwrap();
        // debugfs shows all that an inode has room for, which is zeros behind the end.
        let behind = dumped.split_off(content.len());
        assert!(dumped == *content && behind.iter().all(|&byte| byte == 0), "{what}: file {at}");
        assert_eq!(mounted.read(inode(at), 0..1 << 20), *content, "{what}: file {at}");
        if at % 2 == 1 {
            let shown = debugfs(&image.path(), &format!("ea_get f{at} user.color\nea_get f{at} user.note\n"));
            let right =
                shown.contains(&format!("blue{at}")) && shown.contains(&format!("a-longer-value{at}"));
            assert!(right, "{what}: {shown}");
        }
    }
    mounted.unmount();
}

fn is_inline(image: &Image, at: usize) -> bool {
    debugfs(&image.path(), &format!("stat f{at}\n")).contains("Size of inline data")
}

#[test]
fn what_fits_stays_in_the_inode() {
    let Some((image, mut contents)) = image() else { return };
    let mounted = image.mount();
    for (at, content) in contents.iter_mut().enumerate() {
        // Over the border between the two parts.
        let from = content.len().saturating_sub(45);
        let end = content.len().max(60 + 30 * at);
        content.resize(end, 0);
        let data: Vec<u8> = (from..end).map(|byte| byte as u8 | 0x80).collect();
        content[from..end].copy_from_slice(&data);
        mounted.write(inode(at), from as u64, &data).unwrap();
        mounted.punch(inode(at), 0..8).unwrap();
    }
    mounted.unmount();
    check(&image, &contents, "written");
    assert!((0..LENGTHS.len()).all(|at| is_inline(&image, at)));
}

#[test]
fn lengths_within_the_inode() {
    let Some((image, mut contents)) = image() else { return };
    for (round, cut) in [3u64, 70, 30, 60, 0].into_iter().enumerate() {
        let mounted = image.mount();
        for (at, content) in contents.iter_mut().enumerate() {
            mounted.set_size(inode(at), cut).unwrap();
            content.resize(cut as usize, 0);
        }
        mounted.unmount();
        check(&image, &contents, &format!("round {round}, length {cut}"));
    }
}

#[test]
fn what_does_not_fit_grows_out() {
    for (how, grow) in ["write", "far", "length", "allocate"].iter().zip(0..) {
        let Some((image, mut contents)) = image() else { return };
        let mounted = image.mount();
        for (at, content) in contents.iter_mut().enumerate() {
            let old = content.len() as u64;
            match grow {
                0 => {
                    mounted.write(inode(at), old, &[0x77; 1500]).unwrap();
                    content.extend([0x77; 1500]);
                }
                1 => {
                    mounted.write(inode(at), 5000, b"far").unwrap();
                    content.resize(5000, 0);
                    content.extend(b"far");
                }
                2 => {
                    mounted.set_size(inode(at), 3000).unwrap();
                    content.resize(3000, 0);
                }
                _ => {
                    mounted.allocate(inode(at), 0..4000, Allocate::Extend).unwrap();
                    content.resize(4000, 0);
                }
            }
        }
        mounted.unmount();
        check(&image, &contents, how);
        assert!((0..LENGTHS.len()).all(|at| !is_inline(&image, at)));
    }
}
