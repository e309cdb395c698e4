//! [`Populate`]: fills a new file system from a directory of the host, in one pass.
//!
//! A directory is listed, sorted and written as soon as it is met: its files get their numbers then, in the order of their names,
//! its sub-directories behind them. Then its files are written, one behind the other; then its sub-directories, each in the same way.
//!
//! Memory, beside the maker's buffers: the names of the directory that is being written (about 60 bytes and the name for each entry);
//! the names of the sub-directories that are still to be done, of each directory on the way down; and files with several names of
//! which some have been met and some not, 40 bytes each.
//!
//! Failure: what cannot be read, or becomes another while it is read, ends the whole, with its path; so does a signal.

mod host;

use super::failed;
use super::options::Wanted;
use crate::host_tree::{kind_of, next_data, read};
use crate::interrupt::Interrupt;
use crate::outcome::{Run, plain};
use crate::progress::Progress;
use host::{XattrBuffer, at, lstat, open};
use rumpcap::{FileKind, Timestamp};
use rumpcap_ext4::mkfs::{Attributes, Entry, LOST_FOUND_INODE, Maker, ROOT_INODE};
use rustix::fs::Stat;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const LOST_FOUND: &[u8] = b"lost+found";
/// Bytes read at a time: a multiple of every size of a block.
const CHUNK_BYTES: usize = 64 * 1024;

/// An empty file system.
pub fn empty(maker: &mut Maker<'_>, wanted: &Wanted) -> rumpcap::Result<()> {
    let mut root = Attributes::made_at(wanted.options.time, 0o040_755);
    (root.uid, root.gid) = wanted.root_owner.unwrap_or((0, 0));
    let mut entries = [Entry::new(LOST_FOUND, LOST_FOUND_INODE, FileKind::Directory)];
    maker.directory(ROOT_INODE, ROOT_INODE, &mut entries, &root, &mut [])?;
    lost_found(maker, wanted)
}

fn lost_found(maker: &mut Maker<'_>, wanted: &Wanted) -> rumpcap::Result<()> {
    let attributes = Attributes::made_at(wanted.options.time, 0o040_700);
    maker.directory(LOST_FOUND_INODE, ROOT_INODE, &mut [], &attributes, &mut [])
}

/// The filling of a file system.
pub struct Populate<'p, 'd> {
    maker: &'p mut Maker<'d>,
    wanted: &'p Wanted,
    /// Device and inode number of the image.
    image: (u64, u64),
    progress: &'p mut Progress,
    /// What takes note of signals.
    interrupt: Option<Interrupt>,
    links: HashMap<(u64, u64), Links>,
    buffer: Vec<u8>,
    xattrs: XattrBuffer,
}

/// A file with several names.
struct Links {
    ino: u32,
    /// Names it has on the host, and those met so far.
    expected: u32,
    met: u32,
}

/// A directory whose sub-directories are being done.
struct Level {
    /// Length of the path of the directory.
    path_len: usize,
    ino: u32,
    /// What is still to be done, the next one last.
    waiting: Vec<(Box<[u8]>, u32)>,
}

/// An entry of the directory that is being written.
struct Child {
    name: (u32, u16),
    ino: u32,
    kind: FileKind,
    /// It has not been met under another name.
    is_first: bool,
}

impl<'p, 'd> Populate<'p, 'd> {
    /// `image` is the device and inode number of the image itself, which is left out.
    pub fn new(
        maker: &'p mut Maker<'d>,
        wanted: &'p Wanted,
        image: (u64, u64),
        progress: &'p mut Progress,
        interrupt: Option<Interrupt>,
    ) -> Populate<'p, 'd> {
        let buffer = vec![0; CHUNK_BYTES];
        let xattrs = XattrBuffer::default();
        Populate { maker, wanted, image, progress, interrupt, links: HashMap::new(), buffer, xattrs }
    }

    /// Makes all that is below `top`.
    ///
    /// # Errors
    /// `Fatal` with the path that failed.
    pub fn tree(&mut self, top: &Path) -> Run {
        let mut path = top.to_owned();
        let stat = rustix::fs::stat(top).map_err(|e| at(top, e))?;
        let mut levels = vec![self.directory(&path, &stat, ROOT_INODE, ROOT_INODE)?];
        while let Some(level) = levels.last_mut() {
            let Some((name, ino)) = level.waiting.pop() else {
                levels.pop();
                continue;
            };
            truncate(&mut path, level.path_len);
            path.push(OsStr::from_bytes(&name));
            let parent = level.ino;
            let stat = lstat(&path)?;
            if kind_of(&stat) != FileKind::Directory {
                return Err(failed(&path, &"changed while it was read"));
            }
            let next = self.directory(&path, &stat, ino, parent)?;
            levels.push(next);
        }
        self.settle_links(top)
    }

