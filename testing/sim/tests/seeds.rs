//! Seeds of the simulation: many run well, each is the same run every time, and what is wrong is found and found again.
//!
//! The variable RUMPCAP_SIM_SEEDS says how many seeds; more, and single ones, by `cargo xtask sim`.
#![allow(clippy::unwrap_used)]

use rumpcap_sim::disk::Faults;
use rumpcap_sim::image::{self, Entry, Image};
use rumpcap_sim::plan::Plan;
use rumpcap_sim::run::{run, run_plan};
use std::process::Command;
use std::sync::{Arc, OnceLock};

fn images() -> &'static Arc<[Image]> {
    static IMAGES: OnceLock<Arc<[Image]>> = OnceLock::new();
    IMAGES.get_or_init(|| image::all().into())
}

#[test]
fn many_seeds_run_well() {
    let seeds = std::env::var("RUMPCAP_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(500);
    for seed in 0..seeds {
        if let Err(failure) = run(seed, images(), false) {
            panic!("{}\nto run it again: cargo xtask sim {seed} --verbose", failure.why);
        }
    }
}

#[test]
fn a_seed_is_the_same_run_every_time() {
    let mut digests: Vec<u64> = (1000..1010)
        .map(|seed| {
            let (first, second) = (run(seed, images(), false).unwrap(), run(seed, images(), false).unwrap());
            assert_eq!(first, second, "seed {seed}");
            first.digest
        })
        .collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 10, "another seed is another run");
}

/// Addresses, hashes, thread numbers and the time are others in another process; the image is made anew.
#[test]
fn a_seed_is_the_same_run_in_another_process() {
    for seed in [7, 8] {
        let output = Command::new(env!("CARGO_BIN_EXE_rumpcap-sim")).arg(seed.to_string()).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let summary = run(seed, images(), false).unwrap();
        assert!(told.contains(&format!("seed {seed}: {summary}\n")), "{summary}, but there:\n{told}");
    }
}

/// A byte of the large file is not what was written: some seed reads it, says so, and says so again at the same step.
#[test]
fn a_wrong_byte_is_found_and_found_again() {
    let mut wrong: Vec<Image> = images().to_vec();
    for image in &mut wrong {
        let Some(Entry::File(content)) = image.tree.get_mut(std::path::Path::new("/large")) else { panic!() };
        let mut bytes = content.to_vec();
        bytes[100..1_200_000].fill(1);
        *content = bytes.into();
    }
    let wrong: Arc<[Image]> = wrong.into();
    let failing = |seed| {
        let mut plan = Plan::new(seed);
        plan.disk.faults = Faults::None;
        run_plan(plan, &wrong, false).err().map(|failure| (seed, failure))
    };
    let (seed, first) = (0..500).find_map(failing).expect("one of 500 seeds reads the large file");
    assert!(first.why.contains("SIM-2"), "{first:?}");
    let (_, again) = failing(seed).unwrap();
    assert_eq!((again.summary, again.why), (first.summary, first.why));
}
