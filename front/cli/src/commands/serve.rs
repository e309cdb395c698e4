//! `rumpcap serve`: a directory of an image for NFSv3 clients, until a signal ends it.

use crate::args::WriteArgs;
use crate::outcome::{Run, Stop, plain};
use crate::quote;
use crate::session::Session;
use crate::units::{human, parse_size};
use clap::{Args, ValueEnum};
use rumpcap_nfs::{
    Key, Network, Options, Owner, Ports, Refused, Server, Squash, Stability, StartError, Writes,
};
use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Clients are believed who their users are. So only this machine may connect, from ports of its superuser, and can \
change nothing, unless options say otherwise.

Examples:
  rumpcap serve disk.img --nfs 127.0.0.1:2049
  mount -t nfs -o vers=3,tcp,port=2049,mountport=2049,nolock 127.0.0.1:/ /mnt
  rumpcap serve disk.img@2:/srv --nfs 0.0.0.0:2049 --rw --allow 10.1.0.0/16
  rumpcap serve disk.img --nfs 127.0.0.1:20490 --insecure
  nfs-ls 'nfs://127.0.0.1/?nfsport=20490&mountport=20490'";

/// How many clients that are sent away are named; the others are not, so that nobody fills a log.
const REFUSALS_SAID_MAX: u64 = 20;

/// Options of `serve`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Serve NFSv3 and MOUNT at this address and port; 0 for a port that the system chooses
    #[arg(long, value_name = "ADDRESS:PORT")]
    nfs: SocketAddr,
    /// Let clients change the image
    #[arg(long)]
    rw: bool,
    /// Who may connect; may be repeated. Without it, this machine
    #[arg(long, value_name = "ADDRESS[/BITS]")]
    allow: Vec<Network>,
    /// Which users of clients are nobody here
    #[arg(long, value_name = "WHO", default_value = "root")]
    squash: SquashArg,
    /// Who nobody is
    #[arg(long, value_name = "UID:GID", default_value = "65534:65534", value_parser = crate::args::parse_owner)]
    anonymous: (u32, u32),
    /// Let clients come from any port, so that any user of their machines can say to be any other
    #[arg(long)]
    insecure: bool,
    /// Answer before changes of names and attributes are durable, which the protocol forbids; a power cut takes some seconds
    #[arg(long = "async")]
    is_async: bool,
    /// Connections at once
    #[arg(long, value_name = "N", default_value = "16")]
    connections: usize,
    /// The most bytes of one read or write: 4k to 1m
    #[arg(long, value_name = "SIZE", default_value = "64k", value_parser = parse_size)]
    transfer_size: u64,
    /// Where the key of file handles is kept; without it $XDG_STATE_HOME/rumpcap, or ~/.local/state/rumpcap
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    write: WriteArgs,
    /// The image, or a directory in it
    #[arg(value_name = "IMAGE[:PATH]")]
    image: OsString,
}

/// Which users of clients are nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SquashArg {
    /// The superuser
    Root,
    /// All
    All,
    /// None
    None,
}

/// Runs `serve`.
pub fn run(session: &mut Session, args: &ServeArgs) -> Run {
    if session.within().is_some() {
        return Stop::usage("serve: not within an image that is open");
    }
    let options = options(args)?;
    let target = if args.rw {
        session.writable(&args.image, args.write)?
    } else {
        session.watch_signals()?;
        session.target(&args.image)?
    };
    let key = Key::kept_in(&state_dir(args)?).map_err(|e| Stop::Fatal(e.to_string()))?;
    let options = Options { export: target.path.as_os_str().as_bytes().to_vec(), ..options };
    let server = Server::bind(target.mount, args.nfs, &key, options).map_err(|e| match e {
        StartError::Option(what) => Stop::Usage(format!("serve: {what}")),
        e => Stop::Fatal(e.to_string()),
    })?;
    announce(session, args, &server)?;
    serve(session, &server)
}

