//! How a mount ends: with files open, in use, while somebody waits.

use crate::fixture::{Fuse, check, image, is_possible};
use rumpcap::Access;
use rumpcap_fuse::End;
use rumpcap_testing::loop_mount::LoopMount;
use std::fs::{self, File};
use std::io::Read;
use std::time::Duration;

#[test]
fn unmounted_while_it_is_in_use_the_image_is_in_order() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "used.img", &["-t", "ext4"]);
    let fuse = Fuse::mount(&image, Access::Write, 512 << 10);
    let (kept, gone) = (fuse.root.join("kept"), fuse.root.join("gone"));
    fs::write(&kept, vec![1; 100_000]).unwrap();
    fs::write(&gone, vec![2; 100_000]).unwrap();
    let (mut kept, gone_file) = (File::open(&kept).unwrap(), File::open(&gone).unwrap());
    fs::remove_file(&gone).unwrap();
    assert_eq!(fuse.break_off(Duration::ZERO), End::BrokenOff);
    let error = kept.read_to_end(&mut Vec::new()).and_then(|_| kept.metadata().map(drop)).unwrap_err();
    assert!(matches!(error.raw_os_error(), Some(103 | 107)), "{error}");
    drop((kept, gone_file));
    check(&image);
    let kernel = LoopMount::new(&image, "ro").unwrap();
    assert_eq!(fs::read(kernel.join("kept")).unwrap(), vec![1; 100_000]);
    assert!(!kernel.join("gone").exists());
}

#[test]
fn unmounted_by_others_it_ends() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "others.img", &["-t", "ext4"]);
    let fuse = Fuse::mount(&image, Access::Write, 512 << 10);
    fs::write(fuse.root.join("file"), "content").unwrap();
    assert!(rumpcap_fuse::source_of(&fuse.root).is_some());
    let open = File::open(fuse.root.join("file")).unwrap();
    let busy = rumpcap_fuse::unmount(&fuse.root, false).unwrap_err();
    assert_eq!(busy.raw_os_error(), Some(16));
    drop(open);
    rumpcap_fuse::unmount(&fuse.root, false).unwrap();
    assert_eq!(rumpcap_fuse::source_of(&fuse.root), None);
    fuse.end();
    check(&image);
    assert_eq!(fs::read(LoopMount::new(&image, "ro").unwrap().join("file")).unwrap(), b"content");
}

/// So many files that no more can be counted: a number that is told, and all is well when they are closed.
#[test]
fn more_open_files_than_memory_for_them_are_refused() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "open.img", &["-t", "ext4", "-N", "4000"]);
    let fuse = Fuse::mount(&image, Access::Write, 512 << 10);
    let mut open = Vec::new();
    let error = loop {
        match File::create(fuse.root.join(open.len().to_string())) {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
        assert!(open.len() < 3000, "more than a 16th of the limit has room for");
    };
    assert_eq!(error.raw_os_error(), Some(23), "ENFILE");
    assert!(open.len() > 100, "{}", open.len());
    open.truncate(50);
    fs::write(fuse.root.join("again"), "x").unwrap();
    drop(open);
    fuse.end();
    check(&image);
}
