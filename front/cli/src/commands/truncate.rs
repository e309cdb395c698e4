//! `rumpcap truncate`: sets the length of files.

use crate::args::{OwnerArgs, WriteArgs};
use crate::modes::umask;
use crate::outcome::Run;
use crate::session::{Session, Target};
use crate::units::parse_size;
use clap::Args;
use rumpcap::Error;
use std::ffi::OsString;

const EXAMPLES: &str = "\
SIZE is in bytes, or with k, m, g, t. With a sign in front it is: +N longer by N, -N shorter by N, <N at most N, >N at least N, \
/N rounded down to a multiple of N, %N rounded up. What a file becomes longer by is a hole.

Examples:
  rumpcap truncate -s 0 disk.img:/var/log/syslog
  rumpcap truncate -s %1m disk.img:/swapfile";

/// Options of `truncate`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct TruncateArgs {
    /// The length, or how it changes
    #[arg(short = 's', long, value_name = "SIZE", value_parser = parse_resize, allow_hyphen_values = true)]
    size: Resize,
    /// Make no file
    #[arg(short = 'c', long)]
    no_create: bool,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// How a length changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resize {
    To(u64),
    By(i128),
    AtMost(u64),
    AtLeast(u64),
    Down(u64),
    Up(u64),
}

fn parse_resize(text: &str) -> Result<Resize, String> {
    let mut rest = text.chars();
    let sign = rest.next().filter(|c| "+-<>/%".contains(*c));
    let size = parse_size(if sign.is_some() { rest.as_str() } else { text })?;
    match (sign, size) {
        (Some('/' | '%'), 0) => Err("a multiple of nothing".to_owned()),
        (Some('+'), _) => Ok(Resize::By(size.into())),
        (Some('-'), _) => Ok(Resize::By(-i128::from(size))),
        (Some('<'), _) => Ok(Resize::AtMost(size)),
        (Some('>'), _) => Ok(Resize::AtLeast(size)),
        (Some('/'), _) => Ok(Resize::Down(size)),
        (Some(_), _) => Ok(Resize::Up(size)),
        (None, _) => Ok(Resize::To(size)),
    }
}

impl Resize {
    fn of(self, len: u64) -> rumpcap::Result<u64> {
        let new = match self {
            Resize::To(size) => size.into(),
            Resize::By(by) => (i128::from(len) + by).max(0),
            Resize::AtMost(size) => len.min(size).into(),
            Resize::AtLeast(size) => len.max(size).into(),
            Resize::Down(size) => (len - len % size).into(),
            Resize::Up(size) => i128::from(len.div_ceil(size)) * i128::from(size),
        };
        u64::try_from(new).map_err(|_| Error::FileTooLarge)
    }
}

/// Runs `truncate`.
pub fn run(session: &mut Session, args: &TruncateArgs) -> Run {
    for target in session.all_writable(&args.paths, args.write)? {
        session.check_interrupt()?;
        if let Err(e) = truncate(args, &target) {
            session.fail(&target.path, &e);
        }
    }
    Ok(())
}

fn truncate(args: &TruncateArgs, target: &Target) -> rumpcap::Result<()> {
    let file = if args.no_create {
        match target.mount.open(&target.path) {
            Err(Error::NotFound) => return Ok(()),
            opened => opened?,
        }
    } else {
        target.mount.open_or_create(&target.path, &args.owner.with_mode(0o666 & !umask()))?
    };
    file.set_len(args.size.of(file.metadata()?.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_signs() {
        let of = |text: &str, len| parse_resize(text).unwrap().of(len);
        assert_eq!(of("5", 7), Ok(5));
        assert_eq!((of("+1k", 7), of("-3", 7), of("-9", 7)), (Ok(1031), Ok(4), Ok(0)));
        assert_eq!((of("<5", 7), of(">5", 7), of("/5", 7), of("%5", 7)), (Ok(5), Ok(7), Ok(5), Ok(10)));
        assert_eq!(of("+1", u64::MAX), Err(Error::FileTooLarge));
        for bad in ["", "+", "/0", "x", "--1"] {
            assert!(parse_resize(bad).is_err(), "{bad}");
        }
    }
}
