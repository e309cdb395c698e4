//! The pagedaemon: gives memory back when an allocation finds none, in steps from cheap to dear.
//!
//! Who calls it: `fault` and `wired` ask for a round; a thread of its own runs it, or, in a kernel without that thread,
//! the thread that asks. Whom it calls: `resident`, and the [`Reclaim`] callbacks that higher layers registered.
//!
//! A round, in order, ended as soon as the free target is met:
//! 1. reclaim the caches of pools: empty slabs that were kept for reuse;
//! 2. push out pages from the front of the queue, skipping pinned and busy ones, in bounded chunks; if that is not enough,
//!    write one run of dirty pages, and push out again;
//! 3. reclaim callbacks, one each round, round robin: caches that give up items;
//! 4. drain the pools: slabs that step 3 has emptied;
//!
//! then wake all waiters, whatever the success.
//!
//! PD-1. A round takes no lock that an operation holds while it waits for memory; callbacks use `try_lock` (F3).
//! PD-2. Every loop of a round is bounded by the plan (F6). PD-3. A round that frees nothing while somebody waits and
//! no I/O and no copy is in flight is counted as stuck (F6).
//!
//! Memory: the reserve, [`RESERVE_FRAMES`], which the gate never gives to anybody.

#[cfg(all(test, feature = "tracing"))]
mod events;

use crate::boot::Vm;
use crate::dirty::Dirty;
use arrayvec::ArrayVec;
use core::sync::atomic::Ordering::{Relaxed, SeqCst};
use rumpcap_host::sync::{Arc, Condvar, Mutex};
use rumpcap_host::{Result, thread};
use std::sync::Weak;

/// Frames that only the daemon may count on: one to read a page's place from, one to write through, when it must clean
/// pages while everybody else waits.
pub(crate) const RESERVE_FRAMES: u32 = 2;

/// Caches that can register: the vnode table and the namecache of a kernel, and room for others.
const MAX_CALLBACKS: usize = 8;

/// A cache that gives memory back when asked. Every method returns what it freed, and gives up rather than wait (PD-1).
pub trait Reclaim: Send + Sync {
    /// Gives back slabs that are empty; returns frames.
    fn give_back_empty(&self) -> u64;
    /// Gives up a bounded number of items that nobody uses; returns items.
    fn reclaim(&self) -> u64;
}

/// What the daemon keeps between rounds.
#[derive(Default)]
pub(crate) struct Callbacks {
    all: ArrayVec<Weak<dyn Reclaim>, MAX_CALLBACKS>,
    next: usize,
}

/// The daemon's thread, and how to wake it.
pub(crate) struct Pagedaemon {
    signal: Arc<Signal>,
    thread: Option<thread::Thread>,
}

#[derive(Default)]
struct Signal {
    state: Mutex<Order>,
    wake: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Sleep,
    Work,
    Stop,
}

impl Pagedaemon {
    /// Starts the thread. Allocates: at boot only.
    pub(crate) fn start(vm: Weak<Vm>) -> Result<Pagedaemon> {
        let signal = Arc::new(Signal::default());
        let orders = signal.clone();
        let thread = thread::spawn("pagedaemon", move || Pagedaemon::run(&orders, &vm))?;
        Ok(Pagedaemon { signal, thread: Some(thread) })
    }

    fn run(signal: &Signal, vm: &Weak<Vm>) {
        loop {
            let mut order = signal.state.lock();
            while *order == Order::Sleep {
                order = signal.wake.wait(order);
            }
            if *order == Order::Stop {
                return;
            }
            *order = Order::Sleep;
            drop(order);
            let Some(vm) = vm.upgrade() else { return };
            vm.daemon_round();
        }
    }

    pub(crate) fn wake(&self) {
        let mut order = self.signal.state.lock();
        if *order == Order::Sleep {
            *order = Order::Work;
            self.signal.wake.notify_one();
        }
    }
}

impl Drop for Pagedaemon {
    fn drop(&mut self) {
        *self.signal.state.lock() = Order::Stop;
        self.signal.wake.notify_one();
        // The last reference to the kernel may end in the daemon's own hands, which cannot wait for themselves.
        if let Some(thread) = self.thread.take().filter(|thread| !thread.is_current()) {
            thread.join();
        }
    }
}

