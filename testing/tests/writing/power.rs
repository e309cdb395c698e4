//! Power cuts: every prefix of the requests, with what was not flushed lost, reordered or torn at sectors. e2fsck's recovery and ours both give a
//! file system that e2fsck finds clean and that is in a state no older than the last sync.

use crate::support::{caught, first_seed, fsck, is_alike, is_thorough, is_wanted, ops};
use rumpcap::block::MemoryDevice;
use rumpcap::{DataMode, Kernel, Mount, MountOptions};
use rumpcap_testing::images::build;
use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::seed::Random;
use rumpcap_testing::skip;
use rumpcap_testing::tools::{command, output, scratch};
use rumpcap_testing::writing::cuts::{Cut, LOSSES, Loss, Tape, single, survivors};
use rumpcap_testing::writing::{
    Generator, LibraryTarget, Limit, Op, Recorder, Request, Setup, first_model, mount_options, setups, shrink,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const TRIES: usize = 60;
/// The kernel recovers one in so many cuts.
const ASKED_OF_KERNEL: u64 = 25;

/// What is cut, and how often in CI.
#[derive(Clone, Copy)]
struct Scene {
    setup: &'static str,
    limit: Limit,
    data: DataMode,
    ops: usize,
    /// The age at which changes are committed: none closes the log's transaction with each commit.
    interval: Duration,
    /// One in so many cuts is looked at, if not all are.
    sample: u64,
}

fn setup(scene: &Scene) -> Setup {
    Setup::named(scene.setup).small()
}

fn record(
    scene: &Scene,
    ops: impl FnOnce(&mut Tape, &mut LibraryTarget, &Recorder) -> Result<(), String>,
) -> Result<Tape, String> {
    let start = setup(scene).image();
    let recorder = Arc::new(Recorder::new(&start));
    let target = LibraryTarget::committing(recorder.clone(), scene.limit, scene.data, scene.interval);
    let mut target = target.map_err(|error| format!("mounting: {error}"))?;
    let mut tape = Tape::new(start, first_model(), scene.data);
    ops(&mut tape, &mut target, &recorder)?;
    tape.end(&recorder);
    Ok(tape)
}

fn generated(scene: &Scene, seed: u64) -> Result<Tape, String> {
    let mut generator = Generator::new(seed, setup(scene).can);
    generator.small = true;
    // Where syncs are rare, commits are those of full transactions.
    generator.sync_weight = if seed.is_multiple_of(2) { 12 } else { 1 };
    record(scene, |tape, target, recorder| {
        while tape.ops.len() < scene.ops {
            let op = generator.next(tape.model());
            single(op).iter().try_for_each(|op| tape.step(target, recorder, op))?;
        }
        Ok(())
    })
}

fn given(scene: &Scene, ops: &[Op]) -> Result<Tape, String> {
    record(scene, |tape, target, recorder| ops.iter().try_for_each(|op| tape.step(target, recorder, op)))
}

fn mount(device: Arc<MemoryDevice>, options: &MountOptions) -> Result<Mount, String> {
    let kernel = Kernel::builder().memory_limit(512 << 10).boot().expect("booting");
    kernel.mount(device, options).map_err(|error| format!("mounting: {error}"))
}

/// e2fsck's recovery, which may finish orphans and no more, leaves a clean file system; with what our reading shows of it.
fn by_e2fsck(tape: &Tape, bytes: &[u8], cut: &Cut<'_>, path: &Path) -> Result<usize, String> {
    std::fs::write(path, bytes).expect("an image");
    let said = output(command("e2fsck").arg("-p").arg(path));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let is_recovery = |line: &str| {
        ["recovering journal", "rphaned inode", "clean, ", "runcating", "clearing"]
            .iter()
            .any(|word| line.contains(word))
            || line.trim().is_empty()
    };
    if said.status.code().is_none_or(|code| code > 1) || !text.lines().all(is_recovery) {
        return Err(format!("e2fsck -p: {text}"));
    }
    fsck(path)?;
    let device = MemoryDevice::from_bytes(&std::fs::read(path).expect("an image"));
    let mount = mount(Arc::new(device), &MountOptions::default())?;
    tape.find_state(&mount, cut)
}

/// Our recovery: as a reader sees it through an overlay, and as a writer leaves it behind.
fn by_ourselves(
    tape: &Tape,
    bytes: &[u8],
    cut: &Cut<'_>,
    path: &Path,
    is_checked: bool,
) -> Result<usize, String> {
    let device = Arc::new(MemoryDevice::from_bytes(bytes));
    let reader = mount(device.clone(), &MountOptions::default())?;
    let read = tape.find_state(&reader, cut).map_err(|why| format!("read only: {why}"))?;
    drop(reader);
    let time =
        first_model().get(0).mtime.unwrap_or(rumpcap::Timestamp { seconds: 1_750_000_000, nanoseconds: 0 });
    let writer = mount(device.clone(), &mount_options(DataMode::Ordered, time))?;
    if !writer.is_writable() {
        return Err(format!("not writable: {:?}", writer.read_only_reason()));
    }
    let state = tape.find_state(&writer, cut)?;
    writer.unmount().map_err(|error| format!("unmounting: {error}"))?;
    if is_checked {
        std::fs::write(path, device.to_bytes()).expect("an image");
        fsck(path).map_err(|why| format!("behind our recovery: {why}"))?;
    }
    if read == state { Ok(state) } else { Err(format!("state {state} by a writer, {read} by a reader")) }
}

/// Without a journal: e2fsck repairs, and what was not touched since the last sync is as it was. But a block of a directory of which one sector
/// is old and the other new may have lost any of its names, and nobody can help that.
fn by_repair(tape: &Tape, bytes: &[u8], cut: &Cut<'_>, loss: Loss, path: &Path) -> Result<usize, String> {
    std::fs::write(path, bytes).expect("an image");
    let said = output(command("e2fsck").args(["-f", "-y"]).arg(path));
    if said.status.code().is_none_or(|code| code > 1) {
        return Err(format!("e2fsck -fy: {}", String::from_utf8_lossy(&said.stdout)));
    }
    fsck(path)?;
    let device = MemoryDevice::from_bytes(&std::fs::read(path).expect("an image"));
    let mount = mount(Arc::new(device), &MountOptions::default())?;
    if loss != Loss::Sectors {
        tape.check_untouched(&mount, cut)?;
    }
    Ok(cut.from)
}

/// The kernel's recovery, in its turn.
fn by_kernel(tape: &Tape, bytes: &[u8], cut: &Cut<'_>, path: &Path) -> Result<usize, String> {
    std::fs::write(path, bytes).expect("an image");
    drop(LoopMount::new(path, "noatime").map_err(|error| format!("mounting: {error}"))?);
    fsck(path)?;
    let device = MemoryDevice::from_bytes(&std::fs::read(path).expect("an image"));
    let mount = mount(Arc::new(device), &MountOptions::default())?;
    tape.find_state(&mount, cut)
}

#[derive(Default, Debug)]
struct Counts {
    cuts: u32,
    by_e2fsck: u32,
    beyond: u32,
}

/// Looks at every cut, or a sample of them.
fn look(scene: &Scene, tape: &Tape, seed: u64, sample: u64) -> Result<Counts, String> {
    let mut random = Random::new(seed);
    let mut counts = Counts::default();
    let mut result = Ok(());
    let directory = scratch();
    let path = directory.path().join("cut");
    let Setup { has_journal, .. } = setup(scene);
    let ask_kernel = loop_mount::available() && setup(scene).is_known_to_kernel();
    tape.cuts(|cut| {
        for loss in LOSSES {
            let is_same = cut.pending.is_empty() && loss != Loss::Nothing;
            if result.is_err() || is_same || !random.one_in(sample) {
                continue;
            }
            let bytes = survivors(cut.flushed, cut.pending, loss, &mut random);
            let for_e2fsck = !has_journal || sample == 1 || random.one_in(3);
            let state = caught(|| {
                if !has_journal {
                    return by_repair(tape, &bytes, cut, loss, &path);
                }
                let ours = by_ourselves(tape, &bytes, cut, &path, for_e2fsck)?;
                if for_e2fsck {
                    by_e2fsck(tape, &bytes, cut, &path).map_err(|why| format!("e2fsck's recovery: {why}"))?;
                }
                if ask_kernel && random.one_in(ASKED_OF_KERNEL) {
                    by_kernel(tape, &bytes, cut, &path)
                        .map_err(|why| format!("the kernel's recovery: {why}"))?;
                }
                Ok(ours)
            });
            counts.cuts += 1;
            counts.by_e2fsck += u32::from(for_e2fsck);
            match state {
                Ok(state) => counts.beyond += u32::from(state > cut.from),
                Err(why) => {
                    let (at, pending) = (cut.at, cut.pending.len());
                    if let Some(kept) = std::env::var_os("RUMPCAP_KEEP") {
                        std::fs::write(kept, &bytes).expect("an image to look at");
                    }
                    result = Err(format!(
                        "request {at} of {}, {loss:?} of {pending} pending: {why}",
                        tape.requests.len()
                    ));
                }
            }
        }
    });
    result.map(|()| counts)
}

/// What is wrong, behind which of the cuts it was.
fn of_cut(why: &str) -> &str {
    why.split_once(" pending: ").map_or(why, |(_, why)| why)
}

fn cut_everywhere(scene: &Scene, seeds: u64) {
    cut_everywhere_from(0, scene, seeds);
}

fn cut_everywhere_from(first: u64, scene: &Scene, seeds: u64) {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let thorough = (ops(0) / scene.ops).max(1) as u64;
    let (seeds, sample) = if is_thorough() { (thorough, 1) } else { (seeds, scene.sample) };
    let first = first + first_seed();
    for seed in first..first + seeds {
        let tape = caught(|| generated(scene, seed))
            .unwrap_or_else(|why| panic!("{}, seed {seed}: {why}", scene.setup));
        // A short tape is cut everywhere: a sample of it might be nothing.
        let sample = if (tape.requests.len() as u64) < 2 * sample { 1 } else { sample };
        let counts = look(scene, &tape, seed, sample).unwrap_or_else(|why| {
            // Said at once: to make it small takes a while.
            eprintln!("{}, {:?}, seed {seed}: {why}", scene.setup, scene.data);
            let fails = |ops: &[Op]| match caught(|| given(scene, ops)) {
                Ok(tape) => {
                    look(scene, &tape, seed, 2).is_err_and(|new| is_alike(of_cut(&new), of_cut(&why)))
                }
                Err(_) => false,
            };
            let small = shrink(&tape.ops, TRIES, fails);
            let of_that = given(scene, &small).and_then(|tape| look(scene, &tape, seed, 2).map(|_| ())).err();
            panic!(
                "{}, {:?}, seed {seed}: {why}\n{small:?}\ngives: {}",
                scene.setup,
                scene.data,
                of_that.unwrap_or_default()
            )
        });
        println!(
            "{}, {:?}, seed {seed}: {} requests, {counts:?}",
            scene.setup,
            scene.data,
            tape.requests.len()
        );
        assert!(counts.cuts > 0, "too few cuts");
    }
}

const SMALL: Limit = Some(256 << 10);

#[test]
fn ext4() {
    cut_everywhere(
        &Scene {
            setup: "w-ext4-1k",
            limit: SMALL,
            data: DataMode::Ordered,
            ops: 150,
            interval: Duration::MAX,
            sample: 4,
        },
        2,
    );
    cut_everywhere(
        &Scene {
            setup: "w-ext4-4k",
            limit: None,
            data: DataMode::Ordered,
            ops: 150,
            interval: Duration::MAX,
            sample: 4,
        },
        1,
    );
}

/// Each commit is in the log at once, with a flush: so what it refers to must have been written before it.
#[test]
fn content_before_the_commit_that_refers_to_it() {
    for setup in ["w-ext4-1k", "w-ext3-1k"] {
        let (limit, data, interval) = (SMALL, DataMode::Ordered, Duration::ZERO);
        cut_everywhere(&Scene { setup, limit, data, ops: 150, interval, sample: 4 }, 2);
    }
}

#[test]
fn ext3() {
    cut_everywhere(
        &Scene {
            setup: "w-ext3-1k",
            limit: SMALL,
            data: DataMode::Ordered,
            ops: 150,
            interval: Duration::MAX,
            sample: 4,
        },
        2,
    );
}

#[test]
fn ext2() {
    cut_everywhere(
        &Scene {
            setup: "w-ext2-1k",
            limit: SMALL,
            data: DataMode::Ordered,
            ops: 150,
            interval: Duration::MAX,
            sample: 4,
        },
        1,
    );
}

#[test]
fn journaled_content() {
    cut_everywhere(
        &Scene {
            setup: "w-ext4-1k",
            limit: None,
            data: DataMode::Journal,
            ops: 150,
            interval: Duration::MAX,
            sample: 4,
        },
        1,
    );
}

#[test]
fn features() {
    for setup in ["w-inline-and-ea-inode", "w-orphan-file", "w-no-checksums"] {
        cut_everywhere(
            &Scene {
                setup,
                limit: SMALL,
                data: DataMode::Ordered,
                ops: 150,
                interval: Duration::MAX,
                sample: 4,
            },
            1,
        );
    }
}

#[test]
fn clusters() {
    for (setup, data) in [("w-bigalloc", DataMode::Ordered), ("w-bigalloc-1k", DataMode::Journal)] {
        cut_everywhere(&Scene { setup, limit: SMALL, data, ops: 150, interval: Duration::MAX, sample: 4 }, 1);
    }
}

/// Operations, where every configuration is cut: in CI fewer, as there are many.
const OPS_OF_EVERY: usize = 120;

/// Every configuration, in each of the modes that it has; in CI in one of them.
#[test]
fn every_configuration() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let writable = setups().into_iter().filter(|setup| !setup.read_only);
    for (at, setup) in writable.enumerate().filter(|(_, setup)| is_wanted(setup)) {
        let modes = [DataMode::Ordered, DataMode::Journal, DataMode::Writeback];
        let modes = if setup.has_journal { &modes[..] } else { &modes[..1] };
        let cut = |data, ops| {
            let interval = if at % 2 == 0 { Duration::MAX } else { Duration::ZERO };
            let scene = Scene { setup: setup.spec.name, limit: SMALL, data, ops, interval, sample: 20 };
            cut_everywhere_from(at as u64, &scene, 1);
        };
        match is_thorough() {
            true => modes.iter().for_each(|data| cut(*data, OPS_OF_EVERY)),
            false => cut(modes[at % modes.len()], OPS_OF_EVERY / 2),
        }
    }
}

/// Cuts find it when nothing is flushed: else they would prove nothing.
#[test]
fn missing_flushes_would_be_found() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let scene = Scene {
        setup: "w-ext4-1k",
        limit: SMALL,
        data: DataMode::Ordered,
        ops: 80,
        interval: Duration::MAX,
        sample: 1,
    };
    let mut tape = generated(&scene, 0).expect("operations");
    let flushes = tape.requests.iter_mut().filter(|request| matches!(request, Request::Flush));
    flushes.for_each(|flush| *flush = Request::Write(0, Vec::new()));
    assert!(look(&scene, &tape, 0, 1).is_err(), "cuts that find nothing prove nothing");
}
