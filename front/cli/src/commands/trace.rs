//! `rumpcap trace`: records the page accesses of a command, and replays them under every policy and limit.

mod record;
mod replay;
mod table;

use crate::outcome::Run;
use crate::session::Session;
use clap::{Args, Subcommand};

/// Options of `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Run a command on an image and record which pages it asks for
    Record(record::RecordArgs),
    /// Replay a recording: misses by policy and limit, with Belady's optimum
    Replay(replay::ReplayArgs),
}

/// Runs `trace`.
pub fn run(session: &mut Session, args: &TraceArgs) -> Run {
    match &args.what {
        What::Record(args) => record::run(session, args),
        What::Replay(args) => replay::run(session, args),
    }
}
