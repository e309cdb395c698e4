//! `rumpcap man`: writes the man pages, one per command, from the definitions of the command line.

use crate::args::Cli;
use crate::outcome::{Run, Stop, plain};
use crate::session::Session;
use clap::{Args, CommandFactory};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  rumpcap man ~/.local/share/man/man1      then: man rumpcap, man rumpcap-find";

/// Options of `man`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct ManArgs {
    /// Where `rumpcap.1`, `rumpcap-ls.1`, ... are written; made if it is not there
    directory: PathBuf,
}

/// Runs `man`.
pub fn run(_: &mut Session, args: &ManArgs) -> Run {
    let written = std::fs::create_dir_all(&args.directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &args.directory));
    written.map_err(|e| Stop::Fatal(format!("{}: {}", args.directory.display(), plain(&e))))
}
