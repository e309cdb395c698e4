//! First come, first served, at the gate: by order, not by time.

use crate::support::{boot, spawn, until, watch};
use rumpcap_vm::{Daemon, PolicyKind, Vm, WiredRun};
use std::sync::{Arc, Mutex};

/// The largest reservation: so many frames are never wired.
const LARGEST: u32 = 12;

/// A kernel whose gate has the largest reservation and nothing more to give.
fn narrow() -> (Arc<Vm>, Vec<WiredRun>) {
    let vm = boot(256 << 10, PolicyKind::S3Fifo, Daemon::Inline);
    let wired: Vec<_> = std::iter::from_fn(|| WiredRun::buffer(&vm, 1, "a test").ok()).collect();
    assert!(wired.len() > LARGEST as usize, "hardly anything could be wired");
    (vm, wired)
}

/// Has one thread for each of `sizes` arrive at a gate of which `held` frames are taken, in this order, then lets them in.
/// Gives the order in which they entered. Two of them never fit at a time.
fn order_of_entry(sizes: &[u32], held: u32) -> Vec<usize> {
    let (vm, _wired) = narrow();
    let watchdog = watch(&vm, 1);
    watchdog.begin(0, format!("{} threads at the gate", sizes.len()));
    let entered = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        let first = vm.reserve(held);
        for (n, &frames) in sizes.iter().enumerate() {
            let (vm, entered) = (&vm, &entered);
            spawn(scope, move || {
                let inside = vm.reserve(frames);
                entered.lock().expect("no thread panicked").push(n);
                drop(inside);
            });
            let is_in = || !entered.lock().expect("no thread panicked").is_empty();
            until(|| vm.report().gate_waiting == n as u64 + 1 || is_in());
            assert!(!is_in(), "a thread passed those that wait");
        }
        drop(first);
    });
    watchdog.end(0);
    let report = vm.report();
    assert_eq!((report.gate_waiting, report.gate_waits, report.stuck), (0, sizes.len() as u64, 0));
    entered.into_inner().expect("no thread panicked")
}

/// Nobody is passed by one who came later: the number of entries between a thread's arrival and its own is that of the
/// threads that were there before it.
#[test]
fn a_thousand_threads_enter_in_the_order_of_their_arrival() {
    let sizes: Vec<u32> = (0..1000).map(|n| LARGEST / 2 + 1 + n % (LARGEST / 2)).collect();
    assert_eq!(order_of_entry(&sizes, LARGEST), (0..1000).collect::<Vec<_>>());
}

/// The small request would fit at once; it waits behind the large one, or the large one would starve.
#[test]
fn a_small_request_does_not_pass_a_large_one() {
    for small in 1..=LARGEST - 7 {
        assert_eq!(order_of_entry(&[LARGEST, small], 7), [0, 1], "{small} frames");
    }
}

/// Memory that is wired and given back all the time takes nobody's turn for ever.
#[test]
fn wiring_does_not_starve_the_gate() {
    const THREADS: usize = 100;
    let vm = boot(256 << 10, PolicyKind::S3Fifo, Daemon::Inline);
    let watchdog = watch(&vm, THREADS);
    let through = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for worker in 0..THREADS {
            let (vm, watchdog, through) = (&vm, &watchdog, &through);
            spawn(scope, move || {
                watchdog.begin(worker, format!("thread {worker} at the gate"));
                (0..100).for_each(|n| drop(vm.reserve(1 + n % LARGEST)));
                watchdog.end(worker);
                through.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        }
        while through.load(std::sync::atomic::Ordering::Relaxed) < THREADS {
            let all: Vec<_> = std::iter::from_fn(|| WiredRun::buffer(&vm, 1, "a test").ok()).collect();
            drop(all);
        }
    });
    let report = vm.report();
    assert_eq!((report.gate_entries, report.stuck, report.buffers_bytes), (THREADS as u64 * 100, 0, 0));
}
