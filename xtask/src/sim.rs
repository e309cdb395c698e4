//! `cargo xtask sim SEED`, `cargo xtask sim --seeds N --from S`: runs whole kernels in a simulated world.
//!
//! Who calls it: people, with the seed that a test said. Builds `testing/sim` with the model checker's locks and clock, which
//! the rest of the workspace is never built with, and hands it the arguments as they are.

use crate::{Result, setup, workspace};

/// Options of the task.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// A seed, or --seeds NUMBER [--from SEED]; --verbose prints requests and actions; --help tells more
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the simulation and runs it.
pub(crate) fn run(args: &Args) -> Result {
    setup::ensure(setup::FOR_SIM)?;
    let mut command = workspace::cargo();
    command.args(["run", "--quiet", "--locked", "--package", "rumpcap-sim", "--features", "shuttle", "--"]);
    command.args(&args.arguments).env("PATH", setup::search_path());
    // The simulation has said what is wrong, and how to see it again.
    if command.status()?.success() { Ok(()) } else { Err("".into()) }
}
