//! Content of regular files: where it goes, how long it is.
//!
//! Who calls it: `vnops_change`. Whom it calls: `map_change`, `orphan`.
//!
//! By file: `write` · `size` lengths, holes, space in advance · `inline` files that are kept in their inode.
//!
//! CN-1. The inode is put before content is stored, which is the last step that can fail. CN-2. A file whose blocks behind its end are not
//! all free is an orphan while its operations are not done.

mod inline;
mod size;
mod write;

use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::map_change::blocks_max;
use crate::transaction::Handle;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo};
pub(crate) use size::{allocate, cut_on, punch, set_size};
pub(crate) use write::write;

/// `s_feature_ro_compat`: some files may be 2 GiB long or longer.
const LARGE_FILE: u32 = 0x2;
/// The longest file without it.
const SMALL_MAX: u64 = 0x7FFF_FFFF;

impl Handle<'_> {
    /// The inode of a regular file whose content may be changed. It may have no names.
    fn content_inode(&self, ino: InodeNo) -> Result<Inode> {
        let inode = self.inode_even_nameless(ino)?;
        match inode.kind() {
            FileKind::Regular => {}
            FileKind::Directory => return Err(Error::IsADirectory),
            _ => return Err(Error::WrongType),
        }
        if inode.has_flag(inode_flags::ENCRYPT) {
            return Err(Error::Encrypted);
        }
        let is_fixed = [inode_flags::IMMUTABLE, inode_flags::VERITY, inode_flags::EA_INODE];
        if is_fixed.iter().any(|&flag| inode.has_flag(flag)) {
            return Err(Error::NotPermitted);
        }
        Ok(inode)
    }

    /// Refuses a length that the file's map, or its inode, cannot say.
    fn check_size(&self, inode: &Inode, size_bytes: u64) -> Result<()> {
        let has_extents = inode.has_flag(inode_flags::EXTENTS);
        let most = blocks_max(self.fs, has_extents) << self.fs.sb.block_log;
        if size_bytes > most { Err(Error::FileTooLarge) } else { Ok(()) }
    }

    /// Sets the length, and says in the super block that there are large files where it is the first.
    fn store_size(&mut self, inode: &mut Inode, size_bytes: u64) -> Result<()> {
        let is_first = inode.size_bytes() <= SMALL_MAX && size_bytes > SMALL_MAX;
        inode.set_size_bytes(size_bytes);
        if !is_first || self.fs.sb.features.has_large_file() {
            return Ok(());
        }
        let raw = self.super_block()?;
        if raw.features_ro_compat.get() & LARGE_FILE != 0 {
            return Ok(());
        }
        // The first revision has no features.
        if raw.revision.get() == 0 {
            return Err(Error::FileTooLarge);
        }
        self.edit_super(|raw| raw.features_ro_compat = (raw.features_ro_compat.get() | LARGE_FILE).into())
    }

    /// Content changes now: its times.
    fn touch(&self, inode: &mut Inode) {
        inode.set_mtime(self.now);
        inode.set_ctime(&self.fs.sb, self.now);
    }
}

#[cfg(test)]
mod tests;
