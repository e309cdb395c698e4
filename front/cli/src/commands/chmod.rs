//! `rumpcap chmod`: changes permissions.

use crate::args::WriteArgs;
use crate::modes::{ModeChange, Of, umask};
use crate::outcome::{Run, Stop};
use crate::session::{Links, Session, Target};
use crate::traverse::{Order, Visit, traverse};
use clap::Args;
use rumpcap::{Metadata, SetAttributes};
use std::ffi::OsString;

const EXAMPLES: &str = "\
MODE is octal or symbolic, with the meaning that chmod(1) gives it; where it names no class (`+w`), your mask counts. \
Symbolic links are followed where they are named, and left alone below directories: a link has no permissions.

Examples:
  rumpcap chmod 640 disk.img:/etc/shadow
  rumpcap chmod -R u=rwX,go=rX disk.img:/srv";

/// Options of `chmod`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct ChmodArgs {
    /// Everything below directories too
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    write: WriteArgs,
    /// The permissions, or how they change
    #[arg(allow_hyphen_values = true)]
    mode: String,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Runs `chmod`.
pub fn run(session: &mut Session, args: &ChmodArgs) -> Run {
    let Some(change) = ModeChange::parse(&args.mode) else {
        return Stop::usage(format!("chmod: {}: not a mode", args.mode));
    };
    let umask = umask();
    for target in session.all_writable(&args.paths, args.write)? {
        let Some(metadata) = session.metadata(&target, Links::Follow) else { continue };
        if !args.recursive || !metadata.is_dir() {
            if let Err(e) = set(&target, &metadata, &change, umask) {
                session.fail(&target.path, &e);
            }
            continue;
        }
        let mut visitor = |session: &mut Session, visit: &Visit<'_>| {
            session.check_interrupt()?;
            if !visit.metadata.is_symlink()
                && let Err(e) = set(&target, visit.metadata, &change, umask)
            {
                session.fail(visit.path, &e);
            }
            Ok(())
        };
        traverse(session, &target, Order::Device, usize::MAX, &mut visitor)?;
    }
    Ok(())
}

fn set(target: &Target, m: &Metadata, change: &ModeChange, umask: u32) -> rumpcap::Result<()> {
    let of = if m.is_dir() { Of::Directory } else { Of::File };
    let mode = Some(change.apply(m.mode(), of, umask));
    let set = SetAttributes { mode, ..SetAttributes::default() };
    target.mount.set_attributes_ino(m.ino(), &set).map(drop)
}
