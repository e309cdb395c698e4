//! `rumpcap head`: prints the beginning of files.

use crate::content::{buffer, each_chunk, open_regular};
use crate::outcome::{Run, Stop};
use crate::quote::quote;
use crate::session::Session;
use crate::units::parse_size;
use clap::Args;
use rumpcap::File;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

const EXAMPLES: &str = "\
Examples:
  rumpcap head -n 3 disk.img:/etc/passwd
  rumpcap head -c 4k disk.img:/bin/sh | file -";

/// Options of `head`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct HeadArgs {
    /// Lines to print
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10, conflicts_with = "bytes")]
    lines: u64,
    /// Bytes to print instead of lines; k, m, g may follow
    #[arg(short = 'c', long, value_name = "N", value_parser = parse_size)]
    bytes: Option<u64>,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    files: Vec<OsString>,
}

/// Runs `head`.
pub fn run(session: &mut Session, args: &HeadArgs) -> Run {
    let targets = session.targets(&args.files)?;
    let mut buffer = buffer();
    let several = targets.len() > 1;
    let mut first = true;
    for target in targets {
        let Some(file) = open_regular(session, &target) else { continue };
        if several {
            session.out.write_all(if first { b"==> " } else { b"\n==> " })?;
            let quoting = session.out.path_quoting();
            session.out.write_all(&quote(target.path.as_os_str().as_bytes(), quoting))?;
            session.out.write_all(b" <==\n")?;
        }
        first = false;
        let read = match args.bytes {
            Some(bytes) => {
                each_chunk(&file, 0..bytes, &mut buffer, &mut |b| Ok(session.out.write_all(b)?))?
            }
            None => lines(session, &file, args.lines, &mut buffer)?,
        };
        if let Err(e) = read {
            session.fail(&target.path, &e);
        }
    }
    Ok(())
}

/// Prints the first `left` lines.
fn lines(session: &mut Session, file: &File, mut left: u64, buffer: &mut [u8]) -> Run<rumpcap::Result<()>> {
    if left == 0 {
        return Ok(Ok(()));
    }
    // Lines are short as a rule: a whole chunk would be read in vain.
    let small = &mut buffer[..8192];
    let result = each_chunk(file, 0..u64::MAX, small, &mut |bytes| {
        let mut end = bytes.len();
        for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b'\n') {
            left -= 1;
            if left == 0 {
                end = at + 1;
                break;
            }
        }
        session.out.write_all(&bytes[..end])?;
        if left == 0 { Err(Stop::Done) } else { Ok(()) }
    });
    match result {
        Err(Stop::Done) => Ok(Ok(())),
        other => other,
    }
}