    /// Writes directory `ino` and its files.
    fn directory(&mut self, path: &Path, stat: &Stat, ino: u32, parent: u32) -> Run<Level> {
        let (names, mut children) = self.list(path, ino)?;
        let name_of = |child: &Child| name_at(&names, child.name);
        let mut full = path.to_owned();
        self.number(&mut full, &names, &mut children, ino)?;

        let mut entries: Vec<Entry<'_>> =
            children.iter().map(|child| Entry::new(name_of(child), child.ino, child.kind)).collect();
        let is_root = ino == ROOT_INODE;
        let has_lost_found = is_root && children.iter().any(|child| name_of(child) == LOST_FOUND);
        if is_root && !has_lost_found {
            entries.push(Entry::new(LOST_FOUND, LOST_FOUND_INODE, FileKind::Directory));
        }
        let mut attributes = self.attributes(stat);
        if let (true, Some(owner)) = (is_root, self.wanted.root_owner) {
            (attributes.uid, attributes.gid) = owner;
        }
        let mut xattrs = self.xattrs.read(path)?;
        let made = self.maker.directory(ino, parent, &mut entries, &attributes, &mut xattrs);
        made.map_err(|e| failed(path, &e))?;
        drop((xattrs, entries));
        if is_root && !has_lost_found {
            lost_found(self.maker, self.wanted).map_err(|e| failed(path, &e))?;
        }
        self.progress.file();

        let path_len = path.as_os_str().len();
        let mut waiting = Vec::new();
        for child in children.iter().filter(|child| child.is_first) {
            if child.kind == FileKind::Directory {
                waiting.push((name_of(child).into(), child.ino));
                continue;
            }
            truncate(&mut full, path_len);
            full.push(OsStr::from_bytes(name_of(child)));
            self.file(&full, child)?;
        }
        waiting.reverse();
        Ok(Level { path_len, ino, waiting })
    }

