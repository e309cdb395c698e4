//! Devices that fail, and that do not answer.

use crate::fixture::{Fuse, image, is_possible};
use rumpcap::Access;
use rumpcap::block::{Effect, Fault, FaultInjector, FileDevice, Operation};
use rumpcap_fuse::End;
use rumpcap_testing::loop_mount::LoopMount;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

fn filled(directory: &std::path::Path) -> std::path::PathBuf {
    let image = image(directory, "faulty.img", &["-t", "ext4"]);
    let kernel = LoopMount::new(&image, "").unwrap();
    fs::write(kernel.join("file"), vec![1; 1 << 20]).unwrap();
    drop(kernel);
    image
}

#[test]
fn a_device_that_fails_is_an_input_output_error() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = filled(directory.path());
    let device = Arc::new(FaultInjector::new(Arc::new(FileDevice::open(&image).unwrap())));
    let fuse = Fuse::serve(&image, device.clone(), Access::Read, 512 << 10);
    device.reset();
    device
        .inject(Fault { operation: Operation::Read, nth: 1, effect: Effect::FailFromNowOn { errno: 28 } })
        .unwrap();
    let error = fs::read(fuse.root.join("file")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "whatever the device said");
    device.reset();
    assert_eq!(fs::read(fuse.root.join("file")).unwrap(), vec![1; 1 << 20]);
    fuse.end();
}

#[test]
fn a_device_that_does_not_answer_keeps_nobody_from_unmounting() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = filled(directory.path());
    let device = Arc::new(FaultInjector::new(Arc::new(FileDevice::open(&image).unwrap())));
    let fuse = Fuse::serve(&image, device.clone(), Access::Read, 512 << 10);
    let path = fuse.root.join("file");
    let _ = fs::metadata(&path).unwrap();
    device.reset();
    device.inject(Fault { operation: Operation::Read, nth: 1, effect: Effect::Hold }).unwrap();
    let client = std::thread::spawn(move || fs::read(path).map(drop));
    while device.held() == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(fuse.break_off(Duration::from_millis(50)), End::Stuck);
    assert_eq!(device.held(), 1);
    // Where connections cannot be broken off (no fusectl), its client waits as long as the request, or the process.
    device.release();
    let _ = client.join().unwrap();
}
