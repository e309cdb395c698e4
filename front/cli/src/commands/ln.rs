//! `rumpcap ln`: makes hard and symbolic links.

use crate::args::{OwnerArgs, WriteArgs};
use crate::outcome::{Run, Stop};
use crate::quote::for_message;
use crate::session::{Session, Target};
use clap::Args;
use rumpcap::Error;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
The target of a symbolic link is a text, and is not looked at; that of a hard link is IMAGE:PATH, in the same image. \
A hard link to a symbolic link is another name of that.

Examples:
  rumpcap ln -s ../usr/lib/os-release disk.img:/etc/os-release
  rumpcap ln -sfn releases/42 disk.img:/srv/current
  rumpcap ln disk.img:/bin/busybox disk.img:/bin/ls";

/// Options of `ln`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct LnArgs {
    /// Symbolic links
    #[arg(short = 's', long)]
    symbolic: bool,
    /// Replace what has the name, if it is no directory
    #[arg(short = 'f', long)]
    force: bool,
    /// The last one is the name of the link, also where that is a link to a directory
    #[arg(short = 'n', long)]
    no_dereference: bool,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// What is linked to
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<OsString>,
    /// The name of the link, or the directory that the links go into
    #[arg(value_name = "IMAGE:PATH")]
    link: OsString,
}

/// Runs `ln`.
pub fn run(session: &mut Session, args: &LnArgs) -> Run {
    let link = session.writable(&args.link, args.write)?;
    let there = match args.no_dereference {
        true => link.mount.symlink_metadata(&link.path),
        false => link.mount.metadata(&link.path),
    };
    let is_directory = there.is_ok_and(|m| m.is_dir());
    if args.targets.len() > 1 && !is_directory {
        let link = for_message(link.path.as_os_str().as_bytes());
        return Stop::usage(format!("ln: {link}: not a directory, and there are several targets"));
    }
    for text in &args.targets {
        session.check_interrupt()?;
        let existing = if args.symbolic { None } else { Some(session.writable(text, args.write)?) };
        if existing.as_ref().is_some_and(|existing| existing.image != link.image) {
            return Stop::usage("ln: a hard link is in the image that its file is in");
        }
        let existing = existing.map(|target| target.path);
        let name = Path::new(text).file_name().map(OsStr::to_owned);
        let name = existing.as_deref().map_or(name, |path| path.file_name().map(OsStr::to_owned));
        let path = match name {
            Some(name) if is_directory => link.path.join(name),
            None if is_directory => return Stop::usage("ln: the target's name is none for a link"),
            _ => link.path.clone(),
        };
        if let Err(e) = make(args, &link, existing.as_ref(), text, &path) {
            session.fail(&path, &e);
        }
    }
    Ok(())
}

fn make(
    args: &LnArgs,
    link: &Target,
    existing: Option<&PathBuf>,
    text: &OsStr,
    path: &Path,
) -> rumpcap::Result<()> {
    let once = || match existing {
        Some(existing) => link.mount.hard_link(existing, path).map(drop),
        None => link.mount.symlink(text, path, &args.owner.with_mode(0o777)).map(drop),
    };
    match once() {
        Err(Error::Exists) if args.force => {}
        done => return done,
    }
    let is_same = |existing: &PathBuf| {
        let ino = |path: &Path| link.mount.symlink_metadata(path).map(|m| m.ino()).ok();
        ino(existing) == ino(path)
    };
    // Replacing a file by itself would be its end.
    if existing.is_some_and(is_same) {
        return Ok(());
    }
    link.mount.remove_file(path)?;
    once()
}
