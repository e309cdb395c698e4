//! `rumpcap completions`: prints a completion script for a shell, from the definitions of the command line.

use crate::args::Cli;
use crate::outcome::Run;
use crate::session::Session;
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  rumpcap completions bash > ~/.local/share/bash-completion/completions/rumpcap
  rumpcap completions zsh > ~/.zfunc/_rumpcap
  rumpcap completions fish > ~/.config/fish/completions/rumpcap.fish";

/// Options of `completions`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Runs `completions`.
pub fn run(session: &mut Session, args: &CompletionsArgs) -> Run {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "rumpcap", &mut script);
    session.out.write_all(&script)?;
    Ok(())
}
