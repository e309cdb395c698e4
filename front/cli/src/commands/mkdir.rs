//! `rumpcap mkdir`: makes directories.

use crate::args::{OwnerArgs, WriteArgs};
use crate::modes::{ModeChange, Of, umask};
use crate::outcome::{Run, Stop};
use crate::session::{Session, Target};
use clap::Args;
use rumpcap::{Error, SetAttributes};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  rumpcap mkdir -p disk.img:/srv/www/static
  rumpcap mkdir -m 1777 disk.img:/tmp";

/// Options of `mkdir`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct MkdirArgs {
    /// Make the directories above as well; what is there is no failure
    #[arg(short = 'p', long)]
    parents: bool,
    /// Permissions, octal or symbolic; without it all but those of the mask
    #[arg(short = 'm', long, value_name = "MODE")]
    mode: Option<String>,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// The directories
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Runs `mkdir`.
pub fn run(session: &mut Session, args: &MkdirArgs) -> Run {
    let change = args
        .mode
        .as_deref()
        .map(|text| ModeChange::parse(text).ok_or_else(|| Stop::Usage(format!("mkdir: {text}: not a mode"))));
    let change = change.transpose()?;
    // All images are there, and can be written, before the first is.
    let targets: Run<Vec<Target>> =
        args.paths.iter().map(|path| session.writable(path, args.write)).collect();
    for target in targets? {
        session.check_interrupt()?;
        let made = if args.parents {
            with_parents(&target, args)
        } else {
            make(&target, &target.path, args).map(Some)
        };
        let done = made.and_then(|made| match (made, &change) {
            (Some(ino), Some(change)) => set_mode(&target, ino, change),
            _ => Ok(()),
        });
        if let Err(e) = done {
            session.fail(&target.path, &e);
        }
    }
    Ok(())
}

/// Makes one directory; gives its number.
fn make(target: &Target, path: &Path, args: &MkdirArgs) -> rumpcap::Result<u64> {
    Ok(target.mount.create_dir(path, &args.owner.with_mode(0o777 & !umask()))?.ino())
}

/// Makes what is not there of a path; gives the number of the last one, if it was made.
fn with_parents(target: &Target, args: &MkdirArgs) -> rumpcap::Result<Option<u64>> {
    let mut path = PathBuf::new();
    let mut made = None;
    for part in target.path.components() {
        path.push(part);
        if matches!(part, Component::RootDir | Component::CurDir | Component::ParentDir) {
            continue;
        }
        made = match make(target, &path, args) {
            Ok(ino) => Some(ino),
            Err(Error::Exists) if target.mount.metadata(&path)?.is_dir() => None,
            Err(e) => return Err(e),
        };
    }
    Ok(made)
}

/// What was made may have a bit of its parent's, and permissions of its parent's list.
fn set_mode(target: &Target, ino: u64, change: &ModeChange) -> rumpcap::Result<()> {
    let inherited = target.mount.metadata_ino(ino)?.mode() & 0o2000;
    let mode = change.apply(0o777 | inherited, Of::Directory, umask());
    let set = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
    target.mount.set_attributes_ino(ino, &set).map(drop)
}
