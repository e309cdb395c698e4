//! A device whose Nth write, flush or read fails, for every N: errors, no panic and no hang; what was acknowledged is there afterwards, and the
//! file system is in order.

use crate::support::{caught, first_seed, fsck, is_alike, is_thorough};
use rumpcap::block::{Effect, Fault, FaultInjector, MemoryDevice, Operation};
use rumpcap::{DataMode, Kernel};
use rumpcap_testing::images::build;
use rumpcap_testing::skip;
use rumpcap_testing::tools::{command, output, scratch};
use rumpcap_testing::watchdog::Watchdog;
use rumpcap_testing::writing::cuts::{Tape, single};
use rumpcap_testing::writing::{
    Generator, LibraryTarget, Op, Recorder, Setup, Target, first_model, mount_options, shrink,
};
use std::sync::Arc;
use std::time::Duration;

/// An errno that nobody gives by himself.
const ERRNO: i32 = 121;
const LIMIT: Option<u64> = Some(256 << 10);
const TRIES: usize = 120;
/// Byte of the device and bit of "has errors".
const STATE: usize = 1024 + 0x3A;
const ERRORS: u8 = 2;
/// Far beyond what a sequence takes.
const HANGS: Duration = Duration::from_secs(60);

struct Device {
    recorder: Arc<Recorder>,
    faults: Arc<FaultInjector>,
}

/// The operations of `seed`.
fn operations(setup: &Setup, seed: u64, count: usize) -> Vec<Op> {
    let mut generator = Generator::new(seed, setup.can);
    (generator.small, generator.sync_weight) = (true, 12);
    let mut model = first_model();
    let mut ops = Vec::new();
    while ops.len() < count {
        for op in single(generator.next(&model)) {
            model.apply(&op, None);
            ops.push(op);
        }
    }
    ops
}

/// Applies the operations until the first that fails; the states until then. Then some more, whatever they give.
fn suffer(device: &Device, tape: &mut Tape, ops: &[Op], fault: Fault) -> Result<(), String> {
    device.faults.inject(fault).expect("one fault");
    let mut target = match LibraryTarget::new(device.faults.clone(), LIMIT, DataMode::Ordered) {
        Ok(target) => target,
        Err(error) => return if error.errno() == ERRNO { Ok(()) } else { Err(format!("mounting: {error}")) },
    };
    let mut failed = None;
    for (at, op) in ops.iter().enumerate() {
        if let Err(why) = tape.step(&mut target, &device.recorder, op) {
            if device.faults.fired() == 0 {
                return Err(why);
            }
            failed = Some((at, why));
            break;
        }
    }
    if let Some((at, why)) = failed {
        if !(why.contains("Err(121)") || why.contains("Err(30)") || why.contains("Wrote")) {
            return Err(format!("another error: {why}"));
        }
        tape.note_begun(&ops[at]);
        // Whatever is done now is refused, or done; a remount may have left nothing to work on.
        if !matches!(ops[at], Op::Remount) {
            for op in ops[at + 1..].iter().filter(|op| is_safe(op)).take(8) {
                tape.note_begun(op);
                let _ = target.apply(op);
            }
        }
    }
    let _ = caught(|| target.unmount().map_err(|error| error.to_string()));
    Ok(())
}

/// What needs no file that the model alone knows to be open.
fn is_safe(op: &Op) -> bool {
    matches!(op, Op::Create { .. } | Op::MakeDir { .. } | Op::Unlink { .. } | Op::Rename { .. } | Op::Sync)
}

/// One fault; gives whether it came.
fn one(setup: &Setup, ops: &[Op], fault: Fault) -> Result<bool, String> {
    let start = setup.image();
    let recorder = Arc::new(Recorder::new(&start));
    let faults = Arc::new(FaultInjector::new(recorder.clone()));
    let device = Device { recorder, faults };
    let mut tape = Tape::new(start, first_model(), DataMode::Ordered);
    suffer(&device, &mut tape, ops, fault)?;
    let fired = device.faults.fired() > 0;
    let bytes = device.recorder.to_bytes();
    in_order(setup, &bytes, &tape)?;
    Ok(fired)
}