/// What a round did: items for `callbacks`, frames for the other steps.
#[derive(Clone, Copy, Default)]
struct Round {
    caches: u64,
    pages: u64,
    callbacks: u64,
    pools: u64,
    hungry: bool,
    waiters: u32,
    stuck: bool,
}

impl Round {
    fn frames(&self) -> u64 {
        self.caches + self.pages + self.pools
    }

    /// PD-4. An event is told when all waiters have been woken and no lock of the kernel's memory is held but, in a kernel
    /// without the daemon's thread, the daemon's own. Who listens must not use the same kernel. As long as nobody listens, it
    /// costs a load and touches no heap.
    #[cfg(feature = "tracing")]
    fn tell(&self, round: u64) {
        let &Round { caches, pages, callbacks, pools, hungry, waiters, stuck } = self;
        if stuck {
            tracing::warn!(
                round,
                waiters,
                "the pagedaemon freed nothing, somebody waits and no I/O is in flight"
            );
        }
        tracing::debug!(round, caches, pages, callbacks, pools, hungry, waiters, stuck, "pagedaemon");
    }

    #[cfg(not(feature = "tracing"))]
    fn tell(&self, _: u64) {}
}

impl Vm {
    /// Registers a cache for step 1, 3 and 4. One too many is not asked, and keeps its memory.
    pub fn register_reclaim(&self, cache: Weak<dyn Reclaim>) {
        let mut callbacks = self.callbacks.lock();
        callbacks.all.retain(|cache| cache.strong_count() > 0);
        let _ = callbacks.all.try_push(cache);
    }

    /// Whether memory is short: caches look at it and stop growing.
    pub fn is_hungry(&self) -> bool {
        self.hungry.load(Relaxed)
    }

    /// Has the daemon make a round: its thread soon, or the caller now. The caller holds no lock that a cache's callback
    /// takes without trying.
    pub fn ask_daemon(&self) {
        self.hungry.store(true, Relaxed);
        match &*self.daemon.lock() {
            Some(daemon) => daemon.wake(),
            None => self.daemon_round(),
        }
    }

    /// One round of the daemon.
    pub(crate) fn daemon_round(&self) {
        let number = self.counters.daemon_rounds.fetch_add(1, Relaxed) + 1;
        let caches = self.empty_slabs(&self.counters.daemon_freed_caches);
        let mut round = Round { caches, ..Round::default() };
        let mut waits_for_nothing = false;
        if round.frames() < self.free_target() {
            let most = self.free_target() - round.frames();
            (round.pages, waits_for_nothing) = self.push_out(most as u32);
            self.counters.daemon_freed_pages.fetch_add(round.pages, Relaxed);
        }
        if round.frames() < self.free_target() && self.clean_one_run(Dirty::Oldest) > 0 {
            let most = self.free_target() - round.frames();
            let freed = u64::from(self.resident.lock().evict_to_free(&self.table, most as u32));
            self.counters.daemon_freed_pages.fetch_add(freed, Relaxed);
            round.pages += freed;
        }
        if round.frames() < self.free_target() {
            round.callbacks = self.next_callback().map_or(0, |cache| cache.reclaim());
            self.counters.daemon_freed_callbacks.fetch_add(round.callbacks, Relaxed);
            round.pools = self.empty_slabs(&self.counters.daemon_freed_pools);
        }
        round.hungry = round.frames() < self.free_target();
        self.hungry.store(round.hungry, Relaxed);
        round.waiters = self.frame_waiters.load(SeqCst);
        if round.frames() == 0 && waits_for_nothing {
            round.stuck = true;
            self.counters.stuck.fetch_add(1, Relaxed);
        }
        self.wake_frame_waiters();
        round.tell(number);
    }

    /// Pushes out up to `most` pages. Gives how many, and whether somebody waited meanwhile with nothing to wait for, no I/O
    /// and no copy: that is only known under the lock, where none begins.
    fn push_out(&self, most: u32) -> (u64, bool) {
        let mut resident = self.resident.lock();
        let waits = self.frame_waiters.load(SeqCst) > 0 && !resident.has_free();
        let no_io = self.in_flight.load(SeqCst) == 0;
        let gave_way = self.table.copies.gave_way();
        let freed = resident.evict_to_free(&self.table, most);
        let no_copy = self.table.copies.gave_way() == gave_way;
        (freed.into(), waits && no_io && no_copy)
    }

    /// Frames that a round is to free: one run of pages, the most that an allocation takes at once.
    fn free_target(&self) -> u64 {
        self.plan.run_pages.into()
    }

