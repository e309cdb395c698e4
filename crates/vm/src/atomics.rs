//! The small atomics under a model checker that reorders memory as the language allows: the state word of a page, waiting
//! for a page under I/O, the chains of the page hash, and the gate.
//!
//! `cargo test -p rumpcap-vm --features loom --lib atomics::`. Every execution with at most [`PREEMPTIONS`] preemptions is
//! tried; a lost wake-up is a deadlock. The content of a page stands for its frame: the checker fails an execution in which
//! it is read and written without an order between. What is sequentially consistent is weaker here than the language
//! says, so the wait for a frame, which relies on that, is left to `tests/schedules`.

#![allow(clippy::unwrap_used)]

use crate::page::{FrameNo, Page, PageIndex, Pin};
use crate::page_table::{Found, PageTable};
use crate::region::Cutter;
use crate::wait::BusyWait;
use crate::{BootOptions, Daemon, Vm};
use loom::cell::UnsafeCell;
use loom::thread;
use rumpcap_host::sync::{Arc, Condvar, Mutex};
use zerocopy::FromZeros;

/// Bugs of order show with two or three preemptions; each more multiplies the executions.
const PREEMPTIONS: usize = 3;

/// Tries every execution of `body`.
fn explore(body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS);
    model.max_branches = 100_000;
    model.check(body);
}

/// What a frame holds, as the checker watches it: the number of the page that was read into it.
#[derive(Default)]
struct Content(UnsafeCell<u64>);

// SAFETY: nothing is read or written through it without the checker's leave: it fails an execution in which two threads
// are at it without an order between, and the pointers that it lends stay in the closures below.
unsafe impl Sync for Content {}
// SAFETY: a number.
unsafe impl Send for Content {}

impl Content {
    fn fill(&self, number: u64) {
        // SAFETY: the checker has made sure that nobody else is at it.
        self.0.with_mut(|content| unsafe { *content = number });
    }

    fn number(&self) -> u64 {
        // SAFETY: the checker has made sure that nobody writes it.
        self.0.with(|content| unsafe { *content })
    }
}

/// Makes the checker's atomics of a page, before threads start.
fn touch(page: &Page) {
    page.identity();
    page.is_pinned();
    page.is_checked(0);
    let relaxed = core::sync::atomic::Ordering::Relaxed;
    page.references.load(relaxed);
    page.born.load(relaxed);
    page.chain.load(relaxed);
}

fn page() -> Page {
    let page = Page::new_zeroed();
    touch(&page);
    page
}

/// Object 1's pages have their own numbers as content.
fn begin_and_fill(page: &Page, content: &Content, number: u64) {
    page.begin(1, PageIndex(number));
    content.fill(number);
}

/// Reads page `number` if it is there.
fn read(page: &Page, content: &Content, number: u64) -> Pin {
    let pin = page.pin(1, PageIndex(number));
    if pin == Pin::Done {
        assert_eq!(content.number(), number, "PG-4: another page's content");
        page.unpin();
    }
    pin
}

#[test]
fn a_pinned_page_is_the_one_that_was_asked_for_and_stays_it() {
    explore(|| {
        let shared = Arc::new((page(), Content::default()));
        begin_and_fill(&shared.0, &shared.1, 1);
        shared.0.finish(0);
        let readers = [1, 2].map(|number| {
            let shared = shared.clone();
            thread::spawn(move || read(&shared.0, &shared.1, number))
        });
        // Under the resident lock: the only one who evicts.
        if shared.0.try_evict() {
            begin_and_fill(&shared.0, &shared.1, 2);
            shared.0.finish(0);
        }
        for reader in readers {
            // Any outcome is right; what counts is asserted where the content is read.
            reader.join().unwrap();
        }
        assert!(shared.0.try_evict(), "all pins were taken back");
    });
}

#[test]
fn who_finds_a_page_valid_sees_what_was_read_into_it() {
    explore(|| {
        let shared = Arc::new((page(), Content::default()));
        let reader = shared.clone();
        let reader = thread::spawn(move || {
            read(&reader.0, &reader.1, 1);
            read(&reader.0, &reader.1, 1)
        });
        begin_and_fill(&shared.0, &shared.1, 1);
        assert!(!shared.0.finish(1), "nobody sleeps");
        shared.0.unpin();
        reader.join().unwrap();
        // Evicting it is ordered behind the reader's last look.
        assert!(shared.0.try_evict());
        shared.1.fill(9);
    });
}

/// Two sleep for a page whose read succeeds, or fails.
fn sleepers(succeeds: bool) {
    explore(move || {
        let shared = Arc::new((page(), Content::default(), BusyWait::default()));
        shared.0.begin(1, PageIndex(1));
        let all = [(); 2].map(|()| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (page, content, wait) = &*shared;
                wait.sleep(FrameNo(0), page);
                read(page, content, 1)
            })
        });
        let (page, content, wait) = &*shared;
        content.fill(1);
        let wanted = if succeeds { page.finish(0) } else { page.abandon() };
        if wanted {
            wait.wake(FrameNo(0));
        }
        let expected = if succeeds { Pin::Done } else { Pin::Gone };
        all.into_iter().for_each(|sleeper| assert_eq!(sleeper.join().unwrap(), expected));
    });
}

#[test]
fn sleepers_for_a_page_that_comes_are_woken() {
    sleepers(true);
}

#[test]
fn sleepers_for_a_page_that_does_not_come_are_woken() {
    sleepers(false);
}

