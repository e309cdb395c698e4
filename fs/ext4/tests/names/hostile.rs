//! Trees that are hard: many names of one hash, nodes that make no sense, arbitrary damage.

use crate::model::Model;
use crate::walk::Walk;
use crate::world::{Image, Mounted, NOW, have_tools, text};
use rumpcap_host::{Error, Result};
use rumpcap_testing::seed::Random;
use rumpcap_vfs::{Change, EntryName, FileKind, FileSystem, InodeNo, NewFile, Remove, Rename};
use std::os::unix::fs::FileExt;
use std::process::Command;

const LIMIT_BYTES: u64 = 256 << 10;
const ROOT: InodeNo = InodeNo(2);
const FILE: NewFile<'_> =
    NewFile { kind: FileKind::Regular, mode: 0o644, uid: 0, gid: 0, rdev: (0, 0), target: b"" };

/// Behind 240 times `n`, names of one hash: 0x2468ACE0 of the legacy function. Three of them fill a block of 1 KiB.
pub const OF_ONE_HASH: [&[u8]; 16] = [
    b"ah2STf", b"b3P9C}", b"eFmMG&", b"eHhP6:", b"iYEwNd", b"jWAgY_", b"rGZU8e", b"t1OE2&", b"vaHAqD",
    b"yOBsM[", b"yVnkXD", b"1dKLt3", b"3tgvN[", b"3ICIYn", b"46XcuS", b"BIhAF(",
];

pub fn name(end: &[u8]) -> Vec<u8> {
    [&[b'n'; 240], end].concat()
}

fn create(mounted: &Mounted, dir: InodeNo, name: &[u8]) -> Result<InodeNo> {
    mounted.fs.create(&mounted.r(), EntryName { dir, name }, &FILE, NOW).map(|node| node.attributes.ino)
}

fn remove(mounted: &Mounted, dir: InodeNo, name: &[u8]) -> Result<()> {
    let at = EntryName { dir, name };
    let removed = mounted.fs.remove(&mounted.r(), at, Remove::File, &|_| false, NOW);
    mounted.finish(&removed);
    removed.map(|_| ())
}

#[test]
fn names_of_one_hash_fill_leaves_in_a_row() {
    if !have_tools() {
        return;
    }
    for seed in 0..6 {
        let image = Image::make(&["-t", "ext4", "-b", "1024"], "16M");
        let tuned =
            Command::new("tune2fs").args(["-E", "hash_alg=legacy"]).arg(image.path()).output().unwrap();
        assert!(tuned.status.success(), "{}", text(&tuned));
        let mounted = image.mount(LIMIT_BYTES);
        let mut random = Random::new(seed);
        let mut there = Vec::new();
        let others: Vec<Vec<u8>> = (0..40).map(|number| name(format!("{number:06}").as_bytes())).collect();
        let all: Vec<Vec<u8>> = OF_ONE_HASH.iter().map(|end| name(end)).chain(others).collect();
        for _ in 0..400 {
            let name = random.pick(&all);
            if let Some(at) = there.iter().position(|there| there == name) {
                assert_eq!(create(&mounted, ROOT, name), Err(Error::Exists));
                if random.one_in(3) {
                    remove(&mounted, ROOT, name).unwrap();
                    there.swap_remove(at);
                }
            } else {
                assert_eq!(remove(&mounted, ROOT, name), Err(Error::NotFound));
                create(&mounted, ROOT, name).unwrap();
                there.push(name.clone());
            }
        }
        let node = mounted.fs.read_node(&mounted.r(), ROOT, 0).unwrap();
        for name in &all {
            assert_eq!(mounted.fs.lookup(&mounted.r(), &node, name).is_ok(), there.contains(name));
        }
        mounted.unmount();
        image.check("one hash");
        let stat = image.debugfs("htree_dump /");
        let ones = stat.matches("0x2468ace").count();
        assert!(ones >= 3, "pointers that begin with, or continue, the hash: {stat}");
    }
}

/// A directory of many entries, and the device's bytes of its first block.
fn indexed(arguments: &[&str]) -> (Image, u64) {
    let image = Image::make(arguments, "16M");
    let mounted = image.mount(LIMIT_BYTES);
    (0..200)
        .for_each(|number| assert!(create(&mounted, ROOT, format!("file-{number:040}").as_bytes()).is_ok()));
    mounted.unmount();
    image.check("made");
    let block: u64 = image.debugfs("bmap / 0").lines().next().unwrap().trim().parse().unwrap();
    (image, block * 1024)
}