    /// The names in a directory, sorted.
    fn list(&self, path: &Path, ino: u32) -> Run<(Vec<u8>, Vec<Child>)> {
        let io = |e: std::io::Error| failed(path, &plain(&e));
        let mut names = Vec::new();
        let mut children = Vec::new();
        for entry in std::fs::read_dir(path).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let start = u32::try_from(names.len()).map_err(|_| failed(path, &"too many names"))?;
            names.extend_from_slice(name.as_bytes());
            children.push(Child {
                name: (start, name.len() as u16),
                ino,
                kind: FileKind::Unknown,
                is_first: true,
            });
        }
        children.sort_unstable_by(|a, b| name_at(&names, a.name).cmp(name_at(&names, b.name)));
        Ok((names, children))
    }

    /// Gives `children` their numbers: files first, in the order of their names, so that their inodes are in a row.
    fn number(&mut self, path: &mut PathBuf, names: &[u8], children: &mut Vec<Child>, parent: u32) -> Run {
        let path_len = path.as_os_str().len();
        let mut failure = Ok(());
        children.retain_mut(|child| {
            truncate(path, path_len);
            path.push(OsStr::from_bytes(name_at(names, child.name)));
            match self.number_file(path, child) {
                Ok(is_kept) => is_kept,
                Err(e) => {
                    failure = Err(e);
                    true
                }
            }
        });
        truncate(path, path_len);
        failure?;
        for child in children.iter_mut().filter(|child| child.kind == FileKind::Directory) {
            let is_lost_found = parent == ROOT_INODE && name_at(names, child.name) == LOST_FOUND;
            child.ino = if is_lost_found {
                LOST_FOUND_INODE
            } else {
                self.maker.inode(FileKind::Directory).map_err(|e| failed(path, &e))?
            };
        }
        Ok(())
    }

    /// Looks what a child is, and gives it a number if it is no directory. False for the image itself.
    fn number_file(&mut self, path: &Path, child: &mut Child) -> Run<bool> {
        let stat = lstat(path)?;
        child.kind = kind_of(&stat);
        if child.kind == FileKind::Directory {
            return Ok(true);
        }
        if (stat.st_dev, stat.st_ino) == self.image {
            return Ok(false);
        }
        if child.kind == FileKind::Unknown {
            return Err(failed(path, &"no known type of file"));
        }
        let host = (stat.st_dev, stat.st_ino);
        if let Some(links) = self.links.get_mut(&host) {
            links.met += 1;
            child.ino = links.ino;
            child.is_first = false;
            if links.met == links.expected {
                self.links.remove(&host);
            }
            return Ok(true);
        }
        child.ino = self.maker.inode(child.kind).map_err(|e| failed(path, &e))?;
        if stat.st_nlink > 1 {
            let expected = stat.st_nlink as u32;
            self.links.insert(host, Links { ino: child.ino, expected, met: 1 });
        }
        Ok(true)
    }

    /// Corrects the links of files that have names outside of the tree.
    fn settle_links(&mut self, top: &Path) -> Run {
        let mut all: Vec<_> = self.links.drain().map(|(_, links)| links).collect();
        all.sort_unstable_by_key(|links| links.ino);
        for links in all {
            self.maker.set_links(links.ino, links.met).map_err(|e| failed(top, &e))?;
        }
        Ok(())
    }

    /// Makes a file that is no directory.
    fn file(&mut self, path: &Path, child: &Child) -> Run {
        self.interrupt.as_ref().map_or(Ok(()), Interrupt::check)?;
        if child.kind == FileKind::Regular {
            return self.regular(path, child.ino);
        }
        let stat = lstat(path)?;
        if kind_of(&stat) != child.kind {
            return Err(failed(path, &"changed while it was read"));
        }
        let attributes = self.attributes(&stat);
        let mut xattrs = self.xattrs.read(path)?;
        let made = if child.kind == FileKind::Symlink {
            let target = std::fs::read_link(path).map_err(|e| failed(path, &plain(&e)))?;
            self.maker.symlink(child.ino, target.as_os_str().as_bytes(), &attributes, &mut xattrs)
        } else {
            self.maker.special(child.ino, &attributes, &mut xattrs)
        };
        made.map_err(|e| failed(path, &e))?;
        self.progress.file();
        Ok(())
    }

    fn regular(&mut self, path: &Path, ino: u32) -> Run {
        let file = open(path)?;
        let stat = rustix::fs::fstat(&file).map_err(|e| at(path, e))?;
        if kind_of(&stat) != FileKind::Regular {
            return Err(failed(path, &"changed while it was read"));
        }
        let attributes = self.attributes(&stat);
        let block = u64::from(self.maker.geometry().block_size);
        let size = attributes.size_bytes;
        self.progress.begin(path, size, (stat.st_blocks as u64).saturating_mul(512));
        let mut content = self.maker.file(ino).map_err(|e| failed(path, &e))?;
        // Without holes, asking for them takes longer than reading a small file.
        let has_holes = (stat.st_blocks as u64).saturating_mul(512) < size;
        let mut offset = 0;
        while offset < size {
            let end = if has_holes {
                let Some((start, end)) = next_data(&file, offset, size).map_err(|e| at(path, e))? else {
                    break;
                };
                // Whole blocks, of which the one that the last piece ended in is done.
                offset = (start / block * block).max(offset);
                end.next_multiple_of(block).min(size)
            } else {
                size
            };
            while offset < end {
                self.interrupt.as_ref().map_or(Ok(()), Interrupt::check)?;
                let want = (end - offset).min(CHUNK_BYTES as u64) as usize;
                let got =
                    read(&file, &mut self.buffer[..want], offset).map_err(|e| failed(path, &plain(&e)))?;
                if got > 0 {
                    content.write(offset, &self.buffer[..got]).map_err(|e| failed(path, &e))?;
                    self.progress.bytes(got as u64);
                }
                if got < want {
                    return Err(failed(path, &"became shorter while it was read"));
                }
                offset += want as u64;
            }
        }
        let mut xattrs = self.xattrs.read(path)?;
        content.finish(&attributes, &mut xattrs).map_err(|e| failed(path, &e))?;
        self.progress.file();
        Ok(())
    }

    /// Attributes as the host has them; none of the times later than they may be.
    fn attributes(&self, stat: &Stat) -> Attributes {
        let time = |seconds, nanoseconds| Timestamp { seconds, nanoseconds: nanoseconds as u32 };
        let (atime, mtime, ctime) = (
            time(stat.st_atime, stat.st_atime_nsec),
            time(stat.st_mtime, stat.st_mtime_nsec),
            time(stat.st_ctime, stat.st_ctime_nsec),
        );
        let made = time(i64::try_from(self.wanted.options.time).unwrap_or(i64::MAX), 0);
        let is_device = matches!(kind_of(stat), FileKind::CharDevice | FileKind::BlockDevice);
        let mut attributes = Attributes {
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
            links: stat.st_nlink as u32,
            size_bytes: if kind_of(stat) == FileKind::Regular { stat.st_size as u64 } else { 0 },
            atime,
            mtime,
            ctime,
            crtime: made,
            rdev: if is_device {
                (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev))
            } else {
                (0, 0)
            },
        };
        if self.wanted.latest.is_some() {
            // A copy of the tree has other times of access and change: they would show.
            attributes.atime = made;
            attributes.ctime = made;
            attributes.mtime = mtime.min(made);
        }
        attributes
    }
}

fn name_at(names: &[u8], (start, len): (u32, u16)) -> &[u8] {
    &names[start as usize..start as usize + usize::from(len)]
}

/// Cuts `path` back to its first `len` bytes, which were a path.
fn truncate(path: &mut PathBuf, len: usize) {
    let mut bytes = std::mem::take(path).into_os_string().into_vec();
    bytes.truncate(len);
    *path = PathBuf::from(OsString::from_vec(bytes));
}
