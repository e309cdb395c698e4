//! `rumpcap mv`: renames and moves within an image.

use crate::args::WriteArgs;
use crate::outcome::{Run, Stop};
use crate::quote::for_message;
use crate::session::{Session, Target};
use clap::Args;
use rumpcap::{Error, Metadata, Rename};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  rumpcap mv disk.img:/etc/motd disk.img:/etc/motd.old
  rumpcap mv disk.img:/a disk.img:/b disk.img:/directory
  rumpcap mv --exchange disk.img:/current disk.img:/next";

/// Options of `mv`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct MvArgs {
    /// Keep what has the new name; that something was kept is said and counts as failure
    #[arg(short = 'n', long, conflicts_with = "exchange")]
    no_clobber: bool,
    /// Replace what has the new name; that is so without it too
    #[arg(short = 'f', long)]
    force: bool,
    /// Exchange the two
    #[arg(long)]
    exchange: bool,
    /// The target is the new name itself, directory or not
    #[arg(short = 'T', long)]
    no_target_directory: bool,
    #[command(flatten)]
    write: WriteArgs,
    /// What is moved, and the new name or the directory that it is moved into
    #[arg(required = true, num_args = 2.., value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Runs `mv`.
pub fn run(session: &mut Session, args: &MvArgs) -> Run {
    let Some((to, from)) = args.paths.split_last() else { return Stop::usage("mv: no target") };
    let targets = session.all_writable(from, args.write)?;
    let to = session.writable(to, args.write)?;
    if targets.iter().any(|from| from.image != to.image) {
        return Stop::usage("mv: a file is not moved from image to image; cp copies it");
    }
    let as_name = args.no_target_directory || args.exchange;
    let is_directory = !as_name && to.mount.metadata(&to.path).is_ok_and(|m: Metadata| m.is_dir());
    if targets.len() > 1 && !is_directory {
        let to = for_message(to.path.as_os_str().as_bytes());
        return Stop::usage(format!("mv: {to}: not a directory, and several files are to be moved"));
    }
    let how = match (args.no_clobber, args.exchange) {
        (true, _) => Rename::Refuse,
        (_, true) => Rename::Exchange,
        _ => Rename::Replace,
    };
    for from in &targets {
        session.check_interrupt()?;
        let name = from.path.file_name().filter(|_| is_directory);
        let path = name.map_or_else(|| to.path.clone(), |name| to.path.join(name));
        if let Err(e) = from.mount.rename(&from.path, &path, how) {
            session.fail(&from.path, &reason(e, from, &path));
        }
    }
    Ok(())
}

/// Why it was not moved, where the error is not about the file itself.
fn reason(error: Error, from: &Target, to: &Path) -> String {
    let is_dir = |path: &Path| from.mount.symlink_metadata(path).is_ok_and(|m| m.is_dir());
    let shown = for_message(to.as_os_str().as_bytes());
    match error {
        Error::InvalidInput { .. } if is_dir(&from.path) => {
            format!("cannot be moved to a directory in itself, {shown}")
        }
        Error::NotADirectory if is_dir(&from.path) => {
            format!("is a directory, and cannot take the place of {shown}, which is none")
        }
        Error::IsADirectory => format!("cannot take the place of a directory, {shown}"),
        Error::Exists | Error::NotEmpty => format!("not moved to {shown}: {error}"),
        Error::NotFound if from.mount.symlink_metadata(&from.path).is_ok() => {
            format!("not moved to {shown}: {error}")
        }
        error => error.to_string(),
    }
}
