//! [`Need`]: how large a file system must be for what goes into it, where nobody said.
//!
//! Who calls it: `mkfs`, for an image that is not there yet. A directory is walked, an archive that is a regular file read, once before the
//! file system is made: it is a forecast, and what does not fit after all fails as with any size.
//!
//! Memory: the paths of the directories still to be looked at; 16 bytes for each file with several names.

use super::{Source, failed};
use crate::host_tree::{kind_of, next_data};
use crate::outcome::{Run, plain};
use crate::pax::read::{Reader, What};
use rumpcap::FileKind;
use rumpcap_ext4::mkfs::Options;
use rustix::fs::{AtFlags, CWD};
use std::collections::HashSet;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What small and large files are rounded to, if no other size of blocks is wanted: the largest of the defaults.
const BLOCK_BYTES: u64 = 4096;
/// Behind the name in an entry: at most so much; an index leaves blocks half full.
const ENTRY_BYTES: u64 = 11;
/// Longer targets of symbolic links take a block.
const FAST_LINK_BYTES: u64 = 59;
/// Room for the smallest journal and for a file or two more.
const FLOOR_BYTES: u64 = 16 << 20;
const MIB: u64 = 1 << 20;
const BASIS_POINTS: u64 = 10_000;

/// What is needed.
struct Need {
    block_bytes: u64,
    bytes: u64,
    inodes: u64,
}

/// The length of an image for `source`; sets how many inodes it has, where the default would be too few. `None` where it cannot be told
/// beforehand: of nothing, and of a stream.
///
/// # Errors
/// `Fatal` for what cannot be read.
pub fn choose(source: &Source<'_>, options: &mut Options) -> Run<Option<u64>> {
    let block_bytes = options.block_size.map_or(BLOCK_BYTES, u64::from);
    let mut need = Need { block_bytes, bytes: 0, inodes: 0 };
    match source {
        Source::Directory(directory) => need.tree(directory)?,
        Source::Archive(Some(path)) if path.is_file() => need.archive(path)?,
        Source::Nothing | Source::Archive(_) => return Ok(None),
    }
    Ok(Some(need.settle(options)))
}

impl Need {
    fn settle(self, options: &mut Options) -> u64 {
        let inodes = self.inodes + self.inodes / 8 + 64;
        let tables = inodes * u64::from(options.inode_size);
        let journal = options.journal_bytes.unwrap_or(0);
        // A fifth of the whole for bitmaps, copies, room to grow, a default journal; then what is kept for root.
        let all = (self.bytes + tables) / 4 * 5 + journal + FLOOR_BYTES;
        let for_others = BASIS_POINTS - u64::from(options.reserved_basis_points).min(BASIS_POINTS / 2);
        let size = (all / for_others * BASIS_POINTS).next_multiple_of(MIB);
        // The default may be an inode for 16 KiB.
        if options.inodes.is_none() && options.bytes_per_inode.is_none() && inodes > size / (16 << 10) {
            options.inodes = Some(u32::try_from(inodes).unwrap_or(u32::MAX));
        }
        size
    }

    /// An inode, and its name.
    fn entry(&mut self, name_len: usize) {
        self.inodes += 1;
        self.name(name_len);
    }

    fn name(&mut self, name_len: usize) {
        self.bytes += 2 * (name_len as u64 + ENTRY_BYTES);
    }

    fn content(&mut self, bytes: u64) {
        self.bytes =
            self.bytes.saturating_add(bytes.checked_next_multiple_of(self.block_bytes).unwrap_or(bytes));
    }

    fn link(&mut self, target_len: u64) {
        if target_len > FAST_LINK_BYTES {
            self.content(1);
        }
    }

    fn archive(&mut self, path: &Path) -> Run {
        let file = File::open(path).map_err(|e| failed(path, &plain(&e)))?;
        let mut reader = Reader::new(std::io::BufReader::with_capacity(64 << 10, file));
        while let Some(member) = reader.next().map_err(|e| failed(path, &e))? {
            // The directories on the way may be no members.
            let name = member.name.rsplit(|byte| *byte == b'/').find(|name| !name.is_empty());
            self.entry(name.map_or(0, <[u8]>::len));
            let whole = [(0, member.size)];
            match member.what {
                What::File => {
                    for (_, len) in member.runs.as_deref().unwrap_or(&whole) {
                        // A run may begin in the middle of a block.
                        self.content(len.saturating_add(if member.runs.is_some() {
                            self.block_bytes
                        } else {
                            0
                        }));
                    }
                }
                What::Directory => self.content(1),
                What::Symlink => self.link(member.link.len() as u64),
                _ => {}
            }
            let lists = member.acls.iter().flatten().count();
            if lists + member.xattrs.len() > 0 {
                self.content(
                    member.xattrs.iter().map(|(name, value)| (name.len() + value.len() + 64) as u64).sum(),
                );
                self.content(lists as u64);
            }
        }
        Ok(())
    }

    fn tree(&mut self, top: &Path) -> Run {
        let mut names_elsewhere = HashSet::new();
        let mut waiting: Vec<PathBuf> = vec![top.to_owned()];
        while let Some(directory) = waiting.pop() {
            let io = |e: std::io::Error| failed(&directory, &plain(&e));
            self.content(1);
            for entry in std::fs::read_dir(&directory).map_err(io)? {
                let entry = entry.map_err(io)?;
                let path = entry.path();
                let stat = rustix::fs::statat(CWD, &path, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| failed(&path, &plain(&e.into())))?;
                let kind = kind_of(&stat);
                self.name(entry.file_name().as_bytes().len());
                let has_names_elsewhere = kind != FileKind::Directory && stat.st_nlink > 1;
                if has_names_elsewhere && !names_elsewhere.insert((stat.st_dev, stat.st_ino)) {
                    continue;
                }
                self.inodes += 1;
                match kind {
                    FileKind::Regular => self.file(&path, stat.st_size as u64, stat.st_blocks as u64)?,
                    FileKind::Symlink => self.link(stat.st_size as u64),
                    _ => {}
                }
                self.xattrs(&path)?;
                if kind == FileKind::Directory {
                    waiting.push(path);
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, size: u64, sectors: u64) -> Run {
        if sectors.saturating_mul(512) >= size {
            self.content(size);
            return Ok(());
        }
        let file = File::open(path).map_err(|e| failed(path, &plain(&e)))?;
        let mut at = 0;
        while let Some((start, end)) =
            next_data(&file, at, size).map_err(|e| failed(path, &plain(&e.into())))?
        {
            self.content(end - start + self.block_bytes);
            at = end;
        }
        Ok(())
    }

    /// What is there is taken for as long as the names and a block are.
    fn xattrs(&mut self, path: &Path) -> Run {
        match rustix::fs::llistxattr(path, &mut [0u8; 0][..]) {
            Ok(0) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            Ok(_) => {
                self.content(1);
                Ok(())
            }
            Err(e) => Err(failed(path, &plain(&e.into()))),
        }
    }
}
