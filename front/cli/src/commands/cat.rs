//! `rumpcap cat`: prints files.

use crate::content::{buffer, each_chunk, open_regular};
use crate::outcome::Run;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;
use std::io::Write;

const EXAMPLES: &str = "\
Examples:
  rumpcap cat disk.img:/etc/os-release
  rumpcap cat disk.img:/var/log/syslog.2.gz | zcat";

/// Options of `cat`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct CatArgs {
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    files: Vec<OsString>,
}

/// Runs `cat`.
pub fn run(session: &mut Session, args: &CatArgs) -> Run {
    let targets = session.targets(&args.files)?;
    let mut buffer = buffer();
    for target in targets {
        let Some(file) = open_regular(session, &target) else { continue };
        let mut sink = |bytes: &[u8]| Ok(session.out.write_all(bytes)?);
        if let Err(e) = each_chunk(&file, 0..u64::MAX, &mut buffer, &mut sink)? {
            session.fail(&target.path, &e);
        }
    }
    Ok(())
}
