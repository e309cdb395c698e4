//! Large directories: trees that grow, to their end; names of one hash.

use crate::world::{Image, Mounted, NOW, have_tools};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Change, EntryName, FileKind, FileSystem, InodeNo, NewFile, Node, Remove};
use std::process::Command;

const LIMIT_BYTES: u64 = 1 << 20;

fn make(mounted: &Mounted, dir: InodeNo, name: &[u8], kind: FileKind) -> Result<Node> {
    let new = NewFile { kind, mode: 0o755, uid: 0, gid: 0, rdev: (0, 0), target: b"" };
    mounted.fs.create(&mounted.r(), EntryName { dir, name }, &new, NOW)
}

fn link(mounted: &Mounted, ino: InodeNo, dir: InodeNo, name: &[u8]) -> Result<Node> {
    mounted.fs.link(&mounted.r(), ino, EntryName { dir, name }, NOW)
}

fn remove(mounted: &Mounted, dir: InodeNo, name: &[u8], what: Remove) -> Result<()> {
    let at = EntryName { dir, name };
    let removed = mounted.fs.remove(&mounted.r(), at, what, &|_| false, NOW);
    mounted.finish(&removed);
    removed.map(|_| ())
}

fn long_name(number: usize) -> Vec<u8> {
    format!("{number:06}-{}", "long".repeat(58)).into_bytes()
}

/// Puts `count` names into a directory, as many as fit; then looks, checks, removes, checks.
fn fill(arguments: &[&str], count: usize, name: impl Fn(usize) -> Vec<u8>) -> usize {
    let image = Image::make(arguments, "96M");
    let mounted = image.mount(LIMIT_BYTES);
    let before = mounted.stat_fs();
    let dir = make(&mounted, InodeNo(2), b"dir", FileKind::Directory).unwrap().attributes.ino;
    let mut files = Vec::new();
    let mut made = 0;
    while made < count {
        // A file has up to 65,000 names.
        if made % 60_000 == 0 {
            let file = format!("file{made}").into_bytes();
            files.push(make(&mounted, InodeNo(2), &file, FileKind::Regular).unwrap().attributes.ino);
        }
        match link(&mounted, files[files.len() - 1], dir, &name(made)) {
            Ok(_) => made += 1,
            Err(Error::NoSpace { what: "room in a directory's index" }) => break,
            Err(error) => panic!("{error}, behind {made}"),
        }
    }
    assert_eq!(link(&mounted, files[0], dir, &name(0)).map(|_| ()), Err(Error::Exists));
    mounted.unmount();
    image.check("full");
    // Sorted anew, it is as good: there was no entry in a wrong place, and none twice.
    let packed = Command::new("e2fsck").arg("-fyD").arg(image.path()).output().unwrap();
    let code = packed.status.code();
    assert!(matches!(code, Some(0 | 1)), "{}", crate::world::text(&packed));
    let mounted = image.mount(LIMIT_BYTES);
    let node = mounted.fs.read_node(&mounted.r(), dir, 0).unwrap();
    for number in 0..made {
        let found = mounted.fs.lookup(&mounted.r(), &node, &name(number));
        assert_eq!(found, Ok(files[number / 60_000]), "{number}");
    }
    // Packed leaves are full: every one is split again.
    for number in (0..made).step_by(7) {
        remove(&mounted, dir, &name(number), Remove::File).unwrap();
        link(&mounted, files[0], dir, &name(number)).unwrap();
    }
    (0..made).for_each(|number| remove(&mounted, dir, &name(number), Remove::File).unwrap());
    remove(&mounted, InodeNo(2), b"dir", Remove::Directory).unwrap();
    for (number, _) in files.iter().enumerate() {
        let name = format!("file{}", number * 60_000).into_bytes();
        remove(&mounted, InodeNo(2), &name, Remove::File).unwrap();
    }
    let after = mounted.stat_fs();
    assert_eq!((after.blocks_free, after.inodes_free), (before.blocks_free, before.inodes_free));
    mounted.unmount();
    image.check("empty");
    made
}

fn count(usual: usize) -> usize {
    std::env::var("RUMPCAP_NAMES_LARGE").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

#[test]
fn trees_grow_by_levels() {
    if !have_tools() {
        return;
    }
    // Two levels of nodes are full at some 40,000 such names; three are not.
    let most = fill(&["-t", "ext4", "-b", "1024"], count(2_000), long_name);
    println!("{most} long names in blocks of 1 KiB");
    let most = fill(&["-t", "ext4", "-b", "1024", "-O", "large_dir"], count(2_000), long_name);
    println!("{most} long names in blocks of 1 KiB, large_dir");
    fill(&["-t", "ext4", "-b", "4096"], count(5_000), |number| format!("file-{number}").into_bytes());
    fill(&["-t", "ext2", "-b", "1024", "-O", "^metadata_csum"], count(3_000), |n| {
        format!("{n:x}").into_bytes()
    });
}

/// Not a test of anything but time: prints it. `RUMPCAP_NAMES_TIME=1`.
#[test]
fn time_of_many_files() {
    if !have_tools() || std::env::var_os("RUMPCAP_NAMES_TIME").is_none() {
        return;
    }
    for (dirs, files, limit) in [(200, 100, 1 << 20), (1, 200_000, 1 << 20), (1, 200_000, 16 << 20)] {
        let image = Image::make(&["-t", "ext4", "-b", "4096", "-N", "300000"], "512M");
        let mounted = image.mount(limit);
        let begin = std::time::Instant::now();
        for dir in 0..dirs {
            let dir =
                make(&mounted, InodeNo(2), format!("dir{dir}").as_bytes(), FileKind::Directory).unwrap();
            for file in 0..files {
                let name = format!("file-number-{file}");
                make(&mounted, dir.attributes.ino, name.as_bytes(), FileKind::Regular).unwrap();
            }
        }
        let made = begin.elapsed();
        mounted.fs.sync(&mounted.r(), NOW).unwrap();
        println!("{dirs} x {files} under {limit}: made {made:?}, synced {:?}", begin.elapsed());
        mounted.unmount();
        image.check("time");
    }
}
