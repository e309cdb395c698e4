//! One object owns every page, and then another asks (F4).
//!
//! Its share is what the plan keeps out of one object's reach: the frames less `object_share`, a quarter of them. Two
//! pages less is what it surely keeps while the other goes on to ask for more: an object at its share takes one page
//! more before it is over it, and one is in between.

use crate::support::{FromDevice, Pattern, boot, watch};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{Daemon, ObjectId, PageIndex, PolicyKind, Vm};
use std::sync::Arc;

struct Memory {
    vm: Arc<Vm>,
    pager: FromDevice,
}

impl Memory {
    fn new(limit_bytes: u64, policy: PolicyKind) -> Memory {
        let vm = boot(limit_bytes, policy, Daemon::Inline);
        Memory { vm, pager: FromDevice(Arc::new(Pattern { len_bytes: 1 << 40 })) }
    }

    fn object(&self) -> ObjectId {
        self.vm.create_object().expect("an object")
    }

    fn ask(&self, object: ObjectId, index: u64) {
        let r = self.vm.reserve(1);
        self.vm.page(&r, object, PageIndex(index), 0, &self.pager).expect("the device does not fail");
    }

    fn is_resident(&self, object: ObjectId, index: u64) -> bool {
        self.vm.resident_page(&self.vm.reserve(1), object, PageIndex(index)).is_some()
    }

    /// How many of the first `count` pages of `object` are there.
    fn resident(&self, object: ObjectId, count: u64) -> u64 {
        (0..count).filter(|n| self.is_resident(object, *n)).count() as u64
    }
}

/// Limits with the fewest frames, and with some powers of two of them.
fn limits() -> Vec<u64> {
    let smallest = Plan::smallest_limit_bytes();
    vec![smallest, smallest + 4096, 192 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20]
}

/// The other asks for its share round after round, while the greedy one asks for `burst` new pages each time.
fn both_ask(memory: &Memory, burst: u64) {
    let frames = u64::from(memory.vm.plan().frames);
    let share = frames - u64::from(memory.vm.plan().object_share) - 2;
    let (greedy, modest) = (memory.object(), memory.object());
    (0..frames).for_each(|n| memory.ask(greedy, n));
    assert_eq!(memory.resident(greedy, frames), frames, "it owns every page");
    memory.ask(greedy, frames);
    let report = memory.vm.report();
    assert_eq!((report.pages_clean, report.evictions), (frames, 1), "and gets one more");
    let mut fresh = frames..;
    let mut missed = 0;
    // Two rounds to come to its share; in the third it has it.
    for round in 0..3 {
        for n in 0..share {
            missed += u64::from(round == 2 && !memory.is_resident(modest, n));
            memory.ask(modest, n);
            fresh.by_ref().take(burst as usize).for_each(|n| memory.ask(greedy, n));
        }
    }
    assert_eq!((missed, memory.resident(modest, share)), (0, share), "its share of {frames} frames");
    // Pages that nobody asks for stay too, as long as there are few enough to pass over.
    fresh.take(4 * frames as usize).for_each(|n| memory.ask(greedy, n));
    assert_eq!(
        memory.resident(modest, share),
        share,
        "its share of {frames} frames, while it asks for nothing"
    );
}

#[test]
fn an_object_that_owns_every_page_gets_one_more_and_leaves_another_its_share() {
    for policy in [PolicyKind::S3Fifo, PolicyKind::Lru] {
        for (limit, burst) in limits().into_iter().flat_map(|limit| [1, 4, 32].map(|burst| (limit, burst))) {
            let memory = Memory::new(limit, policy);
            let watchdog = watch(&memory.vm, 1);
            watchdog.begin(0, format!("{policy:?} at {limit} bytes, bursts of {burst}"));
            both_ask(&memory, burst);
            watchdog.end(0);
        }
    }
}