/// Both recoveries give a clean file system, which still has what was acknowledged.
fn in_order(setup: &Setup, bytes: &[u8], tape: &Tape) -> Result<(), String> {
    let directory = scratch();
    let path = directory.path().join("image");
    std::fs::write(&path, bytes).expect("an image");
    let mode = if setup.has_journal { "-p" } else { "-fy" };
    let said = output(command("e2fsck").arg(mode).arg(&path));
    if said.status.code().is_none_or(|code| code > 1) {
        return Err(format!("e2fsck {mode}: {}", String::from_utf8_lossy(&said.stdout)));
    }
    fsck(&path)?;
    let mend = |bytes: &[u8]| -> Result<Vec<u8>, String> {
        let device = Arc::new(MemoryDevice::from_bytes(bytes));
        let kernel = Kernel::builder().memory_limit(512 << 10).boot().expect("booting");
        let options =
            mount_options(DataMode::Ordered, rumpcap::Timestamp { seconds: 1_750_000_000, nanoseconds: 0 });
        let mount =
            kernel.mount(device.clone(), &options).map_err(|error| format!("mounting again: {error}"))?;
        tape.check_untouched(&mount, &tape.behind_the_end())?;
        mount.unmount().map_err(|error| format!("unmounting again: {error}"))?;
        Ok(device.to_bytes())
    };
    if setup.has_journal {
        let mended = mend(bytes)?;
        std::fs::write(&path, &mended).expect("an image");
        // As in Linux, orphans of a file system with errors are left to e2fsck.
        if mended[STATE] & ERRORS != 0 {
            output(command("e2fsck").arg("-p").arg(&path));
        }
        fsck(&path).map_err(|why| format!("behind our recovery: {why}"))?;
    }
    Ok(())
}

/// Fails, with the fewest operations that end so when any request of this kind fails.
fn told_small(setup: &Setup, ops: &[Op], fault: Fault, why: &str) -> ! {
    let failing = |ops: &[Op]| {
        (1..=fault.nth).rev().find_map(|nth| {
            let fault = Fault { nth, ..fault };
            caught(|| one(setup, ops, fault)).err().filter(|new| is_alike(new, why)).map(|why| (fault, why))
        })
    };
    let small = shrink(ops, TRIES, |ops| failing(ops).is_some());
    panic!("{}, {fault:?}: {why}\n{small:?}\ngives: {:?}", setup.spec.name, failing(&small));
}

fn every(name: &str, operation: Operation, sample: u64, effect: Effect) {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let setup = Setup::named(name).small();
    let ops = operations(&setup, first_seed() + 5, 150);
    let watchdog = Watchdog::new(1, HANGS);
    let step = if is_thorough() { 1 } else { sample };
    let mut count = 0;
    for nth in (1..).step_by(step as usize) {
        let fault = Fault { operation, nth, effect };
        watchdog.begin(0, format!("{name}, {fault:?}"));
        let fired =
            caught(|| one(&setup, &ops, fault)).unwrap_or_else(|why| told_small(&setup, &ops, fault, &why));
        watchdog.end(0);
        if !fired {
            break;
        }
        count += 1;
    }
    println!("{name}, {operation:?}, {effect:?}: {count} faults");
    assert!(count > 3, "too few faults");
}

const FAIL: Effect = Effect::Fail { errno: ERRNO };
const GONE: Effect = Effect::FailFromNowOn { errno: ERRNO };

#[test]
fn every_write() {
    every("w-ext4-1k", Operation::Write, 3, FAIL);
    every("w-ext4-1k", Operation::Write, 5, GONE);
    every("w-ext2-1k", Operation::Write, 4, FAIL);
}

#[test]
fn every_flush() {
    every("w-ext4-1k", Operation::Flush, 1, FAIL);
    every("w-ext3-1k", Operation::Flush, 2, GONE);
}

#[test]
fn every_read() {
    every("w-ext4-1k", Operation::Read, 7, FAIL);
    every("w-ext2-1k", Operation::Read, 4, FAIL);
    every("w-ext4-1k", Operation::Read, 9, GONE);
}
