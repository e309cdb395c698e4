//! `rumpcap write`: writes standard input, a file of the host or a text into a file.

use crate::args::{OwnerArgs, WriteArgs};
use crate::content::buffer;
use crate::interrupt::Input;
use crate::modes::umask;
use crate::outcome::{Run, Stop, plain};
use crate::progress::Place;
use crate::quote::for_message;
use crate::session::{Session, Target};
use crate::units::parse_offset;
use clap::Args;
use rumpcap::File;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Without --create the file must be there; without --truncate what is not written over stays.

Examples:
  rumpcap write --create --truncate disk.img:/etc/hostname < hostname
  rumpcap write --text 'nameserver ::1' --create --truncate disk.img:/etc/resolv.conf
  rumpcap write --at 1m disk.img:/boot/stage2 < stage2
  date | rumpcap write --append disk.img:/var/log/build";

/// Options of `write`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct WriteFileArgs {
    /// Byte of the file where writing begins: bytes, or with k, m, g, t, or s for sectors of 512
    #[arg(long, value_name = "BYTES", value_parser = parse_offset, conflicts_with = "append")]
    at: Option<u64>,
    /// Begin at its end
    #[arg(short = 'a', long)]
    append: bool,
    /// Make the file if it is not there
    #[arg(short = 'c', long)]
    create: bool,
    /// Cut the file at the end of what was written
    #[arg(short = 't', long, conflicts_with = "append")]
    truncate: bool,
    /// Read from this file of the host instead of standard input
    #[arg(short = 'i', long, value_name = "FILE", conflicts_with = "text")]
    input: Option<PathBuf>,
    /// Write this text and a newline
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<OsString>,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// The file
    #[arg(value_name = "IMAGE:PATH")]
    file: OsString,
}

/// Runs `write`.
pub fn run(session: &mut Session, args: &WriteFileArgs) -> Run {
    if args.text.is_none() && args.input.is_none() && session.input_is_script() {
        return Stop::usage("write: standard input is the script; use --input or --text");
    }
    let target = session.writable(&args.file, args.write)?;
    let opened = match args.create {
        true => target.mount.open_or_create(&target.path, &args.owner.with_mode(0o666 & !umask())),
        false => target.mount.open(&target.path),
    };
    let begun = opened.and_then(|file| {
        let start = if args.append { file.metadata()?.len() } else { args.at.unwrap_or(0) };
        Ok((file, start))
    });
    let (file, start) = match begun {
        Ok(begun) => begun,
        Err(e) => {
            session.fail(&target.path, &e);
            return Ok(());
        }
    };
    match &args.text {
        Some(text) => {
            let mut line = text.clone().into_vec();
            line.push(b'\n');
            copy(session, args, &target, &file, start, &mut line.as_slice(), "text")
        }
        None => match &args.input {
            Some(path) => {
                let name = for_message(path.as_os_str().as_bytes());
                let input =
                    std::fs::File::open(path).map_err(|e| Stop::Fatal(format!("{name}: {}", plain(&e))))?;
                let mut input = Input::new(input, session.interrupt().cloned());
                copy(session, args, &target, &file, start, &mut input, &name)
            }
            None => {
                let mut input = Input::new(std::io::stdin().lock(), session.interrupt().cloned());
                copy(session, args, &target, &file, start, &mut input, "standard input")
            }
        },
    }
}

/// Writes all of `input`; what is written when something fails stays.
fn copy(
    session: &mut Session,
    args: &WriteFileArgs,
    target: &Target,
    file: &File,
    start: u64,
    input: &mut dyn Read,
    input_name: &str,
) -> Run {
    let mut progress = session.progress(Place::Free)?;
    let mut buffer = buffer();
    let mut at = start;
    loop {
        session.check_interrupt()?;
        let len = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => {
                session.check_interrupt()?;
                return Stop::fatal(format!("{input_name}: {}", plain(&e)));
            }
        };
        if let Err(e) = file.write_at(&buffer[..len], at) {
            session.fail(&target.path, &e);
            return Ok(());
        }
        at += len as u64;
        progress.bytes(len as u64);
    }
    if args.truncate
        && let Err(e) = file.set_len(at)
    {
        session.fail(&target.path, &e);
    }
    Ok(())
}
