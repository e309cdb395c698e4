//! Extended attributes: as the kernel of this host gives them, or debugfs where that mounts no such image.
// A step that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod directory;
mod support;

use core::ops::ControlFlow;
use directory::{KernelMount, fsck, walk};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileSystem, Node};
use std::collections::BTreeMap;
use std::path::Path;
use support::{Image, Mounted, have_tools, noise};

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

fn get(mounted: &Mounted, node: &Node, name: &[u8]) -> Result<Vec<u8>> {
    let r = mounted.reserve();
    let len = mounted.fs.get_xattr(&r, node, name, &mut [])?;
    let mut value = vec![0xEE; len + 3];
    assert_eq!(mounted.fs.get_xattr(&r, node, name, &mut value)?, len);
    assert_eq!(value[len..], [0xEE; 3], "written past the value");
    if len > 1 {
        let short = mounted.fs.get_xattr(&r, node, name, &mut value.clone()[..len - 1]);
        assert_eq!(short, Err(Error::Range { need: len as u64 }));
    }
    value.truncate(len);
    Ok(value)
}

fn list(mounted: &Mounted, node: &Node) -> Result<Vec<(Vec<u8>, u64)>> {
    let mut names = Vec::new();
    mounted.fs.list_xattr(&mounted.reserve(), node, &mut |name, len| {
        names.push((name.to_vec(), len));
        ControlFlow::Continue(())
    })?;
    Ok(names)
}

/// All attributes of `node`; lengths of the list are those of the values.
fn all(mounted: &Mounted, node: &Node) -> Result<Attributes> {
    let mut attributes = BTreeMap::new();
    for (name, len) in list(mounted, node)? {
        let value = get(mounted, node, &name)?;
        assert_eq!(value.len() as u64, len);
        assert!(attributes.insert(name, value).is_none(), "a name is listed twice");
    }
    Ok(attributes)
}

fn of_kernel(path: &Path) -> Attributes {
    use std::os::unix::ffi::OsStrExt;
    let names = xattr::list(path).expect("the kernel lists");
    names.map(|name| (name.as_bytes().to_vec(), xattr::get(path, &name).unwrap().unwrap())).collect()
}

/// An ACL as `setxattr` takes it, with `users` users.
fn acl(users: u32) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let mut add = |tag: u16, permissions: u16, id: u32| {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    };
    add(0x01, 6, u32::MAX);
    (0..users).for_each(|user| add(0x02, 4, 1000 + user * 7));
    add(0x04, 5, u32::MAX);
    if users > 0 {
        add(0x08, 1, 77);
        add(0x10, 7, u32::MAX);
    }
    add(0x20, 0, u32::MAX);
    bytes
}

/// Sets an attribute if the file system has room for it.
fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    xattr::set(path, name, value).is_ok()
}

/// Files with all kinds of attributes; gives how many attributes there was room for.
fn populate(root: &Path) -> usize {
    let mut count = 0;
    let mut put = |path: &Path, name: &str, value: &[u8]| count += usize::from(set(path, name, value));
    for len in [0, 1, 3, 4, 5, 40, 90, 300, 700, 900, 2000, 3500, 10_000, 65_536] {
        let path = root.join(format!("len-{len}"));
        std::fs::write(&path, "x").unwrap();
        put(&path, "user.value", &noise(len as u64 + 1, len));
        put(&path, "trusted.other", b"t");
        put(&path, "security.test", &[0, 1, 0]);
        put(&path, "user.second", &noise(9, len / 3));
    }
    let path = root.join("names");
    std::fs::write(&path, "x").unwrap();
    for len in [1, 2, 3, 4, 100, 250] {
        put(&path, &format!("user.{}", "n".repeat(len)), format!("{len}").as_bytes());
    }
    for i in 0..20 {
        put(&path, &format!("user.many-{i}"), format!("value {i}").as_bytes());
    }
    for (i, users) in [1, 2, 5, 20, 100].into_iter().enumerate() {
        let path = root.join(format!("acl-{i}"));
        std::fs::create_dir(&path).unwrap();
        put(&path, "system.posix_acl_access", &acl(users));
        put(&path, "system.posix_acl_default", &acl(users + 1));
        put(&path, "user.beside", b"it");
    }
    let path = root.join("minimal-default");
    std::fs::create_dir(&path).unwrap();
    put(&path, "system.posix_acl_default", &acl(0));
    // Two files with the same block of attributes.
    for name in ["shared-1", "shared-2"] {
        std::fs::write(root.join(name), "x").unwrap();
        put(&root.join(name), "user.shared", &noise(5, 800));
    }
    std::fs::write(root.join("none"), "x").unwrap();
    count
}