/// A table of three frames and two chains, their contents, and the lock that chains change under.
struct Hash {
    table: PageTable,
    contents: [Content; 3],
    resident: Mutex<()>,
}

impl Hash {
    fn new() -> Hash {
        let mut cutter = Cutter::new(64 << 10).unwrap();
        let table = PageTable::new(cutter.table(3), cutter.table(2));
        (0..3).for_each(|frame| touch(table.page(FrameNo(frame))));
        (0..8).for_each(|number| assert!(!table.contains(1, PageIndex(number))));
        Hash { table, contents: Default::default(), resident: Mutex::new(()) }
    }

    /// The first page behind page `after` in the chain of page 0, or in the other one.
    fn number(&self, after: u64, in_its_chain: bool) -> u64 {
        let chain = |number| self.table.mix(1, PageIndex(number)) & 1;
        (after + 1..).find(|number| (chain(*number) == chain(0)) == in_its_chain).unwrap()
    }

    fn insert(&self, frame: u32, number: u64) {
        let page = self.table.page(FrameNo(frame));
        page.begin(1, PageIndex(number));
        self.table.insert(FrameNo(frame));
        self.contents[frame as usize].fill(number);
        page.finish(0);
    }

    fn evict(&self, frame: u32) -> bool {
        let evicted = self.table.page(FrameNo(frame)).try_evict();
        if evicted {
            self.table.remove(FrameNo(frame));
        }
        evicted
    }

    /// Looks without the lock, and with it before a miss is believed. Whether the page is there.
    fn look_up(&self, number: u64) -> bool {
        let mut found = self.table.find(1, PageIndex(number));
        if matches!(found, Found::Nothing) {
            let _resident = self.resident.lock();
            found = self.table.find_locked(1, PageIndex(number));
        }
        if let Found::Pinned(frame) = found {
            assert_eq!(self.contents[frame.slot()].number(), number, "another page's content");
            self.table.page(frame).unpin();
        }
        !matches!(found, Found::Nothing)
    }
}

/// Page 0 is at the end of its chain, behind one whose frame goes over to the other chain: who is on his way to page 0 is led
/// astray, misses it, and finds it under the lock.
#[test]
fn a_look_up_finds_the_right_page_while_chains_change() {
    explore(|| {
        let hash = Arc::new(Hash::new());
        let (before, other) = (hash.number(0, true), hash.number(0, false));
        hash.insert(0, 0);
        hash.insert(1, before);
        hash.insert(2, other);
        let after = hash.number(other, false);
        let reader = hash.clone();
        let reader = thread::spawn(move || {
            assert!(reader.look_up(0), "a page that stays is found");
            reader.look_up(after);
        });
        let resident = hash.resident.lock();
        if hash.evict(1) {
            hash.insert(1, after);
        }
        drop(resident);
        reader.join().unwrap();
        assert!(hash.look_up(0) && hash.look_up(other));
    });
}

#[test]
fn two_look_ups_pin_one_page_while_another_comes() {
    explore(|| {
        let hash = Arc::new(Hash::new());
        hash.insert(0, 0);
        let readers = [0, 7].map(|number| {
            let hash = hash.clone();
            thread::spawn(move || hash.look_up(number))
        });
        let resident = hash.resident.lock();
        hash.insert(2, 7);
        drop(resident);
        let [stays, _] = readers.map(|reader| reader.join().unwrap());
        assert!(stays && hash.look_up(7));
    });
}

/// A kernel with `left` frames that can be reserved; the rest is wired.
fn gate(left: u32) -> (Arc<Vm>, u32) {
    let limit_bytes = Some(crate::plan::Plan::smallest_limit_bytes());
    let vm = Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() }).unwrap();
    let wired = vm.gate.available() - left;
    vm.gate.try_wire(wired, "a test").unwrap();
    (vm, wired)
}

#[test]
fn who_waits_at_the_gate_is_let_in_when_frames_are_given_back() {
    explore(|| {
        let (vm, _) = gate(12);
        let others = [8, 6].map(|frames| {
            let vm = vm.clone();
            thread::spawn(move || drop(vm.reserve(frames)))
        });
        drop(vm.reserve(12));
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(vm.gate.available(), 12);
    });
}

#[test]
fn who_waits_at_the_gate_is_let_in_when_wired_frames_are_given_back() {
    explore(|| {
        let (vm, wired) = gate(12);
        let first = vm.reserve(12);
        let other = vm.clone();
        let other = thread::spawn(move || drop(other.reserve(12)));
        vm.gate.unwire(wired);
        other.join().unwrap();
        drop(first);
        assert_eq!(vm.gate.available(), 12 + wired);
    });
}

/// The two that are let in wait there for each other: whoever is let in first lets the next one in too.
#[test]
fn those_who_wait_at_the_gate_are_let_in_together_where_there_is_room() {
    explore(|| {
        let (vm, _) = gate(12);
        let inside = Arc::new((Mutex::new(0), Condvar::new()));
        let first = vm.reserve(12);
        let others = [6, 6].map(|frames| {
            let (vm, inside) = (vm.clone(), inside.clone());
            thread::spawn(move || {
                let reservation = vm.reserve(frames);
                let mut count = inside.0.lock();
                *count += 1;
                inside.1.notify_all();
                while *count < 2 {
                    count = inside.1.wait(count);
                }
                drop(count);
                drop(reservation);
            })
        });
        drop(first);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(vm.gate.available(), 12);
    });
}