fn options(args: &ServeArgs) -> Run<Options> {
    if args.allow.is_empty() && !args.nfs.ip().is_loopback() {
        return Stop::usage("serve: others can come to this address: --allow says who may");
    }
    let transfer_bytes = usize::try_from(args.transfer_size).unwrap_or(usize::MAX);
    let (uid, gid) = args.anonymous;
    Ok(Options {
        allow: if args.allow.is_empty() { Network::LOOPBACK.to_vec() } else { args.allow.clone() },
        writes: if args.rw { Writes::Served } else { Writes::Refused },
        squash: match args.squash {
            SquashArg::Root => Squash::Root,
            SquashArg::All => Squash::All,
            SquashArg::None => Squash::None,
        },
        anonymous: Owner { uid, gid },
        ports: if args.insecure { Ports::Any } else { Ports::Privileged },
        stability: if args.is_async { Stability::Async } else { Stability::Sync },
        connections_max: args.connections,
        transfer_bytes,
        ..Options::default()
    })
}

fn state_dir(args: &ServeArgs) -> Run<PathBuf> {
    if let Some(directory) = &args.state_dir {
        return Ok(directory.clone());
    }
    // The specification has relative paths ignored.
    let absolute =
        |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
    let state = absolute("XDG_STATE_HOME").or_else(|| Some(absolute("HOME")?.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("rumpcap")),
        None => {
            Stop::usage("serve: no home directory: --state-dir says where the key of file handles is kept")
        }
    }
}

/// Says what is served, where, to whom, and how to come to it.
fn announce(session: &mut Session, args: &ServeArgs, server: &Server) -> Run {
    let (address, options) = (server.address(), server.options());
    let export = quote::for_message(&options.export);
    let how = if server.is_writable() { "read-write" } else { "read-only" };
    let allowed: Vec<String> = options.allow.iter().map(ToString::to_string).collect();
    let image = quote::for_message(args.image.as_bytes());
    let (host, port) = (host(address), address.port());
    let transfer = options.transfer_bytes;
    writeln!(session.out, "{image}: {export} is served {how} at {address} to {}", allowed.join(" "))?;
    writeln!(
        session.out,
        "mount -t nfs -o vers=3,tcp,port={port},mountport={port},nolock,rsize={transfer},wsize={transfer} {host}:{export} DIRECTORY"
    )?;
    session.out.flush()?;
    if session.options().verbose > 0 {
        let most = human(Server::memory_bytes_max(options) as u64);
        session.say(format_args!("buffers take {most} at most, beside the kernel's limit"));
    }
    Ok(())
}

/// Where clients of this machine find it.
fn host(address: SocketAddr) -> String {
    match address.ip() {
        ip if ip.is_unspecified() => "HOST".to_owned(),
        ip if ip.is_ipv6() => format!("[{ip}]"),
        ip => ip.to_string(),
    }
}

/// Serves until a signal comes: that is how it ends, and no failure.
fn serve(session: &mut Session, server: &Server) -> Run {
    let interrupt = session.interrupt().cloned();
    let mut stop = || interrupt.as_ref().is_some_and(|interrupt| interrupt.check().is_err());
    let mut said = 0;
    let mut refused = |why| {
        said += 1;
        match (said, why) {
            (..=REFUSALS_SAID_MAX, Refused::Address(client)) => {
                session.say(format_args!("{client} is not allowed (--allow)"));
            }
            (..=REFUSALS_SAID_MAX, Refused::Port(client)) => {
                session.say(format_args!("{client} is not a superuser's port (--insecure)"));
            }
            (..=REFUSALS_SAID_MAX, Refused::Full(client)) => {
                session.say(format_args!("{client}: all connections are busy (--connections)"));
            }
            _ => {}
        }
    };
    server.run(&mut stop, &mut refused).map_err(|e| Stop::Fatal(format!("listening: {}", plain(&e))))
}
