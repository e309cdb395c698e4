//! `rumpcap fsck -n`: tells what is inconsistent in a file system. There is no repair, and nothing is written.
//!
//! Whom it calls: `Mount::check`. When the primary super block cannot be used, the copies are tried at the places where the file system's
//! tools put the first of them.

use crate::address::{self, Address};
use crate::args::Cli;
use crate::images;
use crate::outcome::{Run, Stop};
use crate::progress::{Place, Progress};
use crate::quote;
use crate::session::Session;
use clap::{Args, CommandFactory};
use rumpcap::block::BlockDevice;
use rumpcap::check::{Event, Severity, Summary};
use rumpcap::{Error, Kernel, Mount, MountOptions};
use std::ffi::OsString;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

const EXAMPLES: &str = "\
Each finding is a line: where, and what; notes, which are no errors, begin with \"note:\". The last line tells how much is in use. \
A journal that needs to be replayed is, into a temporary file, before the check; --ignore-journal checks the image as it is.

Exit status:
  0    no errors
  4    errors were found, and are still there
  8    the check could not be done
  16   the command line was wrong, or asked for repair

Examples:
  rumpcap fsck -n disk.img
  rumpcap --memory-limit 512k fsck -n disk.img@2";

/// Errors were found.
const ERRORS_FOUND: u8 = 4;
/// The check could not be done.
const FAILED: u8 = 8;
/// The command line makes no sense.
const USAGE: u8 = 16;

/// Options of `fsck`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct FsckArgs {
    /// Change nothing (needed: repair is not there)
    #[arg(short = 'n', long)]
    no_changes: bool,
    /// Leave notes away: print errors only
    #[arg(short, long)]
    quiet: bool,
    /// The image, or one partition of it
    #[arg(value_name = "IMAGE[@N]")]
    image: OsString,
}

/// Runs `fsck`.
pub fn run(session: &mut Session, args: &FsckArgs) -> Run {
    if !args.no_changes {
        session.say(format_args!("fsck: repair is not there; -n checks without a change"));
        return Err(Stop::Code(USAGE));
    }
    let address = address::parse(&args.image);
    let (mount, is_primary_broken) = match open(session, &address) {
        Ok(opened) => opened,
        Err(Stop::Fatal(message)) => {
            session.say(format_args!("{message}"));
            return Err(Stop::Code(FAILED));
        }
        Err(Stop::Usage(message)) => {
            session.say(format_args!("{message}"));
            return Err(Stop::Code(USAGE));
        }
        Err(stop) => return Err(stop),
    };
    let place = if session.out.is_terminal() { Place::Taken } else { Place::Free };
    let progress = session.progress(place)?;
    let mut printer = Printer { progress, failure: None, is_quiet: args.quiet };
    let result = mount.check(&mut |event| printer.event(session, event));
    let Printer { progress, failure, .. } = printer;
    drop(progress);
    if let Some(failure) = failure {
        return Err(failure.into());
    }
    let summary = match result {
        Ok(summary) => summary,
        Err(error) => {
            session.out.flush()?;
            session.fail(address.image.as_path(), &error);
            return Err(Stop::Code(FAILED));
        }
    };
    last_line(session, &address, &summary)?;
    session.out.flush()?;
    match summary.errors > 0 || is_primary_broken {
        true => Err(Stop::Code(ERRORS_FOUND)),
        false => Ok(()),
    }
}

/// Ends the process for a command line that makes no sense: with this command's own code where it was meant, as programs that
/// call `fsck` expect it; else with clap's.
pub fn exit_of_usage(error: &clap::Error) -> ! {
    let matches = Cli::command().ignore_errors(true).try_get_matches();
    let is_meant = matches.is_ok_and(|matches| matches.subcommand_name() == Some("fsck"));
    if !(is_meant && error.use_stderr()) {
        error.exit();
    }
    // Nothing can be done when standard error itself fails.
    let _ = error.print();
    std::process::exit(USAGE.into())
}

/// Prints what a check tells.
struct Printer {
    progress: Progress,
    failure: Option<io::Error>,
    is_quiet: bool,
}

impl Printer {
    fn event(&mut self, session: &mut Session, event: Event<'_>) -> ControlFlow<()> {
        let finding = match event {
            Event::Finding(finding) => finding,
            Event::Progress { pass, done, total } => {
                self.progress.pass(pass, done, total);
                return ControlFlow::Continue(());
            }
        };
        let printed = match finding.severity {
            Severity::Error => writeln!(session.out, "{finding}"),
            Severity::Note if self.is_quiet => Ok(()),
            Severity::Note => writeln!(session.out, "note: {finding}"),
        };
        match printed {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failure = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

fn last_line(session: &mut Session, address: &Address, summary: &Summary) -> Run {
    let Summary { errors, inodes_used, inodes, blocks_used, blocks, .. } = *summary;
    let image = quote::for_message(address.image.as_os_str().as_bytes());
    let found = match errors {
        0 => String::new(),
        1 => "1 error, ".to_owned(),
        n => format!("{n} errors, "),
    };
    Ok(writeln!(session.out, "{image}: {found}{inodes_used}/{inodes} files, {blocks_used}/{blocks} blocks")?)
}

/// Mounts the file system, by a copy of its super block if need be; tells whether it took one.
fn open(session: &mut Session, address: &Address) -> Run<(Mount, bool)> {
    let kernel = session.kernel()?;
    let (number, error) = match images::mount_or_broken(session, &kernel, &address.image, address.partition)?
    {
        Ok(mount) => return Ok((mount, false)),
        Err(broken) => broken,
    };
    let failed = images::failed(&address.image, number, &error);
    let is_super_block =
        matches!(error, Error::Corrupt { .. } | Error::Checksum { .. } | Error::NotAFileSystem);
    if !is_super_block {
        return Err(failed);
    }
    let device = images::device(session, &address.image, number)?;
    let Some((offset, mount)) = by_copy(session, &kernel, &device) else { return Err(failed) };
    writeln!(session.out, "super block: {error}; the copy at byte {offset} is used")?;
    Ok((mount, true))
}

/// Mounts by the first copy of the super block that can be used: those of the second group, for every size of blocks.
fn by_copy(session: &Session, kernel: &Kernel, device: &Arc<dyn BlockDevice>) -> Option<(u64, Mount)> {
    let offsets = (10..=16).flat_map(|log: u32| {
        let first = u64::from(log == 10);
        let blocks_per_group = 8u64 << log;
        [1, 3].map(|group| (first + group * blocks_per_group) << log)
    });
    offsets.filter(|offset| offset + 1024 <= device.len_bytes()).find_map(|offset| {
        let options = MountOptions {
            ignore_journal: session.options().ignore_journal,
            super_block_offset: Some(offset),
            ..MountOptions::default()
        };
        kernel.mount(device.clone(), &options).ok().map(|mount| (offset, mount))
    })
}
