//! A process that writes and is killed at a random moment: what it had synced is there, and the rest is a state of the file system.
//!
//! The child is this test program, told by the environment what to write to. Before and behind each operation it says so on its standard output;
//! the parent makes the same operations from the same seed, and knows from what it reads which states are possible.

use crate::support::{first_seed, fsck, is_thorough};
use rumpcap::block::{FileDevice, MemoryDevice};
use rumpcap::{DataMode, Kernel, MountOptions};
use rumpcap_testing::images::build;
use rumpcap_testing::seed::Random;
use rumpcap_testing::skip;
use rumpcap_testing::tools::scratch;
use rumpcap_testing::writing::cuts::{Tape, single};
use rumpcap_testing::writing::{Generator, LibraryTarget, Op, Setup, Target, first_model, mount_options};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

const IMAGE: &str = "RUMPCAP_KILLED_IMAGE";
const SEED: &str = "RUMPCAP_KILLED_SEED";
const LIMIT: Option<u64> = Some(512 << 10);

fn setup() -> Setup {
    Setup::named("w-ext4-1k").small()
}

/// Operations for as long as the process lives. Each is told to `apply`, which says whether it was done.
fn operations(seed: u64, mut apply: impl FnMut(&Op, &mut Tape) -> Option<bool>) -> Tape {
    let mut generator = Generator::new(seed, setup().can);
    (generator.small, generator.sync_weight) = (true, 12);
    let mut tape = Tape::new(setup().image(), first_model(), DataMode::Ordered);
    loop {
        for op in single(generator.next(tape.model())) {
            if tape.model().clone().apply(&op, None) == rumpcap_testing::writing::Expected::Skip {
                continue;
            }
            match apply(&op, &mut tape) {
                Some(is_done) => tape.note(&op, is_done),
                None => {
                    tape.note_begun(&op);
                    return tape;
                }
            }
        }
    }
}

/// The child's part: nothing, unless it is told what to write to.
#[test]
fn child() {
    let (Some(image), Ok(seed)) = (std::env::var_os(IMAGE), std::env::var(SEED)) else { return };
    let device = FileDevice::open_with(Path::new(&image), crate::support::writable()).expect("the image");
    let mut target = LibraryTarget::new(Arc::new(device), LIMIT, DataMode::Ordered).expect("mounting");
    let mut out = std::io::stderr();
    let mut say = |byte: u8| out.write_all(&[byte]).expect("the parent listens");
    say(b'\x01');
    operations(seed.parse().expect("a seed"), |op, _| {
        let is_done = target.apply(op).is_ok();
        say(if is_done { b'\x02' } else { b'\x03' });
        Some(is_done)
    });
}

/// Runs the child until it has said that `operations` ended, and a moment longer; gives what it said.
fn run_child(image: &Path, seed: u64, operations: usize, moment: Duration) -> Vec<u8> {
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "kill::child", "--nocapture"]).env(IMAGE, image).env(SEED, seed.to_string());
    let mut child =
        child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("a child");
    let mut said = child.stderr.take().expect("a pipe");
    let mut first = vec![0; operations + 1];
    said.read_exact(&mut first).expect("the child mounts and works");
    std::thread::sleep(moment);
    child.kill().expect("killing the child");
    child.wait().expect("the child's end");
    let mut rest = first.split_off(1);
    said.read_to_end(&mut rest).expect("what it said");
    assert!(
        rest.iter().all(|byte| (2..=3).contains(byte)),
        "the child failed: {}",
        String::from_utf8_lossy(&rest)
    );
    rest
}

#[test]
fn killed_at_random() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let rounds = if is_thorough() { 300 } else { 12 };
    let mut random = Random::new(1);
    let mut operations_done = 0;
    for seed in first_seed()..first_seed() + rounds {
        let directory = scratch();
        let path = directory.path().join("image");
        std::fs::write(&path, &*setup().image()).expect("an image");
        let said =
            run_child(&path, seed, random.below(150) as usize, Duration::from_micros(random.below(3000)));
        let mut answers = said.iter();
        let tape = operations(seed, |_, _| answers.next().map(|answer| *answer == 2));
        operations_done += tape.ops.len();
        let bytes = std::fs::read(&path).expect("the image");
        let device = Arc::new(MemoryDevice::from_bytes(&bytes));
        let kernel = Kernel::builder().memory_limit(512 << 10).boot().expect("booting");
        let reader = kernel.mount(device.clone(), &MountOptions::default()).expect("mounting");
        let state = tape.find_state(&reader, &tape.behind_the_end());
        let state = state.unwrap_or_else(|why| panic!("seed {seed}, {} operations: {why}", tape.ops.len()));
        drop(reader);
        let options =
            mount_options(DataMode::Ordered, rumpcap::Timestamp { seconds: 1_750_000_000, nanoseconds: 0 });
        let writer = kernel.mount(device.clone(), &options).expect("mounting to write");
        writer.unmount().expect("unmounting");
        std::fs::write(&path, device.to_bytes()).expect("the image");
        fsck(&path).unwrap_or_else(|why| panic!("seed {seed}, state {state}: {why}"));
    }
    println!("{rounds} processes killed, {operations_done} operations");
    assert!(operations_done > rounds as usize * 20, "killed too early");
}
