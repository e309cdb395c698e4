//! `rumpcap fallocate`: allocates, punches or zeroes a range of a file.

use crate::args::{OwnerArgs, WriteArgs};
use crate::modes::umask;
use crate::outcome::Run;
use crate::session::{Session, Target};
use crate::units::parse_offset;
use clap::Args;
use rumpcap::{Allocate, Error};
use std::ffi::OsString;

const EXAMPLES: &str = "\
Allocated space reads as zeros; it needs a file that is mapped by extents.

Examples:
  rumpcap fallocate -l 64m disk.img:/swapfile
  rumpcap fallocate --punch-hole --at 1m -l 1m disk.img:/var/lib/disk.raw";

/// Options of `fallocate`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct FallocateArgs {
    /// First byte: bytes, or with k, m, g, t, or s for sectors of 512
    #[arg(short = 'o', long = "at", value_name = "BYTES", value_parser = parse_offset, default_value = "0")]
    at: u64,
    /// Bytes of the range
    #[arg(short = 'l', long, value_name = "BYTES", value_parser = parse_offset)]
    length: u64,
    /// The length of the file stays, also where the range goes beyond it
    #[arg(short = 'n', long)]
    keep_size: bool,
    /// Make the range a hole
    #[arg(short = 'p', long)]
    punch_hole: bool,
    /// Make the range zeros
    #[arg(short = 'z', long, conflicts_with = "punch_hole")]
    zero_range: bool,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// The file; it is made if it is not there
    #[arg(value_name = "IMAGE:PATH")]
    file: OsString,
}

/// Runs `fallocate`.
pub fn run(session: &mut Session, args: &FallocateArgs) -> Run {
    let target = session.writable(&args.file, args.write)?;
    if let Err(e) = fallocate(args, &target) {
        session.fail(&target.path, &e);
    }
    Ok(())
}

fn fallocate(args: &FallocateArgs, target: &Target) -> rumpcap::Result<()> {
    let end = args.at.checked_add(args.length).ok_or(Error::FileTooLarge)?;
    let owner = args.owner.with_mode(0o666 & !umask());
    let file = target.mount.open_or_create(&target.path, &owner)?;
    let range = args.at..end;
    if args.punch_hole {
        return file.punch_hole(range);
    }
    if args.zero_range {
        if !args.keep_size && file.metadata()?.len() < end {
            file.set_len(end)?;
        }
        return file.zero_range(range);
    }
    file.allocate(range, if args.keep_size { Allocate::KeepSize } else { Allocate::Extend })
}