    fn empty_slabs(&self, counter: &rumpcap_host::sync::atomic::AtomicU64) -> u64 {
        let all = self.callbacks.lock().all.clone();
        let frames = all.iter().filter_map(Weak::upgrade).map(|cache| cache.give_back_empty()).sum();
        counter.fetch_add(frames, Relaxed);
        frames
    }

    fn next_callback(&self) -> Option<std::sync::Arc<dyn Reclaim>> {
        let mut callbacks = self.callbacks.lock();
        let count = callbacks.all.len();
        callbacks.next = callbacks.next.wrapping_add(1);
        callbacks.all.get(callbacks.next % count.max(1)).and_then(Weak::upgrade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::FrameNo;
    use crate::page_table::Found;
    use crate::plan::Plan;
    use crate::{BootOptions, BusyPages, Daemon, ObjectId, PageIndex, Pager};
    use std::sync::atomic::AtomicU64;

    /// A cache with so many empty slabs and idle items, which counts how often it is asked for items.
    #[derive(Default)]
    struct Cache {
        empty: AtomicU64,
        items: AtomicU64,
        asked: AtomicU64,
    }

    impl Reclaim for Cache {
        fn give_back_empty(&self) -> u64 {
            self.empty.swap(0, Relaxed)
        }
        fn reclaim(&self) -> u64 {
            self.asked.fetch_add(1, Relaxed);
            self.empty.store(1, Relaxed);
            self.items.swap(0, Relaxed)
        }
    }

    fn boot(caches: &[Arc<Cache>]) -> Arc<Vm> {
        let limit_bytes = Some(1 << 20);
        let vm = Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() }).unwrap();
        for cache in caches {
            let cache: Arc<dyn Reclaim> = cache.clone();
            vm.register_reclaim(Arc::downgrade(&cache));
        }
        vm
    }

    #[test]
    fn the_cheapest_step_that_is_enough_is_the_last() {
        let cache = Arc::new(Cache { empty: AtomicU64::new(1000), ..Cache::default() });
        let vm = boot(std::slice::from_ref(&cache));
        vm.daemon_round();
        let report = vm.report();
        assert_eq!((report.daemon_rounds, report.daemon_freed_caches), (1, 1000));
        assert_eq!((report.daemon_freed_pages, report.daemon_freed_callbacks), (0, 0));
        assert_eq!(cache.asked.load(Relaxed), 0);
        assert!(!vm.is_hungry());
    }

    #[test]
    fn callbacks_are_asked_in_turn_and_their_slabs_drained() {
        let caches: Vec<_> = (0..3).map(|_| Arc::new(Cache::default())).collect();
        caches.iter().for_each(|cache| cache.items.store(5, Relaxed));
        let vm = boot(&caches);
        // No page is there to push out, so each round comes to steps 3 and 4.
        for round in 1..=6 {
            vm.daemon_round();
            let asked: Vec<u64> = caches.iter().map(|cache| cache.asked.load(Relaxed)).collect();
            assert_eq!(asked.iter().sum::<u64>(), round);
            assert!(asked.iter().max().unwrap() - asked.iter().min().unwrap() <= 1, "round robin: {asked:?}");
        }
        let report = vm.report();
        assert_eq!((report.daemon_freed_callbacks, report.daemon_freed_pools), (15, 6));
        assert!(vm.is_hungry(), "the target was not met: caches must not grow");
        assert_eq!(report.stuck, 0, "nobody waits");
    }

    /// A pager whose pages are all zeros.
    struct Zeros;

