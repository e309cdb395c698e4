//! READDIR and READDIRPLUS.
//!
//! A listing goes on where its cookie says, whatever was changed meanwhile; the verifier of cookies is always 0 and not looked at. The answer
//! is as long as the client asked for and the server's transfers are, and holds one entry at least.

use super::{Caller, Done};
use crate::access::{EXECUTE, READ, permits};
use crate::attributes::{option, status};
use crate::connection::SCRATCH_BYTES;
use crate::rpc::pack;
use crate::xdr::{Garbage, Reader};
use core::ops::ControlFlow;
use nfs3_types::nfs3::{
    NFS3_COOKIEVERFSIZE, NFS3_FHSIZE, Nfs3Option, READDIR3res, READDIR3resfail, READDIRPLUS3res,
    READDIRPLUS3resfail, cookieverf3, entry3, entryplus3, filename3, nfsstat3, post_op_attr, post_op_fh3,
};
use nfs3_types::xdr_codec::Pack;
use rumpcap::{File, Metadata, ServedEntry};

/// The longest entry with attributes: marks, numbers, the longest name, attributes, a handle.
const LONGEST_ENTRY_BYTES: usize = 4 + 8 + 4 + 256 + 8 + 4 + 84 + 4 + 4 + 64;

/// Bytes behind the last entry: that it was the last one here, and whether it was the last of all.
const TAIL_BYTES: usize = 8;

/// An entry whose inode is still to be looked at.
struct Found<'a> {
    ino: u64,
    next: u64,
    name: &'a [u8],
}

impl Caller<'_> {
    /// READDIR.
    pub fn readdir(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, cookie) = (args.opaque(NFS3_FHSIZE)?, args.u64()?);
        let _verifier: [u8; NFS3_COOKIEVERFSIZE] = args.array()?;
        let count = args.u32()? as usize;
        args.end()?;
        let start = out.len();
        let mut dir_attributes = post_op_attr::None;
        if let Err(status) = self.names(handle, cookie, count, &mut dir_attributes, out) {
            out.truncate(start);
            pack(out, &READDIR3res::Err((status, READDIR3resfail { dir_attributes })));
        }
        Ok(())
    }

    fn names(
        &self,
        handle: &[u8],
        cookie: u64,
        count: usize,
        attributes: &mut post_op_attr,
        out: &mut Vec<u8>,
    ) -> Done<()> {
        let (dir, metadata) = self.listed(handle, attributes)?;
        let end = out.len() + count.min(self.export.options.transfer_bytes);
        begin(out, attributes);
        let first = out.len();
        let is_root = metadata.id() == self.export.root;
        let mut is_full = false;
        let read = self.export.mount.read_dir_id(metadata.id(), cookie, &mut |entry: ServedEntry<'_>| {
            let ino = if is_root && entry.name == b".." { metadata.ino() } else { entry.ino };
            let entry = entry3 { fileid: ino, name: filename3::from(entry.name), cookie: entry.next };
            is_full = out.len() + 4 + entry.packed_size() + TAIL_BYTES > end;
            if is_full {
                return ControlFlow::Break(());
            }
            pack(out, &true);
            pack(out, &entry);
            ControlFlow::Continue(())
        });
        drop(dir);
        finish(out, first, read, is_full)
    }

    /// READDIRPLUS.
    pub fn readdirplus(
        &self,
        mut args: Reader<'_>,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> Result<(), Garbage> {
        let (handle, cookie) = (args.opaque(NFS3_FHSIZE)?, args.u64()?);
        let _verifier: [u8; NFS3_COOKIEVERFSIZE] = args.array()?;
        let (names, all) = (args.u32()? as usize, args.u32()? as usize);
        args.end()?;
        let start = out.len();
        let mut dir_attributes = post_op_attr::None;
        if let Err(status) = self.entries(handle, cookie, [names, all], &mut dir_attributes, out, scratch) {
            out.truncate(start);
            pack(out, &READDIRPLUS3res::Err((status, READDIRPLUS3resfail { dir_attributes })));
        }
        Ok(())
    }

    fn entries(
        &self,
        handle: &[u8],
        cookie: u64,
        [names_bytes, all_bytes]: [usize; 2],
        attributes: &mut post_op_attr,
        out: &mut Vec<u8>,
        scratch: &mut Vec<u8>,
    ) -> Done<()> {
        let (dir, metadata) = self.listed(handle, attributes)?;
        // What is listed keeps its inode until that was looked at.
        let _held = self.export.is_writable().then(|| self.export.stripes.one(dir.ino()));
        let end = out.len() + all_bytes.min(self.export.options.transfer_bytes);
        begin(out, attributes);
        let first = out.len();
        let mut is_full = false;
        let mut names_left = names_bytes.min(SCRATCH_BYTES);
        let mut entries_left = end.saturating_sub(first + TAIL_BYTES);
        scratch.clear();
        scratch.reserve_exact(SCRATCH_BYTES);
        let read = self.export.mount.read_dir_id(metadata.id(), cookie, &mut |entry: ServedEntry<'_>| {
            let longest = LONGEST_ENTRY_BYTES - 256 + entry.name.len().next_multiple_of(4);
            let names = 8 + 8 + 4 + entry.name.len().next_multiple_of(4);
            is_full = longest > entries_left || (names > names_left && !scratch.is_empty());
            if is_full {
                return ControlFlow::Break(());
            }
            entries_left -= longest;
            names_left = names_left.saturating_sub(names);
            Found { ino: entry.ino, next: entry.next, name: entry.name }.keep(scratch);
            ControlFlow::Continue(())
        });
        let may_search = permits(&self.export.mount, &metadata, &self.who, EXECUTE)?;
        let mut kept = &scratch[..];
        while let Some(found) = Found::next(&mut kept) {
            let known = if may_search { self.inode(&found, &metadata) } else { None };
            let is_above = found.name == b".." && metadata.id() == self.export.root;
            let entry = entryplus3 {
                fileid: if is_above { metadata.ino() } else { found.ino },
                name: filename3::from(found.name),
                cookie: found.next,
                name_attributes: option(known.map(|known| self.attributes(&known))),
                name_handle: known.map_or(post_op_fh3::None, |known| {
                    Nfs3Option::Some(self.export.handles.answer(known.id()))
                }),
            };
            pack(out, &true);
            pack(out, &entry);
        }
        finish(out, first, read, is_full)
    }

    /// The inode of an entry. One that cannot be read is listed without attributes: LOOKUP says why.
    fn inode(&self, found: &Found<'_>, dir: &Metadata) -> Option<Metadata> {
        if found.name == b".." && dir.id() == self.export.root {
            return Some(*dir);
        }
        self.export.mount.metadata_ino(found.ino).ok()
    }

    /// A directory that the caller may list.
    fn listed(&self, handle: &[u8], attributes: &mut post_op_attr) -> Done<(File, Metadata)> {
        let dir = self.open(handle)?;
        let metadata = self.metadata(&dir)?;
        *attributes = option(Some(self.attributes(&metadata)));
        if !metadata.is_dir() {
            return Err(nfsstat3::NFS3ERR_NOTDIR);
        }
        self.check(&metadata, READ)?;
        Ok((dir, metadata))
    }
}

