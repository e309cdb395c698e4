//! `rumpcap batch`: the commands of a script, in an image that is mounted once.

use crate::args::WriteArgs;
use crate::interrupt::Input;
use crate::outcome::{Run, Stop, plain};
use crate::quote::for_message;
use crate::script::{Line, run_line};
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes of the longest line: longer than any that a person writes, and bounded.
const LINE_BYTES_MAX: u64 = 1 << 20;

const EXAMPLES: &str = "\
A line is a command of rumpcap without the image; `rumpcap shell` has the rules. Quotes and backslashes are those of a shell, # begins \
a comment. The first line that fails ends the script, and its number is said; what was done until then stays. The image is \
mounted once, and synced at the end.

Examples:
  rumpcap batch disk.img setup.txt
  printf '%s\\n' 'mkdir -p etc' 'cp fstab :etc' 'chmod 600 etc/fstab' | rumpcap batch disk.img";

/// Options of `batch`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct BatchArgs {
    /// Go on behind a line that fails
    #[arg(short = 'k', long)]
    keep_going: bool,
    /// Only read the image; commands that write fail
    #[arg(long)]
    read_only: bool,
    #[command(flatten)]
    write: WriteArgs,
    /// The image
    #[arg(value_name = "IMAGE[:PATH]")]
    image: OsString,
    /// The script; standard input if it is `-` or left out
    script: Option<PathBuf>,
}

/// Runs `batch`.
pub fn run(session: &mut Session, args: &BatchArgs) -> Run {
    let script = args.script.as_deref().filter(|path| *path != Path::new("-"));
    let name =
        script.map_or_else(|| "standard input".to_owned(), |path| for_message(path.as_os_str().as_bytes()));
    // What is not there is said before the image is touched.
    let file = script.map(File::open).transpose();
    let file = file.map_err(|e| Stop::Fatal(format!("{name}: {}", plain(&e))))?;
    let target = if args.read_only {
        session.target(&args.image)?
    } else {
        session.writable(&args.image, args.write)?
    };
    session.set_within(Some(target));
    let interrupt = session.interrupt().cloned();
    let end = match file {
        Some(file) => lines(session, args, &name, BufReader::new(Input::new(file, interrupt))),
        None => {
            session.take_input_for_script();
            lines(session, args, &name, BufReader::new(Input::new(std::io::stdin().lock(), interrupt)))
        }
    };
    session.set_context(None);
    session.set_within(None);
    end
}

fn lines(session: &mut Session, args: &BatchArgs, name: &str, mut script: impl BufRead) -> Run {
    let mut line = Vec::new();
    for number in 1u64.. {
        session.check_interrupt()?;
        line.clear();
        let read = (&mut script).take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if let Err(e) = read {
            session.check_interrupt()?;
            return Stop::fatal(format!("{name}: {}", plain(&e)));
        }
        if line.is_empty() {
            break;
        }
        session.set_context(Some(format!("{name}:{number}")));
        if line.len() as u64 == LINE_BYTES_MAX {
            return Stop::fatal("a line that is too long");
        }
        match run_line(session, &line)? {
            Line::Done => {}
            Line::Failed if args.keep_going => {}
            Line::Failed | Line::Exit => break,
        }
    }
    Ok(())
}
