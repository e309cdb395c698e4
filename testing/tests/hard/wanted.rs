//! Many threads sleep for one busy page, and then its read fails, or its object goes away: each wakes with the page or
//! with an error, and nothing of the memory is lost.

use crate::support::{FromDevice, Pattern, boot, spawn, until, watch, word};
use rumpcap::block::{Effect, Fault, FaultInjector, Operation};
use rumpcap::{Error, Result};
use rumpcap_vm::{Daemon, ObjectId, PAGE_SIZE, PageIndex, PolicyKind, Vm};
use std::sync::Arc;

/// As many as pass the gate at once at the limit below.
const THREADS: usize = 200;
const LIMIT_BYTES: u64 = 1 << 20;
/// The page that all want.
const PAGE: PageIndex = PageIndex(5);

/// A device that holds the first read of all, and then fails `failing` reads.
fn held_then_failing(failing: u64) -> Arc<FaultInjector> {
    let fails = FaultInjector::new(Arc::new(Pattern { len_bytes: 1 << 30 }));
    for nth in 1..=failing.min(FaultInjector::MAX_FAULTS as u64) {
        let last = nth == FaultInjector::MAX_FAULTS as u64;
        let errno = 5;
        let effect = if last { Effect::FailFromNowOn { errno } } else { Effect::Fail { errno } };
        fails.inject(Fault { operation: Operation::Read, nth, effect }).expect("room for a fault");
    }
    let holds = FaultInjector::new(Arc::new(fails));
    holds
        .inject(Fault { operation: Operation::Read, nth: 1, effect: Effect::Hold })
        .expect("room for a fault");
    Arc::new(holds)
}

/// Reads [`PAGE`]; the bytes must be right.
fn read(vm: &Vm, object: ObjectId, ahead: u32, pager: &FromDevice) -> Result<()> {
    let r = vm.reserve(1);
    let page = vm.page(&r, object, PAGE, ahead, pager)?;
    let content: Vec<u8> = (0..PAGE_SIZE as u64 / 8).flat_map(|n| word(PAGE.offset() + n * 8)).collect();
    assert!(page[..] == content[..], "another page's content");
    Ok(())
}

/// Has [`THREADS`] threads want one page whose read is held; does `meanwhile`, lets the read go on, and gives what each
/// thread got.
fn all_want_one(
    vm: &Arc<Vm>,
    device: &Arc<FaultInjector>,
    object: ObjectId,
    ahead: u32,
    meanwhile: impl FnOnce(),
) -> Vec<Result<()>> {
    let watchdog = watch(vm, 1);
    watchdog.begin(0, format!("{THREADS} threads want one page"));
    let results = std::thread::scope(|scope| {
        let pager = Arc::new(FromDevice(device.clone()));
        let start = || {
            let (vm, pager) = (vm.clone(), pager.clone());
            spawn(scope, move || read(&vm, object, ahead, &pager))
        };
        let mut all = vec![start()];
        until(|| device.held() == 1);
        all.extend((1..THREADS).map(|_| start()));
        until(|| vm.report().busy_waits == THREADS as u64 - 1);
        meanwhile();
        device.release();
        all.into_iter().map(|thread| thread.join().expect("no thread panicked")).collect()
    });
    watchdog.end(0);
    let report = vm.report();
    assert_eq!((report.pages_busy, report.pages_pinned, report.stuck), (0, 0, 0), "{report:?}");
    assert_eq!(report.gate_waiting, 0);
    results
}

fn kernel() -> Arc<Vm> {
    // The policy that certainly evicts what is not asked for any more.
    boot(LIMIT_BYTES, PolicyKind::Lru, Daemon::Inline)
}

fn count_errors(results: &[Result<()>]) -> usize {
    let errors = results.iter().filter_map(|result| result.err());
    errors.inspect(|error| assert_eq!(*error, Error::Io { errno: 5, at: PAGE.offset() })).count()
}

#[test]
fn a_read_that_fails_fails_its_reader_and_the_sleepers_get_the_page() {
    for failing in [1, 3] {
        let (vm, device) = (kernel(), held_then_failing(failing));
        let object = vm.create_object().expect("an object");
        let results = all_want_one(&vm, &device, object, 0, || ());
        assert_eq!(count_errors(&results) as u64, failing, "each failed read is one thread's error");
        assert_eq!(device.requests(Operation::Read), failing + 1, "the others shared one read");
    }
}