fn begin(out: &mut Vec<u8>, attributes: &post_op_attr) {
    pack(out, &nfsstat3::NFS3_OK);
    pack(out, attributes);
    pack(out, &cookieverf3::default());
}

/// Ends a list, whose entries begin at `first`.
fn finish(out: &mut Vec<u8>, first: usize, read: rumpcap::Result<()>, is_full: bool) -> Done<()> {
    if out.len() == first && is_full {
        return Err(nfsstat3::NFS3ERR_TOOSMALL);
    }
    match read {
        Ok(()) => {}
        // What came before is given; the next call begins at what is broken.
        Err(_) if out.len() > first => {}
        Err(error) => return Err(status(error)),
    }
    pack(out, &false);
    pack(out, &(read.is_ok() && !is_full));
    Ok(())
}

impl<'a> Found<'a> {
    /// Behind the others.
    fn keep(&self, scratch: &mut Vec<u8>) {
        scratch.extend_from_slice(&self.ino.to_ne_bytes());
        scratch.extend_from_slice(&self.next.to_ne_bytes());
        scratch.push(u8::try_from(self.name.len()).unwrap_or(u8::MAX));
        scratch.extend_from_slice(&self.name[..self.name.len().min(usize::from(u8::MAX))]);
    }

    /// The first of those that are left.
    fn next(kept: &mut &'a [u8]) -> Option<Found<'a>> {
        let (ino, rest) = kept.split_first_chunk()?;
        let (next, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(*len))?;
        *kept = rest;
        Some(Found { ino: u64::from_ne_bytes(*ino), next: u64::from_ne_bytes(*next), name })
    }
}