#[test]
fn as_the_kernel_gives_them() {
    if !have_tools() {
        return;
    }
    for arguments in [
        &["-t", "ext4", "-b", "4096"][..],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "2048", "-I", "1024", "-O", "^metadata_csum"],
        &["-t", "ext4", "-b", "4096", "-I", "128"],
        &["-t", "ext4", "-b", "4096", "-I", "4096", "-N", "200"],
        &["-t", "ext4", "-b", "1024", "-O", "ea_inode"],
        &["-t", "ext4", "-b", "4096", "-O", "ea_inode,metadata_csum_seed"],
        &["-t", "ext4", "-b", "4096", "-O", "ea_inode,^metadata_csum"],
        &["-t", "ext4", "-b", "4096", "-O", "inline_data"],
        &["-t", "ext3", "-b", "1024"],
        &["-t", "ext2", "-b", "4096", "-I", "256"],
    ] {
        let image = Image::make(arguments, "32M", None);
        let Some(kernel) = KernelMount::new(&image) else { return };
        let count = populate(kernel.path());
        assert!(count > 30, "{arguments:?}: {count}");
        drop(kernel);
        let kernel = KernelMount::new(&image).expect("it mounts again");
        let mounted = image.mount();
        for entry in std::fs::read_dir(kernel.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            let node = walk(&mounted, name);
            let what = format!("{arguments:?} {name}");
            assert_eq!(all(&mounted, &node).expect(&what), of_kernel(&path), "{what}");
            for absent in [&b"user.absent"[..], b"user.", b"nothing", b"system.data", b"trusted.value"] {
                assert_eq!(get(&mounted, &node, absent), Err(Error::NoAttribute), "{what}");
            }
        }
    }
}

/// Blocks larger than a page, which the kernel of this host does not mount.
#[test]
fn as_debugfs_set_them_in_large_blocks() {
    if !have_tools() {
        return;
    }
    let directory = tempfile::TempDir::new().unwrap();
    for arguments in [
        &["-t", "ext4", "-b", "16384"][..],
        &["-t", "ext4", "-b", "65536"],
        &["-t", "ext4", "-b", "65536", "-O", "^metadata_csum"],
        &["-t", "ext4", "-b", "65536", "-I", "16384", "-N", "100"],
        &["-t", "ext4", "-b", "8192", "-I", "8192", "-N", "100", "-O", "ea_inode"],
    ] {
        let image = Image::make(arguments, "64M", None);
        let block_size: usize = arguments[3].parse().unwrap();
        let mut expected = Attributes::new();
        let mut commands = vec!["write /dev/null file".to_owned()];
        // Many small ones, so that entries pass over pages, and some whose values do.
        let lens = (0..block_size / 600).map(|i| 40 + i % 99).chain([4000, 5000, block_size / 4]);
        for (i, len) in lens.enumerate() {
            let (name, value) = (format!("user.{i}-{}", "n".repeat(i % 200)), noise(i as u64, len));
            let path = directory.path().join(format!("{block_size}-{i}"));
            std::fs::write(&path, &value).unwrap();
            commands.push(format!("ea_set -f {} file {name}", path.display()));
            expected.insert(name.into_bytes(), value);
        }
        image.debugfs(&commands);
        let mounted = image.mount();
        let found = all(&mounted, &walk(&mounted, "file")).expect("they can be read");
        assert!(found.len() > 10, "{arguments:?}: {}", found.len());
        // debugfs leaves out what there is no room for.
        expected.retain(|name, _| found.contains_key(name));
        assert!(found == expected, "{arguments:?}");
        assert_eq!(found.len(), image.debugfs(&["ea_list file".to_owned()]).matches("\n  user.").count());
    }
}

