//! `cargo xtask <task>`: everything that is done with the repository by a program.
//!
//! Who calls it: people, and `.ci/run`. One file (or folder) per task, each with `Args` and `run`; a new task is a
//! file, a `mod` and two lines below.
//!
//! Failure: a task prints what is wrong where it finds it and gives an error; the exit code is then 1. Wrong usage
//! exits with 2.
#![forbid(unsafe_code)]

mod bench;
mod bench_mount;
mod bench_write;
mod demo;
mod layers;
mod licences;
mod mutants;
mod policies;
mod recording;
mod setup;
mod sim;
mod test;
mod workspace;

use clap::{Parser, Subcommand};

/// What a task gives: nothing, or why it failed, in words for the user; empty when the task has said it.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Tasks of the rumpcap repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Command {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure against the limit, the peers and the kernel; write docs/bench/
    Bench(bench::Args),
    /// Measure mounts by FUSE against fuse2fs and the kernel; write docs/bench/mount.md
    BenchMount(bench_mount::Args),
    /// Measure writing against the limit, the kernel, fuse2fs, debugfs, lwext4 and mke2fs; write docs/bench/writing.md
    BenchWrite(bench_write::Args),
    /// Walk and read a large ext4 image at 600 KiB, and show memory against the limit
    Demo(demo::Args),
    /// Check that arrows point down, and the other rules of the design that the compiler does not know
    Layers,
    /// Check the licences of all dependencies, offline
    Licences,
    /// Record workloads, replay them under every policy; write docs/bench/policies.md
    Policies(policies::Args),
    /// Run whole kernels in a simulated world, from seeds
    Sim(sim::Args),
    /// Break one rule of the memory's code at a time, and see that a test fails
    Mutants(mutants::Args),
    /// Install what the tests need, run all of them, count
    Test(test::Args),
}

fn main() -> std::process::ExitCode {
    let done = match Command::parse().task {
        Task::Bench(args) => bench::run(&args),
        Task::BenchMount(args) => bench_mount::run(&args),
        Task::BenchWrite(args) => bench_write::run(&args),
        Task::Demo(args) => demo::run(&args),
        Task::Layers => layers::run(),
        Task::Licences => licences::run(),
        Task::Policies(args) => policies::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Mutants(args) => mutants::run(&args),
        Task::Test(args) => test::run(&args),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            let why = why.to_string();
            if !why.is_empty() {
                eprintln!("xtask: {why}");
            }
            std::process::ExitCode::FAILURE
        }
    }
}
