//! `rumpcap mount`: mounts a file system as one of the host's, by FUSE, and serves it until it is unmounted.
//!
//! Reading order: [`run`]; `mount_options` has what `-o` may say. In the background (the usual case) the command starts itself again and
//! waits until that one says that the directory shows the file system, or has failed: its exit code is then the command's.

use super::mount_options::{MountOptions, parse};
use crate::args::WriteArgs;
use crate::outcome::{Run, Stop, plain};
use crate::session::{Session, Target};
use crate::units::parse_size;
use clap::Args;
use rumpcap::DataMode;
use rumpcap_fuse::{End, Woken};
use rustix::fd::AsFd;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Set for the one that the command starts in the background; it says on its standard output that it is ready.
const DETACHED: &str = "RUMPCAP_MOUNT_DETACHED";

const EXAMPLES: &str = "\
IMAGE is IMAGE or IMAGE@N. It is mounted to be read, unless --rw or -o rw says otherwise, and unmounted by \
`rumpcap umount`, `fusermount3 -u`, `umount`, or a signal to the process. Options of -o, with commas between: ro, rw, allow_other, \
default_permissions, nodefault_permissions, suid, dev, noexec, noatime, sync, dirsync, offset=, partition=, limit=, data=, \
errors=remount-ro, norecovery, fsname=, subtype=, threads=, request=, writeback_cache, entry_timeout=, attr_timeout=, \
negative_timeout=, grace=.

Examples:
  rumpcap mount disk.img /mnt
  rumpcap mount --rw --memory-limit 1m disk.img@2 /mnt
  rumpcap mount -f -o allow_other,limit=512k disk.img /srv/disk
  rumpcap umount /mnt";

/// Options of `mount`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct MountArgs {
    /// Mount it to be written
    #[arg(long)]
    rw: bool,
    /// Options in the manner of mount(8)
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<OsString>,
    /// Stay in the foreground
    #[arg(short = 'f', long)]
    foreground: bool,
    /// Others than who mounts may look
    #[arg(long)]
    allow_other: bool,
    /// Threads that serve
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    threads: u16,
    /// The most bytes of one read or write, 128k to 1m; each thread has a buffer of it
    #[arg(long, value_name = "SIZE", default_value = "256k", value_parser = parse_size)]
    request_size: u64,
    /// Let the host keep what is written for a while
    #[arg(long)]
    writeback_cache: bool,
    /// Seconds that clients have, once it is to be unmounted, before they are cut off
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    grace: u64,
    /// Do everything but mount: mount(8) asks for it
    #[arg(long, hide = true)]
    fake: bool,
    #[command(flatten)]
    write: WriteArgs,
    /// The image
    #[arg(value_name = "IMAGE")]
    image: OsString,
    /// Where it is to be seen
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Runs `mount`.
pub fn run(session: &mut Session, args: &MountArgs) -> Run {
    let options = options(args)?;
    if args.fake {
        return Ok(());
    }
    let detached = std::env::var_os(DETACHED).is_some();
    if !args.foreground && !detached {
        return in_background();
    }
    let directory = directory(&args.directory)?;
    session.set_kernel(options.limit, options.offset, options.no_recovery);
    session.watch_signals()?;
    let asked = signals().map_err(|e| Stop::Fatal(format!("signals: {}", plain(&e))))?;
    let image = image(args, &options);
    let target = if options.is_writable {
        session.writable(&image, WriteArgs { data: options.data, ..args.write })?
    } else {
        session.target(&image)?
    };
    serve(session, target, &directory, options, &asked, detached)
}

fn serve(
    session: &mut Session,
    target: Target,
    directory: &Path,
    options: MountOptions,
    asked: &UnixStream,
    detached: bool,
) -> Run {
    let mut fuse = options.fuse;
    if !target.mount.is_writable() {
        fuse.flags |= rumpcap_fuse::MountFlags::RDONLY;
    }
    let show = crate::quote::for_message(directory.as_os_str().as_bytes());
    let served = rumpcap_fuse::Session::start(target.mount, directory, &fuse)
        .map_err(|failure| Stop::Fatal(format!("{show}: {failure}")))?;
    if detached {
        detach(session)?;
    }
    notify(b"READY=1");
    let woken = served.wait(asked.as_fd()).map_err(|e| Stop::Fatal(plain(&e.into())))?;
    if woken == Woken::Asked {
        notify(b"STOPPING=1");
    }
    match served.end(options.grace) {
        End::Unmounted => Ok(()),
        End::BrokenOff => {
            session.say(format_args!("{show}: unmounted while it was in use"));
            Ok(())
        }
        End::Stuck => Stop::fatal(format!("{show}: the image does not answer; it needs recovery")),
    }
}

