//! Why a server does not start.

use std::io;
use std::path::PathBuf;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The host refused a file.
    #[error("{}: {error}", path.display())]
    Host {
        /// The file.
        path: PathBuf,
        /// What the host said.
        error: io::Error,
    },
    /// The host has no random numbers.
    #[error("no random numbers: {0}")]
    NoRandom(io::Error),
    /// Others may read or write it.
    #[error("{}: others may read it, so it is no secret any more: remove it, and clients mount again", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{}: not a key", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The address cannot be listened at.
    #[error("{address}: {error}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the host said.
        error: io::Error,
    },
    /// There is no such directory to export.
    #[error("{}: {error}", String::from_utf8_lossy(path))]
    Export {
        /// The path in the file system.
        path: Vec<u8>,
        /// What is wrong with it.
        error: rumpcap::Error,
    },
    /// An option makes no sense; says which.
    #[error("{0}")]
    Option(&'static str),
}
