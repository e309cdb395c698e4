//! Objects that are destroyed while others are at work, and their identities used again.

use crate::support::{Fails, Numbers, assert_idle, check, read, roomy};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{Daemon, DeviceObject, PAGE_SIZE, PageLease, PolicyKind};
use shuttle::thread;
use std::sync::Arc;

/// Two threads share a device; the last of them destroys its object, while pages of it are lent out, and while others
/// hit, miss and wait for pages of another device.
#[test]
fn an_object_that_is_destroyed_takes_its_pages_along_and_no_other() {
    check(|| {
        let limit_bytes = Plan::smallest_limit_bytes();
        let small = Arc::new(roomy(limit_bytes, PolicyKind::S3Fifo, Daemon::Inline, Fails::None));
        let shared = Arc::new(DeviceObject::attach(&small.vm, Numbers::new(Fails::EveryNth(4))).unwrap());
        let mut all: Vec<_> = (0..2u64)
            .map(|t| {
                let (small, shared) = (small.clone(), shared.clone());
                thread::spawn(move || {
                    let lent: Vec<_> = [t, 3, 4]
                        .into_iter()
                        .filter_map(|n| {
                            let r = small.vm.reserve(2);
                            let page = shared.page(&r, n * PAGE_SIZE as u64, 2).ok()?;
                            PageLease::new(&small.vm, &page).ok().map(|lease| (n, lease))
                        })
                        .collect();
                    drop(shared);
                    thread::yield_now();
                    assert!(lent.iter().all(|(n, lease)| lease[..8] == n.to_le_bytes()));
                })
            })
            .collect();
        drop(shared);
        all.extend([[3, 4, 5, 3], [5, 4, 3, 20]].map(|places| {
            let small = small.clone();
            thread::spawn(move || assert_eq!(read(&small, places.into_iter(), 2), 0))
        }));
        all.into_iter().for_each(|t| t.join().unwrap());
        assert_idle(&small);
    });
}

/// Devices come and go; each sees its own content, though objects, frames and chains are used again.
#[test]
fn an_identity_that_is_used_again_finds_nothing_of_the_one_before() {
    check(|| {
        let limit_bytes = Plan::smallest_limit_bytes();
        let small = Arc::new(roomy(limit_bytes, PolicyKind::Lru, Daemon::Inline, Fails::None));
        let all: Vec<_> = (0..3u64)
            .map(|t| {
                let small = small.clone();
                thread::spawn(move || {
                    for round in 0..3 {
                        let device = DeviceObject::attach(&small.vm, Numbers::new(Fails::None)).unwrap();
                        let before = small.vm.report().device_reads;
                        let r = small.vm.reserve(1);
                        let place = 10 * t + round;
                        let page = device.page(&r, place * PAGE_SIZE as u64, 0).unwrap();
                        assert_eq!(page[..8], place.to_le_bytes());
                        assert!(small.vm.report().device_reads > before, "a new device has no pages yet");
                    }
                })
            })
            .collect();
        all.into_iter().for_each(|t| t.join().unwrap());
        assert_idle(&small);
        assert_eq!(small.vm.report().pages_clean, 0, "devices that are gone have no pages");
    });
}
