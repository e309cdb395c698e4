//! The 21 procedures of NFS version 3 (RFC 1813, 3.3), by what they do.
//!
//! Who calls it: `dispatch`, with the arguments unread. Whom it calls: the mount, by inode ([`rumpcap::NodeId`]); `nfs3_types` writes the answers.
//! Each reads its arguments, does its work as a function that may fail with a status, and packs either answer.
//!
//! PR-1. What is worked on is held open ([`rumpcap::File`]) meanwhile, so that its number stays its own (SE-1 of the library).
//! PR-2. A change is made with the stripes of its directories, or of its file, held: permission is looked at, and the attributes before
//! and after are taken, in one with it. It is made durable afterwards, without.

mod create;
mod directory;
mod list;
mod look;
mod names;
mod read;
mod remove;
mod setattr;
mod sizes;
mod write;

use crate::access;
use crate::attributes::{attributes, before, option, status};
use crate::credentials::Credentials;
use crate::export::Export;
use crate::options::Stability;
use nfs3_types::nfs3::{Nfs3Option, fattr3, nfsstat3, wcc_data};
use rumpcap::{File, Metadata, NodeId};

/// The outcome of a step.
type Done<T> = Result<T, nfsstat3>;

/// Whoever makes a call, and of what.
pub struct Caller<'a> {
    pub export: &'a Export,
    pub who: Credentials,
}

impl Caller<'_> {
    fn id(&self, handle: &[u8]) -> Done<NodeId> {
        self.export.handles.read(handle)
    }

    /// Holds an inode.
    fn open(&self, handle: &[u8]) -> Done<File> {
        self.export.mount.open_id(self.id(handle)?).map_err(status)
    }

    fn metadata(&self, file: &File) -> Done<Metadata> {
        file.metadata().map_err(status)
    }

    fn attributes(&self, metadata: &Metadata) -> fattr3 {
        attributes(metadata, self.export.fsid)
    }

    /// Whether the caller may do all of `wanted`.
    pub fn check(&self, file: &Metadata, wanted: u32) -> Done<()> {
        access::check(&self.export.mount, file, &self.who, wanted)
    }

    /// Whether anything may be changed here.
    fn may_change(&self) -> Done<()> {
        if self.export.is_writable() { Ok(()) } else { Err(nfsstat3::NFS3ERR_ROFS) }
    }

    /// Makes a change of names or attributes durable, if it is to be before the answer.
    fn settle(&self, changed: &File) -> Done<()> {
        match self.export.options.stability {
            Stability::Sync => self.export.durable.sync(changed).map(drop).map_err(status),
            Stability::Async => Ok(()),
        }
    }

    /// Changes a file: `change` gets it as it was, and nobody else changes it meanwhile.
    fn change<T>(
        &self,
        file: &File,
        wcc: &mut wcc_data,
        change: impl FnOnce(&Metadata) -> Done<T>,
    ) -> Done<T> {
        let _held = self.export.stripes.one(file.ino());
        let old = self.metadata(file)?;
        wcc.before = Nfs3Option::Some(before(&old));
        let result = change(&old);
        self.after(file, wcc);
        result
    }

    /// Takes the attributes after a change; there are none where the device fails.
    fn after(&self, file: &File, wcc: &mut wcc_data) {
        wcc.after = option(file.metadata().ok().map(|new| self.attributes(&new)));
    }
}
