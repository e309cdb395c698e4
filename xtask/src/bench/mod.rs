//! `cargo xtask bench`. (Frame; the benchmark replaces this file.)

use crate::Result;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Runs the benchmark.
pub(crate) fn run(_args: &Args) -> Result {
    Err("the benchmark is not here yet".into())
}
