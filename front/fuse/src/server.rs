//! [`Server`]: what answers requests: the mount, and what was agreed on with the kernel.
//!
//! Who calls it: `worker`, by way of `dispatch`; its operations are in `ops`. It keeps nothing of what clients have looked up, and nothing
//! of what they have open: an open file is counted in rumpcap's kernel, under its limit (`rumpcap::served`).
//!
//! SV-1. On a mount that is written every node id is checked when it is used: a number that was given to another file is `ESTALE`.
//! SV-2. While a request on a directory runs, Linux lets nobody remove it; between check and use nothing happens to it.
//! SV-3. With the host's writeback cache, what it writes, copies or allocates changes no times: the host keeps them, and sends them by
//! themselves; they may come first.

use crate::attr::{self, Validity};
use crate::errno::{Answer, errno};
use crate::wire::sent::EntryOut;
use rumpcap::{Metadata, Mount, NodeId, Timestamp};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// What answers requests.
pub(crate) struct Server {
    pub(crate) mount: Mount,
    pub(crate) root: NodeId,
    pub(crate) block_bytes: u32,
    pub(crate) valid: Validity,
    /// With a writeback cache the host keeps the times of files, and tells them. Whoever sets times, or puts them back, holds this (SV-3).
    pub(crate) host_times: Option<Mutex<()>>,
    /// Names may be equal that are not the same: no name is cached.
    folds_case: bool,
}

impl Server {
    /// A server of `mount`.
    ///
    /// # Errors
    /// Those of reading the root and the super block.
    pub(crate) fn new(mount: Mount, valid: Validity, writeback_cache: bool) -> rumpcap::Result<Server> {
        let root = mount.root_id()?;
        let block_bytes = mount.stat_fs()?.block_size;
        let folds_case = mount.info()?.features.contains(&"casefold");
        let host_times = writeback_cache.then(Mutex::default);
        Ok(Server { mount, root, block_bytes, valid, host_times, folds_case })
    }

    /// The inode that a node id names.
    pub(crate) fn inode(&self, node: u64) -> NodeId {
        attr::inode(node, self.root)
    }

    /// The number of a directory that a node id names (SV-1, SV-2).
    pub(crate) fn directory(&self, node: u64) -> Answer<u64> {
        let id = self.inode(node);
        if self.mount.is_writable() {
            self.mount.metadata_id(id).map_err(errno)?;
        }
        Ok(id.ino)
    }

    /// As [`Server::directory`], of any inode.
    pub(crate) fn number(&self, node: u64) -> Answer<u64> {
        self.directory(node)
    }

    /// Held while times are set, where the host keeps them (SV-3).
    pub(crate) fn times(&self) -> Option<MutexGuard<'_, ()>> {
        self.host_times.as_ref().map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long names are valid.
    pub(crate) fn valid(&self) -> Validity {
        let none = std::time::Duration::ZERO;
        if self.folds_case { Validity { entry: none, negative: none, ..self.valid } } else { self.valid }
    }

    /// What a client is told of an entry.
    pub(crate) fn entry(&self, metadata: &Metadata) -> EntryOut {
        attr::entry(metadata, self.root, self.block_bytes, self.valid())
    }
}

/// What time it is.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp { seconds, nanoseconds: since.subsec_nanos() }
}