#[test]
fn a_page_that_cannot_be_read_gives_each_sleeper_its_own_error() {
    let (vm, device) = (kernel(), held_then_failing(u64::MAX));
    let before = vm.report().in_use_bytes;
    let object = vm.create_object().expect("an object");
    let results = all_want_one(&vm, &device, object, 0, || ());
    assert_eq!(count_errors(&results), THREADS);
    assert_eq!(vm.report().in_use_bytes, before, "a failed read leaves no page");
}

/// The read of several pages at once fails; the wanted one alone can be read.
#[test]
fn a_failed_read_ahead_fails_nobody() {
    let (vm, device) = (kernel(), held_then_failing(1));
    let object = vm.create_object().expect("an object");
    let results = all_want_one(&vm, &device, object, 7, || ());
    assert_eq!(count_errors(&results), 0);
}

/// What a thread may get of an object that was destroyed while it slept: the page, if it was read; the device's error, if
/// it read itself; or that the object is gone.
fn check_of_destroyed(results: &[Result<()>], failing: u64) {
    let is_io = |result: &&Result<()>| matches!(result, Err(Error::Io { errno: 5, .. }));
    let known =
        |result: &Result<()>| matches!(result, Ok(()) | Err(Error::Stale | Error::Io { errno: 5, .. }));
    assert!(results.iter().all(known), "{results:?}");
    assert_eq!(results.iter().filter(is_io).count() as u64, failing.min(1), "who read was told");
    if failing == 0 {
        assert!(
            results.iter().all(Result::is_ok),
            "the page was read, and somebody did not get it: {results:?}"
        );
    } else {
        assert!(!results.iter().any(Result::is_ok), "a page that was not read was given");
    }
}

/// A file that is removed, or a mount that is forced off, while its page is read.
#[test]
fn an_object_is_destroyed_while_threads_sleep_for_its_page() {
    for (failing, ahead) in [(0, 0), (0, 3), (u64::MAX, 0), (u64::MAX, 3)] {
        let (vm, device) = (kernel(), held_then_failing(failing));
        let object = vm.create_object().expect("an object");
        let results = all_want_one(&vm, &device, object, ahead, || vm.destroy_object(object));
        check_of_destroyed(&results, failing);
        nothing_is_lost(&vm);
    }
}

/// All frames and all objects can be used, by those that come afterwards.
fn nothing_is_lost(vm: &Arc<Vm>) {
    let objects: Vec<_> = std::iter::from_fn(|| vm.create_object().ok()).collect();
    let most = vm.plan().objects as usize;
    assert!(objects.len() + 1 >= most, "{} of {most} objects are left", objects.len());
    let pager = FromDevice(Arc::new(Pattern { len_bytes: 1 << 30 }));
    for n in 0..2 * u64::from(vm.plan().frames) {
        let r = vm.reserve(1);
        let object = objects[n as usize % objects.len()];
        vm.page(&r, object, PageIndex(n), 0, &pager).expect("the device does not fail");
    }
    assert_eq!(vm.report().frames_free, 0);
    objects.into_iter().for_each(|object| vm.destroy_object(object));
    let report = vm.report();
    assert_eq!((report.frames_free, report.pages_clean), (report.frames, 0), "{report:?}");
}

/// Asked for by an identity that is not in use any more.
#[test]
fn a_destroyed_object_gives_no_new_page() {
    let vm = kernel();
    let pager = FromDevice(Arc::new(Pattern { len_bytes: 1 << 30 }));
    let object = vm.create_object().expect("an object");
    read(&vm, object, 0, &pager).expect("it is there");
    vm.destroy_object(object);
    assert_eq!(read(&vm, object, 0, &pager), Err(Error::Stale));
    let next = vm.create_object().expect("an object, in the same place");
    assert_eq!(read(&vm, object, 0, &pager), Err(Error::Stale));
    assert_eq!(read(&vm, next, 0, &pager), Ok(()));
    vm.destroy_object(next);
    nothing_is_lost(&vm);
}
