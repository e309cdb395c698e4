//! Full file systems: no space at every allocation, no inodes, files to the format's limit. What is refused leaves nothing behind and loses
//! nothing.

use crate::support::{caught, fsck, is_thorough, judge};
use rumpcap::block::MemoryDevice;
use rumpcap::{DataMode, Error, Owner};
use rumpcap_testing::images::build;
use rumpcap_testing::skip;
use rumpcap_testing::tools::scratch;
use rumpcap_testing::writing::cuts::single;
use rumpcap_testing::writing::{Generator, Handle, LibraryTarget, Op, Run, Setup, first_model};
use std::sync::Arc;

const LIMIT: Option<u64> = Some(512 << 10);

fn small(name: &str) -> Setup {
    Setup::named(name).small()
}

/// Fills the file system with a file, and makes it shorter by `blocks`.
fn fill(run: &mut Run, target: &mut LibraryTarget, setup: &Setup, blocks: u64) -> Result<(), String> {
    let path = "/filler".to_owned();
    let mut step =
        |op: Op| run.step(target, &op).map_err(|failure| failure.to_string()).map(|()| run.model.pages());
    step(Op::Create { path: path.clone(), mode: 0o600, uid: 0, gid: 0 })?;
    let file = Handle::Path(path);
    let (mut offset, len) = (0, 65_536);
    while step(Op::Write { file: file.clone(), offset, len, seed: 1 })? as u64 * 4096 >= offset + len as u64 {
        offset += len as u64;
    }
    let end = run.model.len_of(&file).expect("a file");
    let len = (end - end % setup.can.block_bytes).saturating_sub(blocks * setup.can.block_bytes);
    [Op::SetLen { file, len }, Op::Sync]
        .iter()
        .try_for_each(|op| run.step(target, op))
        .map_err(|e| e.to_string())
}

/// Operations on a file system with `blocks` free.
fn nearly_full(name: &str, blocks: u64, count: usize) -> Result<usize, String> {
    let setup = small(name);
    let device = Arc::new(MemoryDevice::from_bytes(&setup.image()));
    let target = LibraryTarget::new(device.clone(), LIMIT, DataMode::Ordered);
    let mut target = target.map_err(|error| error.to_string())?;
    let mut run = Run::new(first_model());
    run.may_be_full = true;
    fill(&mut run, &mut target, &setup, blocks)?;
    let mut generator = Generator::new(blocks, setup.can);
    (generator.small, generator.sync_weight) = (true, 12);
    while run.ops.len() < count {
        for op in single(generator.next(&run.model)) {
            run.step(&mut target, &op).map_err(|failure| format!("{op:?}: {failure}"))?;
        }
    }
    run.compare(&mut target).map_err(|failure| failure.to_string())?;
    target.unmount().map_err(|error| format!("unmounting: {error}"))?;
    judge(&setup, &device.to_bytes(), &mut run.model, LIMIT)?;
    Ok(run.refused)
}

#[test]
fn no_space_at_every_allocation() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let mut refused = 0;
    for (n, name) in ["w-ext4-1k", "w-ext2-1k", "w-ext3-1k", "w-inline-and-ea-inode", "w-bigalloc-1k"]
        .into_iter()
        .enumerate()
    {
        let every = if is_thorough() { 1 } else { 7 };
        for blocks in (n as u64..40).step_by(every) {
            let result = caught(|| nearly_full(name, blocks, 120));
            refused += result.unwrap_or_else(|why| panic!("{name}, {blocks} blocks free: {why}"));
        }
    }
    println!("{refused} operations refused");
    assert!(refused > 40, "not full enough");
}

#[test]
fn no_inodes() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let mut setup = small("w-ext4-4k");
    setup.spec = setup.spec.arguments("-N 48 -J size=4");
    let device = Arc::new(MemoryDevice::from_bytes(&setup.image()));
    let mut target = LibraryTarget::new(device.clone(), LIMIT, DataMode::Ordered).expect("mounting");
    let mut made = 0;
    let error = loop {
        match target.mount().create(format!("/{made}"), &Owner::default()) {
            Ok(_) => made += 1,
            Err(error) => break error,
        }
        assert!(made < 1000, "inodes without end");
    };
    assert_eq!(error, Error::NoSpace { what: "inodes" });
    assert_eq!(target.mount().create_dir("/dir", &Owner::default()).err(), Some(error));
    assert_eq!(target.mount().stat_fs().expect("statfs").inodes_free, 0);
    target.mount().remove_file("/3").expect("removing");
    target.mount().create_dir("/dir", &Owner::default()).expect("the inode that is free again");
    target.unmount().expect("unmounting");
    clean(&device.to_bytes());
}

fn clean(image: &[u8]) {
    let directory = scratch();
    let path = directory.path().join("image");
    std::fs::write(&path, image).expect("an image");
    fsck(&path).unwrap_or_else(|why| panic!("{why}"));
}

/// The last byte that a file can have, and the one behind it.
fn longest(name: &str, len: u64) {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let setup = Setup::named(name);
    let device = Arc::new(MemoryDevice::from_bytes(&setup.image()));
    let mut target = LibraryTarget::new(device.clone(), LIMIT, DataMode::Ordered).expect("mounting");
    let file = target.mount().create("/long", &Owner::default()).expect("a file");
    file.write_at(b"middle", len / 2).expect("in the middle");
    assert_eq!(file.write_at(b"last", len - 4), Ok(4), "{name}: the last bytes");
    assert_eq!(file.metadata().expect("metadata").len(), len);
    assert_eq!(file.write_at(b"x", len), Err(Error::FileTooLarge), "{name}: behind the end");
    assert_eq!(file.set_len(len + 1), Err(Error::FileTooLarge), "{name}: too long");
    let mut bytes = [1; 8];
    assert_eq!(file.read_at(&mut bytes, len - 6), Ok(6));
    assert_eq!(&bytes[..6], b"\0\0last");
    assert_eq!(file.read_at(&mut bytes, len / 2 - 1), Ok(8));
    assert_eq!(&bytes, b"\0middle\0");
    drop(file);
    target.unmount().expect("unmounting");
    clean(&device.to_bytes());
    let mut target = LibraryTarget::new(device.clone(), LIMIT, DataMode::Ordered).expect("mounting");
    let file = target.mount().open("/long").expect("the file");
    file.set_len(len / 2 + 3).expect("cutting");
    assert_eq!(file.read_at(&mut bytes, len / 2), Ok(3));
    drop(file);
    target.mount().remove_file("/long").expect("removing");
    target.unmount().expect("unmounting");
    clean(&device.to_bytes());
}

#[test]
fn files_to_the_limit_of_the_format() {
    longest("w-ext4-4k", ((1 << 32) - 1) * 4096);
    longest("w-ext4-1k", ((1 << 32) - 1) * 1024);
    longest("w-bigalloc-1k", ((1 << 32) - 1) * 1024);
    longest("w-ext2-1k", (12 + 256 + (1 << 16) + (1 << 24)) * 1024);
}