/// What the command line says in all.
fn options(args: &MountArgs) -> Run<MountOptions> {
    let mut options = MountOptions {
        is_writable: args.rw,
        data: DataMode::default(),
        grace: Duration::from_secs(args.grace),
        ..MountOptions::default()
    };
    options.fuse.allow_other = args.allow_other;
    options.fuse.threads = usize::from(args.threads);
    options.fuse.request_bytes = usize::try_from(args.request_size).unwrap_or(usize::MAX);
    options.fuse.writeback_cache = args.writeback_cache;
    options.fuse.source = source(&args.image);
    for text in &args.options {
        parse(text, &mut options).map_err(|message| Stop::Usage(format!("mount: {message}")))?;
    }
    let sizes = rumpcap_fuse::REQUEST_BYTES_MIN..=rumpcap_fuse::REQUEST_BYTES_MAX;
    if !sizes.contains(&options.fuse.request_bytes) || !options.fuse.request_bytes.is_multiple_of(4096) {
        return Stop::usage("mount: a request has 128k to 1m, in whole pages of 4k");
    }
    if options.fuse.allow_other && !options.fuse.default_permissions {
        return Stop::usage(
            "mount: allow_other without default_permissions would let everybody do everything",
        );
    }
    Ok(options)
}

/// What `mount` and `df` show as the device: the image by its whole path, so that it can be found again.
fn source(image: &OsStr) -> OsString {
    std::fs::canonicalize(image).map_or_else(|_| image.to_owned(), PathBuf::into_os_string)
}

fn image(args: &MountArgs, options: &MountOptions) -> OsString {
    let mut image = args.image.clone();
    if let Some(number) = options.partition {
        image.push(format!("@{number}"));
    }
    image
}

fn directory(path: &Path) -> Run<PathBuf> {
    let show = || crate::quote::for_message(path.as_os_str().as_bytes());
    let whole = std::fs::canonicalize(path).map_err(|e| Stop::Fatal(format!("{}: {}", show(), plain(&e))))?;
    if !whole.is_dir() {
        return Stop::fatal(format!("{}: not a directory", show()));
    }
    Ok(whole)
}

/// A stream that has something to read when a signal has come that asks for the end.
fn signals() -> std::io::Result<UnixStream> {
    let (asked, asking) = UnixStream::pair()?;
    for number in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::low_level::pipe::register(number, asking.try_clone()?)?;
    }
    Ok(asked)
}

/// Starts the command again, and waits until it is ready or has failed.
fn in_background() -> Run {
    let failed = |e: std::io::Error| Stop::Fatal(format!("background: {}", plain(&e)));
    let mut args = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(args.next().unwrap_or_default()).args(args);
    let mut child =
        command.env(DETACHED, "1").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut word = [0; 1];
    let ready = child.stdout.take().is_some_and(|mut out| out.read_exact(&mut word).is_ok());
    if ready {
        return Ok(());
    }
    let status = child.wait().map_err(failed)?;
    Err(Stop::Code(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Says that it is ready, and lets go of the terminal. Messages go on into a file, if that is where they go.
fn detach(session: &mut Session) -> Run {
    let failed = |e: rustix::io::Errno| Stop::Fatal(format!("background: {}", plain(&e.into())));
    let _ = rustix::process::setsid();
    rustix::process::chdir("/").map_err(failed)?;
    session.out.write_all(b"+")?;
    session.out.flush()?;
    let null = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null).map_err(failed)?;
    let is_file = rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file());
    if !is_file {
        rustix::stdio::dup2_stderr(&null).map_err(failed)?;
    }
    Ok(())
}

/// Tells the service manager that has started the command, if there is one.
fn notify(word: &[u8]) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    // Who does not listen is not told.
    let _ = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(word, &address));
}
