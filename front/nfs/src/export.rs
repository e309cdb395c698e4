//! [`Export`]: a directory of a mount as it is served: all that calls share.
//!
//! Locks, outermost first: `stripes`; then the kernel's. `durable` and `duplicates` are taken with none held.

use crate::duplicates::Duplicates;
use crate::error::StartError;
use crate::handle::Handles;
use crate::key::Key;
use crate::options::{Options, Writes};
use crate::stability::Durable;
use crate::stripes::Stripes;
use rumpcap::{FileSystemInfo, Mount, NodeId};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A served directory.
pub struct Export {
    pub mount: Mount,
    pub options: Options,
    pub handles: Handles,
    /// The served directory.
    pub root: NodeId,
    /// What clients tell this file system from others by.
    pub fsid: u64,
    pub stripes: Stripes,
    pub durable: Durable,
    pub duplicates: Duplicates,
}

impl Export {
    /// Finds the directory.
    pub fn new(mount: Mount, key: &Key, options: Options) -> Result<Export, StartError> {
        let failed = |error| StartError::Export { path: options.export.clone(), error };
        let root = mount.metadata(OsStr::from_bytes(&options.export)).map_err(failed)?;
        if !root.is_dir() {
            return Err(failed(rumpcap::Error::NotADirectory));
        }
        let uuid = uuid(&mount.info().map_err(failed)?);
        Ok(Export {
            handles: Handles::new(key, uuid, root.id()),
            root: root.id(),
            fsid: (u128::from_be_bytes(uuid) >> 64) as u64 ^ u128::from_be_bytes(uuid) as u64,
            stripes: Stripes::new(),
            durable: Durable::new()?,
            duplicates: Duplicates::new(),
            mount,
            options,
        })
    }

    /// Whether clients may change anything.
    pub fn is_writable(&self) -> bool {
        self.options.writes == Writes::Served && self.mount.is_writable()
    }
}

/// The identity of a file system: 32 hexadecimal digits, with hyphens between.
fn uuid(info: &FileSystemInfo) -> [u8; 16] {
    let digits = info.uuid.chars().filter_map(|c| c.to_digit(16));
    digits.fold(0u128, |uuid, digit| uuid << 4 | u128::from(digit)).to_be_bytes()
}
