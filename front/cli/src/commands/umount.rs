//! `rumpcap umount`: unmounts what `mount` has mounted, and waits until the image is in order.
//!
//! The host's `umount` and `fusermount3 -u` return as soon as the directory shows it no more; who serves it writes the rest then.

use crate::address;
use crate::outcome::{Run, Stop, plain};
use crate::session::Session;
use clap::Args;
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  rumpcap umount /mnt
  rumpcap umount --lazy /mnt";

/// Options of `umount`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct UmountArgs {
    /// At once, though it is in use; who uses it may go on
    #[arg(long)]
    lazy: bool,
    /// Where it is mounted
    #[arg(required = true, value_name = "DIRECTORY")]
    directories: Vec<PathBuf>,
}

/// Runs `umount`.
pub fn run(session: &mut Session, args: &UmountArgs) -> Run {
    for directory in &args.directories {
        if let Err(Stop::Fatal(why)) = unmount(directory, args) {
            session.fail(directory, &why);
        }
    }
    Ok(())
}

fn unmount(directory: &Path, args: &UmountArgs) -> Run {
    let fatal = |e: std::io::Error| Stop::Fatal(plain(&e));
    let whole = absolute(directory).map_err(fatal)?;
    let Some(source) = rumpcap_fuse::source_of(&whole) else {
        return Stop::fatal("nothing is mounted here by rumpcap");
    };
    rumpcap_fuse::unmount(&whole, args.lazy).map_err(fatal)?;
    if args.lazy {
        return Ok(());
    }
    // Who serves it has the lock of a writer until all is written.
    let image = address::parse(&source).image;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if let Ok(image) = rustix::fs::open(&image, flags, Mode::empty()) {
        rustix::io::retry_on_intr(|| rustix::fs::flock(&image, FlockOperation::LockShared))
            .map_err(|e| fatal(e.into()))?;
    }
    Ok(())
}

/// The path without links, but for a mount that does not answer any more: its own name is not asked of it.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    let whole = std::path::absolute(path)?;
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) if name.as_bytes() != b".." => Ok(parent.canonicalize()?.join(name)),
        _ => whole.canonicalize(),
    }
}
