//! `rumpcap rmdir`: removes empty directories.

use crate::args::WriteArgs;
use crate::outcome::Run;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;

/// Options of `rmdir`.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct RmdirArgs {
    #[command(flatten)]
    write: WriteArgs,
    /// The directories
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Runs `rmdir`.
pub fn run(session: &mut Session, args: &RmdirArgs) -> Run {
    for target in session.all_writable(&args.paths, args.write)? {
        session.check_interrupt()?;
        if let Err(e) = target.mount.remove_dir(&target.path) {
            session.fail(&target.path, &e);
        }
    }
    Ok(())
}
