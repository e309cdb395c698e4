//! `rumpcap-sim`, called as `cargo xtask sim`: runs seeds; a seed that fails is said together with how to run it again.
#![forbid(unsafe_code)]

use clap::Parser;
use rumpcap_sim::image::{self, Image};
use rumpcap_sim::plan::Plan;
use rumpcap_sim::run;
use rumpcap_sim::trace::Summary;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Run whole kernels in a simulated world: scheduler, clock and disk come from a seed
#[derive(Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
struct Args {
    /// The seed to run, and to show: what it is made of, and the digest of what happened
    #[arg(required_unless_present = "seeds", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run so many seeds, until one fails
    #[arg(long, value_name = "NUMBER")]
    seeds: Option<u64>,
    /// The first of these seeds
    #[arg(long, value_name = "SEED", default_value_t = 0, requires = "seeds")]
    from: u64,
    /// Print every request and action of the one seed
    #[arg(long, conflicts_with = "seeds")]
    verbose: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let images = image::all().into();
    let done = match (args.seed, args.seeds) {
        (Some(seed), _) => one(seed, &images, args.verbose),
        (None, count) => many(args.from, count.unwrap_or(0), &images),
    };
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn one(seed: u64, images: &Arc<[Image]>, verbose: bool) -> bool {
    println!("{:#?}", Plan::new(seed));
    match run::run(seed, images, verbose) {
        Ok(summary) => {
            println!("seed {seed}: {summary}");
            true
        }
        Err(failure) => {
            println!("seed {seed}: FAILED at {}\n{}", failure.summary, failure.why);
            false
        }
    }
}

fn many(from: u64, count: u64, images: &Arc<[Image]>) -> bool {
    let start = Instant::now();
    let mut all = Vec::new();
    for seed in from..from.saturating_add(count) {
        match run::run(seed, images, false) {
            Ok(summary) => all.push(summary),
            Err(failure) => {
                println!("seed {seed}: FAILED at {}\n{}", failure.summary, failure.why);
                println!("to run it again: cargo xtask sim {seed} --verbose");
                return false;
            }
        }
    }
    let steps = |all: &[Summary]| all.iter().map(|summary| summary.steps).sum::<u64>();
    let longest = all.iter().map(|summary| summary.steps).max().unwrap_or(0);
    println!("{count} seeds from {from}: all well; {:.1} s", start.elapsed().as_secs_f64());
    println!("{} steps, at most {longest} in one; seeds that came to", steps(&all));
    let met = |what: &str, times: fn(&Summary) -> u64| {
        println!("{:>8}  {what}", all.iter().filter(|summary| times(summary) > 0).count());
    };
    met("a request that fails", |summary| summary.failures);
    met("an eviction", |summary| summary.met.evictions);
    met("a wait at the gate", |summary| summary.met.gate_waits);
    met("a wait for a page under I/O", |summary| summary.met.busy_waits);
    met("a wait for a frame", |summary| summary.met.frame_waits);
    met("a round of the daemon", |summary| summary.met.daemon_rounds);
    true
}