#[test]
fn a_tree_of_an_unknown_hash_is_an_error_or_given_up() {
    if !have_tools() {
        return;
    }
    // Without checksums the directory is one without a tree from then on, as the kernel has it.
    let (image, root) = indexed(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^dir_nlink"]);
    std::fs::File::options().write(true).open(image.path()).unwrap().write_all_at(&[9], root + 28).unwrap();
    let mounted = image.mount(LIMIT_BYTES);
    assert_eq!(create(&mounted, ROOT, b"file-0000000000000000000000000000000000000007"), Err(Error::Exists));
    create(&mounted, ROOT, b"new").unwrap();
    remove(&mounted, ROOT, b"file-0000000000000000000000000000000000000007").unwrap();
    const INDEX: u32 = 0x1000;
    assert_eq!(mounted.fs.read_node(&mounted.r(), ROOT, 0).unwrap().attributes.flags & INDEX, 0);
    mounted.unmount();
    image.check("given up");
    // With them somebody has written it so.
    let (image, root) = indexed(&["-t", "ext4", "-b", "1024"]);
    let file = std::fs::File::options().write(true).open(image.path()).unwrap();
    file.write_all_at(&[9], root + 28).unwrap();
    let mounted = image.mount(LIMIT_BYTES);
    let refused = create(&mounted, ROOT, b"new");
    assert!(matches!(refused, Err(Error::Checksum { .. } | Error::Corrupt { .. })), "{refused:?}");
}

fn seeds() -> u64 {
    std::env::var("RUMPCAP_NAMES_DAMAGE").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

/// Blocks of directories with arbitrary damage: errors are fine; no panic, no hang. What is damaged has no checksums, so that all of it is
/// met.
#[test]
fn damage_is_an_error() {
    if !have_tools() {
        return;
    }
    let kinds: [&[&str]; 3] = [
        &["-t", "ext4", "-b", "1024", "-N", "512", "-O", "^metadata_csum,^has_journal"],
        &["-t", "ext4", "-b", "1024", "-N", "512", "-O", "^metadata_csum,inline_data,^has_journal"],
        &["-t", "ext2", "-b", "1024", "-N", "512", "-O", "^dir_index"],
    ];
    for kind in kinds {
        let image = Image::make(kind, "4M");
        let mut walk = Walk::begin(image.mount(LIMIT_BYTES), b"top", 3, false);
        (0..300).for_each(|_| walk.step(90));
        let Walk { mounted, model, .. } = walk;
        mounted.unmount();
        let good = std::fs::read(image.path()).unwrap();
        for seed in 0..seeds() {
            let mut random = Random::new(seed);
            let mut bytes = good.clone();
            for _ in 0..1 + random.below(12) {
                damage(&mut bytes, &mut random);
            }
            std::fs::write(image.path(), &bytes).unwrap();
            let Ok(mounted) = image.try_mount(LIMIT_BYTES) else { continue };
            abuse(&mounted, &model, &mut random);
            let _ = mounted.fs.unmount(&mounted.r(), NOW);
        }
    }
}

/// Changes a few bytes of the first two MiB, where inodes and directories are; not of the super block.
fn damage(bytes: &mut [u8], random: &mut Random) {
    let at = (2048 + random.below(2 << 20) as usize) & !3;
    let value = match random.below(4) {
        0 => 0,
        1 => u32::MAX,
        2 => random.below(64) as u32,
        _ => random.next() as u32,
    };
    let len = if random.one_in(2) { 4 } else { 2 };
    bytes[at..at + len].copy_from_slice(&value.to_le_bytes()[..len]);
}

fn abuse(mounted: &Mounted, model: &Model, random: &mut Random) {
    let things: Vec<_> = model.things.iter().flatten().collect();
    for _ in 0..60 {
        let thing = random.pick(&things);
        let names: Vec<_> = thing.entries.values().map(|(name, _)| name.clone()).collect();
        let name = if names.is_empty() { b"none".to_vec() } else { random.pick(&names).clone() };
        let at = EntryName { dir: InodeNo(thing.ino), name: &name };
        let other = random.pick(&things);
        let new = format!("new-{}-{}", random.below(1000), "x".repeat(random.below(200) as usize));
        let to = EntryName { dir: InodeNo(other.ino), name: new.as_bytes() };
        let (r, in_use) = (mounted.r(), |ino: InodeNo| ino.0.is_multiple_of(7));
        match random.below(8) {
            0 => drop(mounted.fs.remove(&r, at, Remove::File, &in_use, NOW)),
            1 => drop(mounted.fs.remove(&r, at, Remove::Directory, &in_use, NOW)),
            2 => drop(mounted.fs.rename(&r, at, to, Rename::Replace, &in_use, NOW)),
            3 => drop(mounted.fs.rename(&r, at, to, Rename::Whiteout, &in_use, NOW)),
            4 => drop(mounted.fs.link(&r, InodeNo(thing.ino), to, NOW)),
            5 => drop(mounted.fs.delete(&r, InodeNo(thing.ino), NOW)),
            6 => drop(mounted.fs.create(&r, to, &NewFile { kind: FileKind::Directory, ..FILE }, NOW)),
            _ => drop(mounted.fs.create(&r, to, &FILE, NOW)),
        }
    }
}
