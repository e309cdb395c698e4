//! Copies without a pin, beside evictions and objects that go.

use crate::support::{Fails, Small, assert_idle, boot, check, schedules};
use rumpcap_host::Result;
use rumpcap_vm::{BusyPages, Daemon, ObjectId, PageIndex, Pager, PolicyKind, Reservation};
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Fills pages with the object's number and their own.
struct Named(ObjectId);

fn name(object: ObjectId, index: u64) -> [u8; 16] {
    (u128::from(object.number()) << 64 | u128::from(index)).to_le_bytes()
}

impl Pager for Named {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
        thread::yield_now();
        for at in 0..pages.len() {
            let name = name(self.0, pages.first().0 + at as u64);
            pages.page_mut(at)[..16].copy_from_slice(&name);
        }
        Ok(())
    }
}

/// Copies need no pin: what they copy from must neither be evicted nor be destroyed nor become another's meanwhile.
#[test]
fn a_copy_without_a_pin_is_of_the_page_that_was_meant() {
    let copied = Arc::new(AtomicU64::new(0));
    let met = copied.clone();
    check(move || {
        let small = boot(PolicyKind::S3Fifo, Daemon::Inline, Fails::None);
        let objects = [(); 2].map(|()| small.vm.create_object().unwrap());
        let hints = objects.map(|object| small.vm.hint(object));
        let page_in = |small: &Small, object: ObjectId, index: u64| {
            let r = small.vm.reserve(1);
            let page = small.vm.page(&r, object, PageIndex(index), 3, &Named(object)).unwrap();
            assert_eq!(page[..16], name(object, index));
        };
        objects.iter().for_each(|object| page_in(&small, *object, 0));
        let copiers: Vec<_> = (0..3)
            .map(|t| {
                let small = small.clone();
                thread::spawn(move || {
                    let mut copied = 0;
                    for index in (0..4).map(|n| (n + t) % 3) {
                        for (object, hint) in objects.iter().zip(hints) {
                            let mut out = [0; 16];
                            if small.vm.copy_resident(hint, PageIndex(index), 0, &mut out) {
                                assert_eq!(out, name(*object, index), "another page's content");
                                copied += 1;
                            }
                        }
                    }
                    copied
                })
            })
            .collect();
        // One thread evicts by reading much, and destroys an object and makes another in its place.
        (0..16).for_each(|index| page_in(&small, objects[1], index));
        small.vm.destroy_object(objects[0]);
        let other = small.vm.create_object().unwrap();
        (0..16).for_each(|index| page_in(&small, other, index));
        met.fetch_add(copiers.into_iter().map(|t| t.join().unwrap()).sum(), Ordering::Relaxed);
        assert_idle(&small);
    });
    assert!(copied.load(Ordering::Relaxed) > 0);
}

/// Fourteen frames: three hold pages that three threads copy from, each its own, again and again; a fourth thread pins eleven
/// and needs one of the three. A copy wakes nobody at its end, and what it copies from must not go before.
#[test]
fn a_thread_that_finds_every_other_page_being_copied_waits_for_the_copies() {
    let waits = Arc::new(AtomicU64::new(0));
    let met = waits.clone();
    let body = move || {
        let small = boot(PolicyKind::S3Fifo, Daemon::Inline, Fails::None);
        let [copied_from, pinned] = [(); 2].map(|()| small.vm.create_object().unwrap());
        let page = |r: &Reservation<'_>, object: ObjectId, index: u64| {
            let page = small.vm.page(r, object, PageIndex(index), 0, &Named(object)).unwrap();
            assert_eq!(page[..16], name(object, index));
        };
        (0..3).for_each(|index| page(&small.vm.reserve(1), copied_from, index));
        let r = small.vm.reserve(12);
        let pin = |index| small.vm.page(&r, pinned, PageIndex(index), 0, &Named(pinned)).unwrap();
        let mut held: Vec<_> = (0..11).map(pin).collect();
        let hint = small.vm.hint(copied_from);
        let copiers: Vec<_> = (0..3)
            .map(|index| {
                let small = small.clone();
                thread::spawn(move || {
                    let mut out = [0; 16];
                    let copy = |out: &mut [u8]| small.vm.copy_resident(hint, PageIndex(index), 0, out);
                    let copies = (0..4).filter(|_| copy(&mut out)).count();
                    assert!(copies == 0 || out == name(copied_from, index), "another page's content");
                })
            })
            .collect();
        held.push(pin(11));
        assert!((0..).zip(&held).all(|(index, page)| page[..16] == name(pinned, index)));
        drop(held);
        drop(r);
        copiers.into_iter().for_each(|t| t.join().unwrap());
        met.fetch_add(small.vm.report().frame_waits, Ordering::Relaxed);
        assert_idle(&small);
    };
    // Three copiers stopped in the middle of a copy each, and then the fourth thread: that takes as many changes of priority.
    shuttle::check_pct(body, 10 * schedules(), 5);
    assert!(waits.load(Ordering::Relaxed) > 0, "no schedule came to a wait for a frame");
}