    impl Pager for Zeros {
        fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
            let len_bytes = pages.len_bytes();
            pages.slices(len_bytes).iter_mut().for_each(|slice| slice.fill(0));
            Ok(())
        }
    }

    /// A kernel of which every frame holds a page of one object, pinned by nobody's reservation.
    fn full_of_pinned_pages(daemon: Daemon) -> (Arc<Vm>, ObjectId) {
        let limit_bytes = Some(Plan::smallest_limit_bytes());
        let vm = Vm::boot(BootOptions { limit_bytes, daemon, ..Default::default() }).unwrap();
        let object = vm.create_object().unwrap();
        for index in (0..vm.plan().frames.into()).map(PageIndex) {
            drop(vm.page(&vm.reserve(1), object, index, 0, &Zeros).unwrap());
            assert!(matches!(vm.table.find(object.0, index), Found::Pinned(_)));
        }
        (vm, object)
    }

    /// Unpins a page in the middle of a round; and tells those who wait, as the end of an operation does.
    struct Unpins {
        vm: Weak<Vm>,
        frame: FrameNo,
        tells: bool,
    }

    impl Reclaim for Unpins {
        fn give_back_empty(&self) -> u64 {
            let vm = self.vm.upgrade().unwrap();
            if vm.table.page(self.frame).is_pinned() {
                vm.table.page(self.frame).unpin();
                if self.tells {
                    vm.frame_may_be_free();
                }
            }
            0
        }
        fn reclaim(&self) -> u64 {
            0
        }
    }

    /// Asks for one more page of a kernel that is full of pinned ones; the round that this needs unpins one.
    fn page_in_by_a_round(daemon: Daemon, tells: bool) {
        let (vm, object) = full_of_pinned_pages(daemon);
        let unpins: Arc<dyn Reclaim> = Arc::new(Unpins { vm: Arc::downgrade(&vm), frame: FrameNo(0), tells });
        vm.register_reclaim(Arc::downgrade(&unpins));
        let (done, is_done) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let absent = PageIndex(vm.plan().frames.into());
            drop(vm.page(&vm.reserve(1), object, absent, 0, &Zeros).unwrap());
            let _ = done.send(());
        });
        let waited = is_done.recv_timeout(std::time::Duration::from_secs(30));
        assert_eq!(waited, Ok(()), "{daemon:?}: sleeps beside a free frame");
    }

    /// Who has asked for a round is not asleep yet when he is told; the round then frees the only page that can go, so
    /// that nothing is left to be evicted when he looks again.
    #[test]
    fn who_is_woken_before_he_sleeps_does_not_sleep() {
        page_in_by_a_round(Daemon::Inline, true);
    }

    #[test]
    fn the_daemon_s_thread_is_woken_and_wakes_who_waits() {
        page_in_by_a_round(Daemon::Thread, false);
    }

    /// GA-1: whatever operations hold, the daemon's frames can be had.
    #[test]
    fn when_every_reservation_is_taken_and_used_the_reserve_is_left() {
        let limit_bytes = Some(Plan::smallest_limit_bytes());
        let vm = Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() }).unwrap();
        let object = vm.create_object().unwrap();
        let all: Vec<_> = std::iter::from_fn(|| match vm.gate.available() {
            0 => None,
            available => Some(vm.reserve(available.min(crate::gate::LARGEST))),
        })
        .collect();
        let mut indices = (0u64..).map(PageIndex);
        let mut pinned = Vec::new();
        for reservation in &all {
            let pages = indices.by_ref().take(reservation.frames() as usize);
            pinned.extend(pages.map(|index| vm.page(reservation, object, index, 0, &Zeros).unwrap()));
        }
        let mut resident = vm.resident.lock();
        let mut had = 0;
        while resident.take_frame(&vm.table, object, PageIndex(u64::MAX)).is_some() {
            had += 1;
        }
        assert_eq!((pinned.len() as u32, had), (vm.plan().frames - RESERVE_FRAMES, RESERVE_FRAMES));
    }

    /// Begins to wait for a frame when the round has looked for pages already.
    struct ComesLate(Weak<Vm>);

    impl Reclaim for ComesLate {
        fn give_back_empty(&self) -> u64 {
            0
        }
        fn reclaim(&self) -> u64 {
            self.0.upgrade().unwrap().frame_waiters.fetch_add(1, SeqCst);
            0
        }
    }

    #[test]
    fn a_round_is_stuck_only_for_those_who_waited_when_it_looked() {
        let (vm, _) = full_of_pinned_pages(Daemon::Inline);
        let comes_late: Arc<dyn Reclaim> = Arc::new(ComesLate(Arc::downgrade(&vm)));
        vm.register_reclaim(Arc::downgrade(&comes_late));
        vm.daemon_round();
        assert_eq!(vm.report().stuck, 0, "nobody waited");
        vm.daemon_round();
        assert_eq!(vm.report().stuck, 1, "somebody waits, nothing can be freed, nothing is in flight");
    }

    #[test]
    fn a_cache_that_is_gone_is_not_asked() {
        let vm = boot(&[Arc::new(Cache::default())]);
        vm.daemon_round();
        assert_eq!(vm.report().daemon_freed_pools, 0);
    }
}
