//! `rumpcap ln`: makes hard and symbolic links.

use crate::args::{OwnerArgs, WriteArgs};
use crate::outcome::{Run, Stop};
use crate::quote::for_message;
use crate::session::{Session, Target};
use clap::Args;
use rumpcap::Error;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

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
    let existing =
        if args.symbolic { Vec::new() } else { session.all_writable(&args.targets, args.write)? };
    if existing.iter().any(|existing| existing.image != link.image) {
        return Stop::usage("ln: a hard link is in the image that its file is in");
    }
    let targets: Vec<To<'_>> = match args.symbolic {
        true => args.targets.iter().map(|text| To::Text(text)).collect(),
        false => existing.iter().map(|target| To::File(&target.path)).collect(),
    };
    if targets.len() > 1 && !is_directory {
        let link = for_message(link.path.as_os_str().as_bytes());
        return Stop::usage(format!("ln: {link}: not a directory, and there are several targets"));
    }
    for to in targets {
        session.check_interrupt()?;
        let path = match to.name() {
            Some(name) if is_directory => link.path.join(name),
            None if is_directory => return Stop::usage("ln: the target's name is none for a link"),
            _ => link.path.clone(),
        };
        match (make(args, &link, to, &path), to) {
            (Ok(()), _) => {}
            // These are about what is linked to.
            (Err(Error::IsADirectory), To::File(existing)) => {
                session.fail(existing, &"is a directory, which can have no hard link");
            }
            (Err(e @ Error::TooManyHardLinks), To::File(existing)) => session.fail(existing, &e),
            (Err(e @ Error::NotFound), To::File(existing))
                if link.mount.symlink_metadata(existing).is_err() =>
            {
                session.fail(existing, &e);
            }
            (Err(e), _) => session.fail(&path, &e),
        }
    }
    Ok(())
}

/// What a link leads to.
#[derive(Clone, Copy)]
enum To<'a> {
    /// A symbolic one.
    Text(&'a OsStr),
    /// A hard one.
    File(&'a Path),
}

impl To<'_> {
    fn name(&self) -> Option<&OsStr> {
        match self {
            To::Text(text) => Path::new(text).file_name(),
            To::File(path) => path.file_name(),
        }
    }
}

fn make(args: &LnArgs, link: &Target, to: To<'_>, path: &Path) -> rumpcap::Result<()> {
    let once = || match to {
        To::File(existing) => link.mount.hard_link(existing, path).map(drop),
        To::Text(text) => link.mount.symlink(text, path, &args.owner.with_mode(0o777)).map(drop),
    };
    match once() {
        Err(Error::Exists) if args.force => {}
        done => return done,
    }
    let ino = |path: &Path| link.mount.symlink_metadata(path).map(|m| m.ino()).ok();
    // Replacing a file by itself would be its end.
    if let To::File(existing) = to
        && ino(existing) == ino(path)
    {
        return Ok(());
    }
    link.mount.remove_file(path)?;
    once()
}
