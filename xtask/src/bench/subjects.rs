//! Who takes part: the library at each limit, the peers in each configuration, the kernel, plain pread. Builds their programs.
//!
//! Who calls it: `bench`, `measure`. Whom it calls: cargo.
//! Failure: the library must build; without the peers (no network, say) the rest is measured, and said so.

use super::child::Program;
use crate::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A memory limit; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Limit(pub(crate) Option<u64>);

impl Limit {
    pub(crate) const K256: Limit = Limit(Some(256 << 10));
    pub(crate) const K512: Limit = Limit(Some(512 << 10));
    pub(crate) const K600: Limit = Limit(Some(600 << 10));
    pub(crate) const M1: Limit = Limit(Some(1 << 20));
    pub(crate) const NONE: Limit = Limit(None);
    /// All that are measured.
    pub(crate) const ALL: [Limit; 8] = [
        Limit::K256,
        Limit::K512,
        Limit::K600,
        Limit::M1,
        Limit(Some(2 << 20)),
        Limit(Some(4 << 20)),
        Limit(Some(16 << 20)),
        Limit::NONE,
    ];
    /// Those that a target speaks of.
    pub(crate) const QUICK: [Limit; 5] = [Limit::K256, Limit::K512, Limit::K600, Limit::M1, Limit::NONE];

    /// `512 KiB`, `no limit`.
    pub(crate) fn name(self) -> String {
        match self.0 {
            None => "no limit".to_owned(),
            Some(bytes) if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
            Some(bytes) => format!("{} KiB", bytes >> 10),
        }
    }
}

/// One that does the work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// Our library.
    Library(Limit),
    /// A peer: its crate, and the configuration.
    Peer(&'static str, &'static str),
    /// The kernel's ext4.
    Kernel,
    /// Plain pread of the image.
    Pread,
}

impl Subject {
    /// Its name in tables.
    pub(crate) fn name(&self) -> String {
        match self {
            Subject::Library(limit) => format!("rumpcap, {}", limit.name()),
            Subject::Peer(peer, configuration) => format!("{peer} ({configuration})"),
            Subject::Kernel => "kernel ext4, loop mount".to_owned(),
            Subject::Pread => "plain pread".to_owned(),
        }
    }

    /// Whether it is one of the peers.
    pub(crate) fn is_peer(&self) -> bool {
        matches!(self, Subject::Peer(..))
    }
}

/// One of the peers.
struct Peer {
    /// Its crate.
    name: &'static str,
    program: &'static str,
    configurations: &'static [Configuration],
}

/// A name and the arguments that ask for it.
type Configuration = (&'static str, &'static [&'static str]);

const PEERS: [Peer; 4] = [
    Peer {
        name: "ext4-view",
        program: "ext4_view",
        configurations: &[("its own cache", &[]), ("4 KiB cache below", &["--reader=blocks"])],
    },
    Peer {
        name: "ext4plus",
        program: "ext4plus",
        configurations: &[("direct", &[]), ("4 KiB cache below", &["--reader=blocks"])],
    },
    Peer {
        name: "rsext4",
        program: "rsext4",
        configurations: &[
            ("direct", &[]),
            ("4 KiB cache below", &["--reader=blocks"]),
            ("64 KiB cache below", &["--reader=cache"]),
        ],
    },
    Peer {
        name: "rust-fs-ext4",
        program: "rust_fs_ext4",
        configurations: &[
            ("default cache", &[]),
            ("cache of 1 GiB", &["--blocks=262144"]),
            ("no cache", &["--blocks=0"]),
        ],
    },
];

/// All that take part, with their programs.
pub(crate) struct Subjects {
    library: PathBuf,
    /// The folder of the peers' programs; `None` when they could not be built.
    peers: Option<PathBuf>,
}

impl Subjects {
    /// Builds the programs.
    pub(crate) fn build(root: &Path, target: &Path, with_peers: bool) -> Result<Subjects> {
        let mut library = cargo(root, target);
        library.args(["--package", "rumpcap", "--example", "bench"]);
        succeed(&mut library)?;
        let peers_target = target.join("bench").join("peers");
        let mut peers = cargo(root, &peers_target);
        peers.arg("--locked").arg("--manifest-path").arg(root.join("bench/peers/Cargo.toml"));
        let peers_built = with_peers && succeed(&mut peers).map_err(|e| eprintln!("no peers: {e}")).is_ok();
        Ok(Subjects {
            library: target.join("release/examples/bench"),
            peers: peers_built.then(|| peers_target.join("release")),
        })
    }

    /// Its program; `None` when it was not built.
    pub(crate) fn program(&self, subject: &Subject) -> Option<Program> {
        let peer = |name: &str, arguments: &[&str]| {
            let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
            Some(Program { path: self.peers.as_ref()?.join(name), arguments })
        };
        match subject {
            Subject::Library(limit) => {
                let arguments = limit.0.iter().map(|bytes| format!("--limit={bytes}")).collect();
                Some(Program { path: self.library.clone(), arguments })
            }
            Subject::Peer(name, configuration) => {
                let of = PEERS.iter().find(|peer| peer.name == *name)?;
                let (_, arguments) = of.configurations.iter().find(|(name, _)| name == configuration)?;
                peer(of.program, arguments)
            }
            Subject::Kernel => peer("kernel_loop", &[]),
            Subject::Pread => peer("pread", &[]),
        }
    }
}

/// Every peer in every configuration.
pub(crate) fn peers() -> Vec<Subject> {
    let each = |peer: &Peer| {
        let name = peer.name;
        peer.configurations.iter().map(move |&(configuration, _)| Subject::Peer(name, configuration))
    };
    PEERS.iter().flat_map(each).collect()
}

/// The version of a peer, as its manifest pins it.
pub(crate) fn version(root: &Path, peer: &str) -> String {
    let manifest = std::fs::read_to_string(root.join("bench/peers/Cargo.toml")).unwrap_or_default();
    let line = manifest.lines().find(|line| line.split('=').next().is_some_and(|name| name.trim() == peer));
    let pinned = line.and_then(|line| line.split("\"=").nth(1)?.split('"').next());
    pinned.unwrap_or("of unknown version").to_owned()
}

fn cargo(root: &Path, target: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--release", "--target-dir"]).arg(target).current_dir(root);
    command
}

fn succeed(command: &mut Command) -> Result {
    let status = command.status().map_err(|e| format!("cargo: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}
