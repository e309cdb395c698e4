//! `rumpcap touch`: sets times, and makes empty files.

use crate::args::{OwnerArgs, WriteArgs};
use crate::modes::umask;
use crate::outcome::Run;
use crate::session::{Session, Target};
use crate::times::parse_time;
use clap::{ArgAction, Args};
use rumpcap::{Error, SetAttributes, Timestamp};
use std::ffi::OsString;

const EXAMPLES: &str = "\
TIME is @SECONDS, or a date with a time and an offset, each of the latter optional: \
`2026-11-23 06:53:01.5 +0100`, `2026-11-23T06:53Z`, `2026-11-23`.

Examples:
  rumpcap touch disk.img:/etc/nologin
  rumpcap touch -m -d @1700000000.000000001 disk.img:/srv/file";

/// Options of `touch`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES, disable_help_flag = true)]
pub struct TouchArgs {
    /// The time of access alone
    #[arg(short = 'a')]
    access: bool,
    /// The time of change alone
    #[arg(short = 'm')]
    modification: bool,
    /// Make no file
    #[arg(short = 'c', long)]
    no_create: bool,
    /// This time instead of now
    #[arg(short = 'd', long, value_name = "TIME", value_parser = parse_time)]
    date: Option<Timestamp>,
    /// Symbolic links themselves
    #[arg(short = 'h', long)]
    no_dereference: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Runs `touch`.
pub fn run(session: &mut Session, args: &TouchArgs) -> Run {
    for target in session.all_writable(&args.paths, args.write)? {
        session.check_interrupt()?;
        let time = args.date.unwrap_or_else(|| session.now());
        if let Err(e) = touch(args, &target, time) {
            session.fail(&target.path, &e);
        }
    }
    Ok(())
}

fn touch(args: &TouchArgs, target: &Target, time: Timestamp) -> rumpcap::Result<()> {
    let found = match args.no_dereference {
        true => target.mount.symlink_metadata(&target.path),
        false => target.mount.metadata(&target.path),
    };
    let ino = match found {
        Ok(metadata) => metadata.ino(),
        Err(Error::NotFound) if args.no_create || args.no_dereference => return Ok(()),
        Err(Error::NotFound) => {
            let owner = args.owner.with_mode(0o666 & !umask());
            target.mount.open_or_create(&target.path, &owner)?.ino()
        }
        Err(e) => return Err(e),
    };
    let both = args.access == args.modification;
    let set = SetAttributes {
        atime: (both || args.access).then_some(time),
        mtime: (both || args.modification).then_some(time),
        ..SetAttributes::default()
    };
    target.mount.set_attributes_ino(ino, &set).map(drop)
}
