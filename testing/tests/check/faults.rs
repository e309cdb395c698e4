//! A device that fails is no damage: a check ends with its error, or it has not met it.

use rumpcap::block::{Effect, Fault, FaultInjector, FileDevice, Operation};
use rumpcap::{Error, Kernel, MountOptions};
use rumpcap_testing::images::{Kind, Spec, Tree, build};
use rumpcap_testing::skip;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// An errno that the host does not give by itself for a regular file.
const ERRNO: i32 = 121;

/// What a check comes to when the `nth` read fails, and how many reads there were.
fn check(image: &Path, nth: u64) -> (rumpcap::Result<u64>, u64) {
    let device = Arc::new(FaultInjector::new(Arc::new(FileDevice::open(image).expect("an image"))));
    let fault = Fault { operation: Operation::Read, nth, effect: Effect::Fail { errno: ERRNO } };
    device.inject(fault).expect("one fault");
    let kernel = Kernel::builder().memory_limit(256 << 10).boot().expect("booting");
    let mount = kernel.mount(device.clone(), &MountOptions::default());
    let errors = mount.and_then(|mount| Ok(mount.check(&mut |_| ControlFlow::Continue(()))?.errors));
    let report = kernel.memory_report();
    assert_eq!((report.stuck, report.pages_pinned), (0, 0), "read {nth}: {report:?}");
    (errors, device.requests(Operation::Read))
}

#[test]
fn a_read_that_fails_is_an_error_and_no_finding() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let spec = Spec::new("corrupt-inline", Kind::Ext4).features("inline_data,ea_inode");
    let image = spec.tree(Tree::Small).size(8).block(1024).image();
    let (errors, reads) = check(&image, u64::MAX);
    assert_eq!(errors, Ok(0));
    let mut failed = 0;
    for nth in 1..=reads {
        match check(&image, nth).0 {
            Ok(errors) => assert_eq!(errors, 0, "read {nth}"),
            Err(error) => {
                assert!(matches!(error, Error::Io { errno: ERRNO, .. }), "read {nth}: {error}");
                failed += 1;
            }
        }
    }
    assert!(failed > reads / 2, "{failed} of {reads} reads that failed were told");
}
