//! The end of orphans that a mount finds: those without links are deleted, the others cut to their length.
//!
//! Who calls it: `mount_write`, when the file system can be changed. Whom it calls: `namespace`, `content`, which work in steps, so that
//! a power cut leaves less to do for the next mount.
//!
//! FI-1. Damage does not keep a mount from going on, as in the kernel: it is noted in the super block, which says what then is to be done,
//! and what cannot be finished is forgotten; e2fsck finds what it holds. When damage was noted before, the list is forgotten.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::layout::STATE_ERRORS;
use crate::transaction::Handle;
use crate::{Ext4, content, namespace};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo, Timestamp};
use rumpcap_vm::Reservation;

/// An orphan, and where it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Orphan {
    Listed(u32),
    InFile(u32),
}

/// What is to be done with an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Delete,
    Cut,
    Nothing,
}

/// Finishes all orphans. At mount, behind recovery.
///
/// # Errors
/// `Io`; an error that stopped writing.
pub(crate) fn finish_all(fs: &Ext4, r: &Reservation<'_>, now: Timestamp) -> Result<()> {
    if fs.sb.state & STATE_ERRORS != 0 {
        return fs.change(r, now, |h| if h.first_orphan()? == 0 { Ok(()) } else { h.set_first_orphan(0) });
    }
    // Each round ends an orphan, and every orphan is an inode.
    for _ in 0..=fs.sb.inodes_count {
        let Some(orphan) = fs.change(r, now, |h| h.next_orphan())? else { break };
        match finish(fs, r, orphan, now) {
            // It stays an orphan.
            Err(Error::Unsupported { .. }) => break,
            Err(Error::Corrupt { .. } | Error::Checksum { .. } | Error::NotFound) => {}
            result => result?,
        }
        fs.change(r, now, |h| h.forget_orphan(orphan))?;
    }
    Ok(())
}

fn finish(fs: &Ext4, r: &Reservation<'_>, orphan: Orphan, now: Timestamp) -> Result<()> {
    let (Orphan::Listed(ino) | Orphan::InFile(ino)) = orphan;
    let end = fs.change(r, now, |h| h.end_of(ino))?;
    let ino = InodeNo(u64::from(ino));
    match end {
        End::Delete => {
            while !namespace::delete_step(fs, r, ino, now)? {}
            Ok(())
        }
        End::Cut => {
            while !content::cut_on(fs, r, ino, now)?.is_done {}
            Ok(())
        }
        End::Nothing => Ok(()),
    }
}

impl Handle<'_> {
    /// The orphan that is finished next.
    fn next_orphan(&mut self) -> Result<Option<Orphan>> {
        let first = self.first_orphan()?;
        if first != 0 {
            return Ok(Some(Orphan::Listed(first)));
        }
        let Some(file) = self.orphan_file()? else { return Ok(None) };
        let found = self.find_orphan_entry(&file, |_| true)?;
        if found.is_none() {
            self.set_count_of_orphan_file(0)?;
        }
        Ok(found.map(|(_, ino)| Orphan::InFile(ino)))
    }

    fn end_of(&self, ino: u32) -> Result<End> {
        let inode = self.listed_orphan(ino)?;
        Ok(match inode.kind() {
            _ if inode.raw.links.get() == 0 => End::Delete,
            FileKind::Regular => End::Cut,
            _ => End::Nothing,
        })
    }

    /// Sees to it that `orphan`, of which nothing more can be done, is none any more.
    fn forget_orphan(&mut self, orphan: Orphan) -> Result<()> {
        match orphan {
            Orphan::Listed(ino) if self.first_orphan()? == ino => match self.listed_orphan(ino) {
                Ok(mut inode) => self.remove_from_orphan_list(&mut inode),
                // What is behind it cannot be found.
                Err(Error::Corrupt { .. } | Error::Checksum { .. }) => self.set_first_orphan(0),
                Err(error) => Err(error),
            },
            Orphan::Listed(_) => Ok(()),
            Orphan::InFile(ino) => {
                let Some(file) = self.orphan_file()? else { return Ok(()) };
                match self.find_in_orphan_file(&file, InodeNo(u64::from(ino)))? {
                    Some(place) => self.remove_from_orphan_file(&file, place),
                    None => Ok(()),
                }
            }
        }
    }
}