/// A file with attributes in the inode and in a block, and the block's number.
fn with_block(arguments: &[&str]) -> (Image, u64) {
    let image = Image::make(arguments, "16M", None);
    let directory = tempfile::TempDir::new().unwrap();
    let value = directory.path().join("value");
    std::fs::write(&value, noise(3, 600)).unwrap();
    image.debugfs(&[
        "write /dev/null file".to_owned(),
        "ea_set file user.small inode".to_owned(),
        format!("ea_set -f {} file user.large", value.display()),
    ]);
    let stat = image.debugfs(&["stat file".to_owned()]);
    let block = stat.split("File ACL: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let block = block.and_then(|number| number.parse().ok()).filter(|&number| number != 0);
    (image, block.expect("it has a block of attributes"))
}

#[test]
fn wrong_checksums_name_the_block() {
    if !have_tools() {
        return;
    }
    for (block_size, size) in [("1024", 1024), ("4096", 4096), ("16384", 16384)] {
        let (image, block) = with_block(&["-t", "ext4", "-b", block_size]);
        let at = block * size + 700;
        let old = image.bytes(at, 1);
        image.patch(at, &[old[0] ^ 0x10]);
        let mounted = image.mount();
        let node = walk(&mounted, "file");
        let error = Error::Checksum { what: "extended attribute block", at: block };
        assert_eq!(get(&mounted, &node, b"user.large"), Err(error));
        assert_eq!(list(&mounted, &node), Err(error));
        // What is in the inode comes first.
        assert_eq!(get(&mounted, &node, b"user.small"), Ok(b"inode".to_vec()));
    }
}

#[test]
fn broken_blocks_are_errors() {
    if !have_tools() {
        return;
    }
    let (image, block) = with_block(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"]);
    let start = block * 1024;
    let cases: [(u64, &[u8], &str); 9] = [
        (3, &[0], "extended attribute block: header"),
        (8, &[2], "extended attribute block: header"),
        (32, &[255], "extended attributes: entry past the end"),
        (32 + 2, &[0xFF, 0xFF], "extended attributes: place of a value"),
        (32 + 2, &[36, 0], "extended attributes: place of a value"),
        (32 + 4, &[9], "extended attributes: inode of a value"),
        (32 + 8, &[0xFF, 0xFF], "extended attributes: place of a value"),
        (32 + 8, &[0xFF; 4], "extended attributes: length of a value"),
        (32 + 16, &[0], "extended attributes: name with a NUL"),
    ];
    for (at, bytes, what) in cases {
        let old = image.bytes(start + at, bytes.len());
        image.patch(start + at, bytes);
        let mounted = image.mount();
        let node = walk(&mounted, "file");
        let found = get(&mounted, &node, b"user.large");
        // A name so long that it runs over the values ends somewhere, and nothing else is known of it.
        let expected = if at == 32 { found } else { Err(Error::Corrupt { what, at: block }) };
        assert_eq!(get(&mounted, &node, b"user.large"), expected, "{at}");
        assert!(list(&mounted, &node).is_err(), "{at}");
        image.patch(start + at, &old);
    }
}

#[test]
fn values_in_inodes_are_verified() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024", "-O", "ea_inode"], "16M", None);
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("value");
    // As much as debugfs writes: a block.
    let value = noise(7, 1024);
    std::fs::write(&path, &value).unwrap();
    image.debugfs(&[
        "write /dev/null file".to_owned(),
        format!("ea_set -f {} file user.large", path.display()),
    ]);
    // debugfs does not count the blocks of the value as those of the file.
    fsck(&image, &["-fy"]);
    let mounted = image.mount();
    let found = get(&mounted, &walk(&mounted, "file"), b"user.large").expect("it can be read");
    assert_eq!((found.len(), &found[..64]), (value.len(), &value[..64]));
    assert!(found == value);
    // Find the value on the device, and change it.
    let whole = std::fs::read(image.path()).unwrap();
    let at = whole.windows(64).position(|window| window == &value[512..576]).expect("it is there");
    image.patch(at as u64 + 5, &[!whole[at + 5]]);
    let mounted = image.mount();
    let node = walk(&mounted, "file");
    let found = get(&mounted, &node, b"user.large");
    assert!(matches!(found, Err(Error::Checksum { what: "extended attribute inode", .. })), "{found:?}");
    assert_eq!(list(&mounted, &node), Ok(vec![(b"user.large".to_vec(), 1024)]));
}

/// Whatever the places of attributes hold: an answer or an error.
#[test]
fn random_damage_gives_errors_or_answers() {
    if !have_tools() {
        return;
    }
    let (image, block) = with_block(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,ea_inode"]);
    let imap = image.debugfs(&["imap file".to_owned()]);
    let (_, place) = imap.split_once("located at block ").expect("imap says where");
    let (number, offset) = place.split_once(", offset 0x").expect("imap says where");
    let offset = u64::from_str_radix(offset.split_whitespace().next().expect("a number"), 16).unwrap();
    let inode = number.parse::<u64>().unwrap() * 1024 + offset;
    for seed in 0..600_u64 {
        let damage = noise(seed, 32);
        let mut saved = Vec::new();
        for bytes in damage.chunks_exact(8) {
            let within = u64::from(u16::from_le_bytes([bytes[1], bytes[2]]));
            let at = match bytes[0] % 3 {
                0 => inode + 128 + within % 128,
                1 => block * 1024 + within % 64,
                _ => block * 1024 + within % 1024,
            };
            saved.push((at, image.bytes(at, 1)));
            image.patch(at, &bytes[4..5]);
        }
        let mounted = image.mount();
        let found = directory::lookup(&mounted, &walk(&mounted, "/"), b"file");
        if let Ok(node) = found.and_then(|ino| mounted.node(ino)) {
            for (name, _) in list(&mounted, &node).unwrap_or_default() {
                let mut value = vec![0; 4096];
                let _ = mounted.fs.get_xattr(&mounted.reserve(), &node, &name, &mut value);
            }
            let _ = mounted.fs.get_xattr(&mounted.reserve(), &node, b"user.large", &mut [0; 600]);
        }
        for (at, old) in saved.into_iter().rev() {
            image.patch(at, &old);
        }
    }
}
