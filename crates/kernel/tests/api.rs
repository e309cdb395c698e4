//! The library as its users see it, on an image made by mke2fs.
#![allow(clippy::unwrap_used)]

use rumpcap::block::{Counting, FileDevice, MemoryDevice};
use rumpcap::{Daemon, Error, File, Kernel, Mount, MountOptions, PolicyKind, ReadDir, Walk};
use rumpcap_testing::skip::skip;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// An image of a small tree: files of several sizes, a sparse one, links, and `deep/er/est`.
fn image(directory: &Path) -> Option<std::path::PathBuf> {
    let tree = directory.join("tree");
    std::fs::create_dir_all(tree.join("deep/er/est")).unwrap();
    std::fs::write(tree.join("small"), b"hello").unwrap();
    std::fs::write(tree.join("large"), content(300_000)).unwrap();
    let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    sparse.write_all_at(b"end", 1 << 20).unwrap();
    std::os::unix::fs::symlink("deep/../small", tree.join("link")).unwrap();
    std::os::unix::fs::symlink("/deep/er", tree.join("absolute")).unwrap();
    std::os::unix::fs::symlink("../../../..", tree.join("deep/up")).unwrap();
    std::os::unix::fs::symlink("loop", tree.join("loop")).unwrap();
    let image = directory.join("image");
    let made = Command::new("mke2fs")
        .args(["-q", "-t", "ext4", "-d"])
        .args([&tree, &image])
        .arg("16M")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .status();
    match made {
        Ok(status) => {
            assert!(status.success());
            Some(image)
        }
        Err(_) => {
            skip("mke2fs is not installed");
            None
        }
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

fn mount(image: &Path, limit: u64) -> Mount {
    let kernel = Kernel::builder().memory_limit(limit).daemon(Daemon::Inline).boot().unwrap();
    kernel.mount(Arc::new(FileDevice::open(image).unwrap()), &MountOptions::default()).unwrap()
}

/// Every path of a walk with its depth.
fn visit(mount: &Mount, start: &str, depth: usize) -> Vec<(String, usize)> {
    let mut walk = mount.walk(start).unwrap().max_depth(depth);
    let mut seen = Vec::new();
    while let Some(entry) = walk.next_entry().unwrap() {
        assert_eq!(entry.metadata(), &mount.symlink_metadata(entry.path()).unwrap());
        seen.push((entry.path().to_str().unwrap().to_owned(), entry.depth()));
    }
    seen
}

#[test]
fn handles_are_send_and_sync() {
    fn check<T: Send + Sync>() {}
    check::<Kernel>();
    check::<Mount>();
    check::<File>();
    check::<ReadDir>();
    check::<Walk>();
}

/// Pieces of all sizes in sequence: a request for each run of pages that the limit allows, and no page twice.
#[test]
fn misses_in_sequence_ask_the_device_once_for_each_run_of_pages() {
    let directory = tempfile::tempdir().unwrap();
    let Some(image) = image(directory.path()) else { return };
    let pages = 300_000_u64.div_ceil(4096);
    // Pages of a run: a 16th of the frames, at most 32 (rumpcap_vm::Plan).
    for (limit, run) in [(256 << 10, 3), (512 << 10, 7), (1 << 20, 15), (4 << 20, 32)] {
        for piece in [512, 4096, 5000, 8192] {
            let kernel = Kernel::builder().memory_limit(limit).daemon(Daemon::Inline).boot().unwrap();
            let device = Arc::new(Counting::new(Arc::new(FileDevice::open(&image).unwrap())));
            let mount = kernel.mount(device.clone(), &MountOptions::default()).unwrap();
            let mut file = mount.open("large").unwrap();
            let before = device.counts();
            let (mut buf, mut seen) = (vec![0; piece], Vec::new());
            while let n @ 1.. = file.read(&mut buf).unwrap() {
                seen.extend_from_slice(&buf[..n]);
            }
            assert!(seen == content(300_000));
            let after = device.counts();
            let (reads, bytes) = (after.reads - before.reads, after.read_bytes - before.read_bytes);
            // The file's one extent is in its inode, so all requests are for its content.
            assert!(reads <= pages.div_ceil(run) + 1, "{reads} requests at {limit} in pieces of {piece}");
            assert!(bytes <= (pages + 1) * 4096, "{bytes} bytes at {limit} in pieces of {piece}");
        }
    }
}

#[test]
fn files_read_and_seek_as_those_of_std() {
    let directory = tempfile::tempdir().unwrap();
    let Some(image) = image(directory.path()) else { return };
    for policy in [PolicyKind::S3Fifo, PolicyKind::Lru] {
        let kernel = Kernel::builder().memory_limit(256 << 10).policy(policy).boot().unwrap();
        let device = MemoryDevice::from_bytes(&std::fs::read(&image).unwrap());
        let mount = kernel.mount(Arc::new(device), &MountOptions::default()).unwrap();
        let mut file = mount.open("large").unwrap();
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert!(all == content(300_000));
        for chunk in [1, 511, 4096, 5000, 65536] {
            file.rewind().unwrap();
            let (mut buf, mut seen) = (vec![0; chunk], Vec::new());
            while let n @ 1.. = file.read(&mut buf).unwrap() {
                seen.extend_from_slice(&buf[..n]);
            }
            assert!(seen == all, "in pieces of {chunk}");
        }
        assert_eq!(file.seek(SeekFrom::End(-10)).unwrap(), 299_990);
        let mut last = Vec::new();
        file.read_to_end(&mut last).unwrap();
        assert_eq!(last, all[299_990..]);
        assert!(file.seek(SeekFrom::Current(-300_001)).is_err());
        assert_eq!(file.read_at(&mut [0; 10], 300_000), Ok(0));
        assert_eq!(file.read_at(&mut [0; 10], u64::MAX), Ok(0));
        // At random, every page more than once, so that pages come, go and are admitted.
        for i in 0..2000u64 {
            let (at, mut page) = ((i * 7919) % 73 * 4096, [0; 4096]);
            let n = file.read_at(&mut page, at).unwrap();
            assert!(page[..n] == all[at as usize..at as usize + n]);
        }
        assert!(kernel.memory_report().peak_bytes <= 256 << 10);
    }
}

#[test]
fn pages_are_lent_until_others_would_starve() {
    let directory = tempfile::tempdir().unwrap();
    let Some(image) = image(directory.path()) else { return };
    let mount = mount(&image, 256 << 10);
    let file = mount.open("large").unwrap();
    let lease = file.lend(8192 + 100).unwrap().unwrap();
    assert!(lease[..] == content(300_000)[8192 + 100..3 * 4096]);
    let end = file.lend(299_999).unwrap().unwrap();
    assert!(end[..] == content(300_000)[299_999..]);
    assert!(file.lend(300_000).unwrap().is_none());
    assert!(mount.open("sparse").unwrap().lend(5).unwrap().is_none(), "no page of a hole is kept");
    let mut leases = Vec::new();
    let refusal = (0..73).find_map(|page| match file.lend(page * 4096) {
        Ok(lease) => {
            leases.extend(lease);
            None
        }
        Err(error) => Some(error),
    });
    assert!(matches!(refusal, Some(Error::NoMemory { what: "a lent page", .. })), "{refusal:?}");
    // Everybody else goes on working with what is left.
    let mut buf = vec![0; 300_000];
    assert_eq!(file.read_at(&mut buf, 0), Ok(300_000));
    assert!(buf == content(300_000));
    assert_eq!(visit(&mount, "/", usize::MAX).len(), 12);
    // A lent page outlives its file, its mount and its kernel's handles.
    drop((file, mount));
    assert!(leases.iter().zip(content(300_000).chunks(4096)).all(|(lease, page)| lease[..] == *page));
}

#[test]
fn segments_tell_data_from_holes() {
    let directory = tempfile::tempdir().unwrap();
    let Some(image) = image(directory.path()) else { return };
    let mount = mount(&image, 256 << 10);
    let file = mount.open("sparse").unwrap();
    let (mut at, mut data, mut holes) = (0, 0, 0);
    while let Some(segment) = file.segment_at(at).unwrap() {
        assert_eq!(segment.offset, at);
        *(if segment.hole { &mut holes } else { &mut data }) += segment.len_bytes;
        at += segment.len_bytes;
    }
    assert_eq!((holes, data), (1 << 20, 3));
}

#[test]
fn paths_follow_links_and_stay_within_the_mount() {
    let directory = tempfile::tempdir().unwrap();
    let Some(image) = image(directory.path()) else { return };
    let mount = mount(&image, 256 << 10);
    let canonical = |path: &str| mount.canonicalize(path).map(|p| p.to_str().unwrap().to_owned());
    assert_eq!(canonical("link").unwrap(), "/small");
    assert_eq!(canonical("absolute/est/..").unwrap(), "/deep/er");
    assert_eq!(canonical("/../../deep/up/small").unwrap(), "/small");
    assert_eq!(canonical("loop"), Err(Error::TooManyLinks));
    assert_eq!(mount.metadata("loop").err(), Some(Error::TooManyLinks));
    assert!(mount.symlink_metadata("loop").unwrap().is_symlink());
    assert_eq!(mount.metadata("small/").err(), Some(Error::NotADirectory));
    assert_eq!(mount.metadata("small/x").err(), Some(Error::NotADirectory));
    assert_eq!(mount.metadata("none").err(), Some(Error::NotFound));
    assert_eq!(mount.metadata("none").err(), Some(Error::NotFound), "from the negative entry");
    assert_eq!(mount.metadata("x".repeat(256)).err(), Some(Error::NameTooLong));
    assert_eq!(mount.metadata("").unwrap().ino(), mount.metadata("/").unwrap().ino());
    assert_eq!(mount.read_link("link").unwrap(), Path::new("deep/../small"));
    assert_eq!(mount.read_link("small").err(), Some(Error::WrongType));
    assert_eq!(mount.open("deep").unwrap().read_at(&mut [0; 1], 0), Err(Error::IsADirectory));
    assert!(matches!(mount.read_dir("small"), Err(Error::NotADirectory)));
}

#[test]
fn a_walk_gives_a_directory_before_what_is_in_it_and_stops_where_told() {
    let directory = tempfile::tempdir().unwrap();
    let Some(image) = image(directory.path()) else { return };
    let mount = mount(&image, 256 << 10);
    let all = visit(&mount, "/", usize::MAX);
    for (path, depth) in &all {
        let parent = Path::new(path).parent().map(|p| p.to_str().unwrap());
        let at = |wanted: &str| all.iter().position(|(p, _)| p == wanted).unwrap();
        assert!(parent.is_none_or(|parent| at(parent) < at(path)), "{path} before its directory");
        assert_eq!(*depth, Path::new(path).components().count() - 1);
    }
    assert_eq!(visit(&mount, "/", 0), [("/".to_owned(), 0)]);
    assert_eq!(visit(&mount, "/", 1).len(), 9);
    let deep = visit(&mount, "deep", 1);
    assert_eq!(deep.iter().map(|(p, _)| p.as_str()).collect::<Vec<_>>(), ["deep", "deep/up", "deep/er"]);
    assert_eq!(visit(&mount, "small", 5), [("small".to_owned(), 0)]);
}
