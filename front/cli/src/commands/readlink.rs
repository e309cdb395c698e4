//! `rumpcap readlink`: prints the target of symbolic links.

use crate::outcome::Run;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

const EXAMPLES: &str = "\
Examples:
  rumpcap readlink disk.img:/etc/mtab
  rumpcap readlink -f disk.img:/bin/sh     every link on the way resolved, within the image";

/// Options of `readlink`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct ReadlinkArgs {
    /// Resolve every symbolic link, `.` and `..` on the way; the path must exist
    #[arg(short = 'f', long)]
    canonicalize: bool,
    /// End each line with NUL
    #[arg(short = 'z', long)]
    zero: bool,
    /// The links
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Runs `readlink`.
pub fn run(session: &mut Session, args: &ReadlinkArgs) -> Run {
    for target in session.targets(&args.paths)? {
        let found = match args.canonicalize {
            true => target.mount.canonicalize(&target.path),
            false => target.mount.read_link(&target.path),
        };
        match found {
            Ok(path) => {
                let quoting = session.out.path_quoting();
                session.out.write_all(&crate::quote::quote(path.as_os_str().as_bytes(), quoting))?;
                session.out.write_all(if args.zero { b"\0" } else { b"\n" })?;
            }
            Err(e) => session.fail(&target.path, &e),
        }
    }
    Ok(())
}
