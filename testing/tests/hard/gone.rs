//! A device that hangs and then is gone, under a mount whose handles go away meanwhile.

use crate::support::{HANGS, spawn, until};
use rumpcap::block::{BlockDevice, Effect, Fault, FaultInjector, Operation};
use rumpcap::{Error, File, Kernel, MountOptions, Result};
use rumpcap_testing::tree::crowd;
use rumpcap_testing::watchdog::Watchdog;
use std::sync::Arc;

/// More than pass the gate at once: some sleep for the page, the others wait at the gate.
const THREADS: usize = 60;
const LIMIT_BYTES: u64 = 1 << 20;
const ERRNO: i32 = 121;

fn fault(effect: Effect) -> Fault {
    Fault { operation: Operation::Read, nth: 1, effect }
}

/// Reads at a place that all threads read at; its bytes must be right.
fn read(file: &File) -> Result<()> {
    let (at, mut buffer, mut truth) = (crowd::near_an_island(5 | 3000 << 32), [0; 100], [0; 100]);
    assert_eq!(file.read_at(&mut buffer, at)?, buffer.len());
    crowd::large_content(at, &mut truth);
    assert!(buffer == truth, "wrong bytes at {at}");
    Ok(())
}

fn kernel() -> Kernel {
    Kernel::builder().memory_limit(LIMIT_BYTES).boot().expect("booting")
}

/// What each of many threads got of a file whose device hangs while the mount's other handles go, and then fails for
/// ever, or not.
fn hang(kernel: &Kernel, image: Arc<dyn BlockDevice>, fails: bool) -> Vec<Result<()>> {
    let failing = Arc::new(FaultInjector::new(image));
    let holding = Arc::new(FaultInjector::new(failing.clone()));
    let state = kernel.clone();
    let watchdog = Watchdog::showing(1, HANGS, move || format!("{:#?}", state.memory_report()));
    watchdog.begin(0, format!("a device that hangs, and then fails: {fails}"));
    let mount = kernel.mount(holding.clone(), &MountOptions::default()).expect("mounting");
    let files: Vec<_> = (0..THREADS).map(|_| mount.open(crowd::LARGE_PATH).expect("a file")).collect();
    let handles: Vec<_> = (0..THREADS).map(|_| mount.clone()).collect();
    drop(mount);
    if fails {
        failing.reset();
        failing.inject(fault(Effect::FailFromNowOn { errno: ERRNO })).expect("room for a fault");
    }
    holding.reset();
    holding.inject(fault(Effect::Hold)).expect("room for a fault");
    let results = std::thread::scope(|scope| {
        let readers: Vec<_> = files.into_iter().map(|file| spawn(scope, move || read(&file))).collect();
        until(|| {
            let report = kernel.memory_report();
            holding.held() == 1 && report.busy_waits > 10 && report.gate_waiting > 10
        });
        // Nobody but the readers has the mount from here on; the last of them unmounts.
        let droppers: Vec<_> = handles.into_iter().map(|handle| spawn(scope, move || drop(handle))).collect();
        droppers.into_iter().for_each(|dropper| dropper.join().expect("no thread panicked"));
        holding.release();
        readers.into_iter().map(|reader| reader.join().expect("no thread panicked")).collect()
    });
    watchdog.end(0);
    results
}

#[test]
fn a_mount_goes_away_while_its_device_hangs() {
    let kernel = kernel();
    for fails in [true, false, true] {
        let results = hang(&kernel, crate::crowds::image(), fails);
        let ended_well = |result: &Result<()>| match result {
            Ok(()) => !fails,
            Err(error) => fails && matches!(error, Error::Io { errno: ERRNO, .. }),
        };
        assert!(results.iter().all(ended_well), "{results:?}");
        let report = kernel.memory_report();
        let held = (report.pages_clean, report.pages_busy, report.pages_pinned, report.gate_waiting);
        assert_eq!((held, report.stuck), ((0, 0, 0, 0), 0), "the mount has left something: {report:?}");
    }
    // And the kernel mounts again.
    let mount = kernel.mount(crate::crowds::image(), &MountOptions::default()).expect("mounting");
    assert_eq!(read(&mount.open(crowd::LARGE_PATH).expect("a file")), Ok(()));
}
