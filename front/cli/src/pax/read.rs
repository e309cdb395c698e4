//! [`Reader`]: reads a tar archive, as a stream: ustar, pax and GNU's formats.
//!
//! Who calls it: `tar -x`. Whom it calls: the `tar` crate for the fields of a header block. Records are read here, since
//! their values may hold newlines, and so are maps of files with holes: GNU's old format and the pax formats 0.0, 0.1 and 1.0.
//!
//! A member's content is read to its end, or skipped, before the next header: [`Reader::next`] sees to it.
//! Names come as they are: what they may not be is the caller's to refuse.
//! Memory: one member's records (at most [`RECORDS_BYTES_MAX`]) and the map of a file with holes ([`RUNS_MAX`] runs).
//! Failure: an archive that makes no sense cannot be read on; where it is is said.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod records;
mod sparse;

use records::Records;
pub use records::time as parse_seconds;
use rumpcap::Timestamp;
use std::fmt;
use std::io::{self, Read};
use tar::{EntryType, Header};

const BLOCK: usize = 512;
/// Other programs pad to it; what is left of it is read, so that whoever writes into a pipe is not cut off.
const RECORD: u64 = 20 * BLOCK as u64;
/// Records of a member: names of 4 KiB and a few attributes of 64 KiB, with room.
const RECORDS_BYTES_MAX: u64 = 4 << 20;
/// Runs of data of a file with holes.
const RUNS_MAX: usize = 1 << 20;

/// Why an archive cannot be read on.
#[derive(Debug)]
pub enum Broken {
    /// It makes no sense; what, and the byte where.
    Format(&'static str, u64),
    /// It ends in the middle.
    Short(u64),
    /// The host's word.
    Io(io::Error),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Broken::Format(what, at) => write!(f, "archive: {what}, at byte {at}"),
            Broken::Short(at) => write!(f, "archive: it ends in the middle, at byte {at}"),
            Broken::Io(e) => f.write_str(&crate::outcome::plain(e)),
        }
    }
}

/// What a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file that came before.
    HardLink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// Something that is none of these; the letter of its type.
    Other(u8),
}

/// A member of an archive.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is.
    pub what: What,
    /// Target of a symbolic link; the other name of a hard link.
    pub link: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Last access, if it is said.
    pub atime: Option<Timestamp>,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    /// Extended attributes.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Access control lists as text: of access, and the default of a directory.
    pub acls: [Option<Vec<u8>>; 2],
    /// Bytes of the file.
    pub size: u64,
    /// Where the data are that follow, if there are holes: offset and length of each run.
    pub runs: Option<Vec<(u64, u64)>>,
}

/// Reads an archive.
pub struct Reader<R: Read> {
    input: R,
    /// Bytes read so far.
    at: u64,
    /// Bytes that are left of the member's content, and of what fills its last block.
    left: u64,
    padding: u64,
    global: Records,
}

impl<R: Read> Reader<R> {
    /// The archive that `input` is.
    pub fn new(input: R) -> Reader<R> {
        Reader { input, at: 0, left: 0, padding: 0, global: Records::default() }
    }

    /// The next member; `None` at the end.
    ///
    /// # Errors
    /// Nothing more can be read then.
    pub fn next(&mut self) -> Result<Option<Entry>, Broken> {
        self.skip_content()?;
        let mut own = self.global.clone();
        let (mut name, mut link) = (None, None);
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|_| self.broken("a size that is no number"))?;
            match header.entry_type() {
                EntryType::XHeader => {
                    let bytes = self.small(size)?;
                    own.read(&bytes).ok_or_else(|| self.broken("records that are none"))?;
                }
                EntryType::XGlobalHeader => {
                    let bytes = self.small(size)?;
                    self.global.read(&bytes).ok_or_else(|| self.broken("records that are none"))?;
                    own.read(&bytes);
                }
                EntryType::GNULongName => name = Some(until_nul(self.small(size)?)),
                EntryType::GNULongLink => link = Some(until_nul(self.small(size)?)),
                // The name of the volume: no member.
                other if other.as_byte() == b'V' => {
                    self.begin(size);
                    self.skip_content()?;
                }
                _ => return self.member(&header, size, own, name, link).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        header: &Header,
        size: u64,
        own: Records,
        name: Option<Vec<u8>>,
        link: Option<Vec<u8>>,
    ) -> Result<Entry, Broken> {
        let bad = |what| Broken::Format(what, self.at);
        let number = |given: Option<u64>, field: io::Result<u64>, what: &'static str| {
            given.map_or_else(|| field.map_err(|_| bad(what)), Ok)
        };
        let id = |given, field, what| {
            number(given, field, what).and_then(|id| u32::try_from(id).map_err(|_| bad(what)))
        };
        let name = own.path.or(name).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = own.linkpath.or(link);
        let link = link.or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default();
        let mtime = match own.mtime {
            Some(mtime) => mtime,
            None => Timestamp {
                seconds: seconds(header).ok_or_else(|| bad("a time that is none"))?,
                nanoseconds: 0,
            },
        };
        let device = |field: io::Result<Option<u32>>| field.ok().flatten().unwrap_or(0);
        let what = what(header, &name);
        let mut entry = Entry {
            what,
            link,
            mode: header.mode().map_err(|_| bad("a mode that is no number"))? & 0o7777,
            uid: id(own.uid, header.uid(), "an owner that is none")?,
            gid: id(own.gid, header.gid(), "a group that is none")?,
            mtime,
            atime: own.atime,
            rdev: (device(header.device_major()), device(header.device_minor())),
            xattrs: own.xattrs,
            acls: own.acls,
            size: own.size.unwrap_or(size),
            runs: None,
            name,
        };
        // What has no content has none, whatever its header says; of directories some write a size that means something else.
        let has_content = matches!(what, What::File | What::Other(_));
        let stored = if has_content { entry.size } else { 0 };
        self.begin(stored);
        if header.entry_type() == EntryType::GNUSparse {
            self.old_sparse(header, &mut entry)?;
        } else if let Some(sparse) = own.sparse {
            self.pax_sparse(sparse, &mut entry)?;
        }
        Ok(entry)
    }

    /// Reads content: the data that follow the header, without holes. Fills `buffer` or as much of it as there is.
    ///
    /// # Errors
    /// As [`Reader::next`].
    pub fn content(&mut self, buffer: &mut [u8]) -> Result<usize, Broken> {
        let want = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..want).unwrap_or_default();
        self.fill(buffer)?;
        self.left = self.left.saturating_sub(want as u64);
        Ok(want)
    }

    /// Reads what is left behind the end, up to the end of a record.
    pub fn finish(mut self) {
        let left = self.at.next_multiple_of(RECORD).saturating_sub(self.at);
        let _ = io::copy(&mut (&mut self.input).take(left), &mut io::sink());
    }

    /// The content that follows has so many bytes.
    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = size.checked_next_multiple_of(BLOCK as u64).unwrap_or(size).saturating_sub(size);
    }

    fn skip_content(&mut self) -> Result<(), Broken> {
        let skip = self.left.saturating_add(self.padding);
        (self.left, self.padding) = (0, 0);
        let skipped = io::copy(&mut (&mut self.input).take(skip), &mut io::sink()).map_err(Broken::Io)?;
        self.at = self.at.saturating_add(skipped);
        if skipped < skip { Err(Broken::Short(self.at)) } else { Ok(()) }
    }

    /// Content that is held: records and names.
    fn small(&mut self, size: u64) -> Result<Vec<u8>, Broken> {
        if size > RECORDS_BYTES_MAX {
            return Err(self.broken("records that are too long"));
        }
        self.begin(size);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.content(&mut bytes)?;
        self.skip_content()?;
        Ok(bytes)
    }

    /// The next header block; `None` at the end, which is a block of zeros, or that of the input.
    fn header(&mut self) -> Result<Option<Header>, Broken> {
        let mut header = Header::new_old();
        let start = self.at;
        match self.fill(header.as_mut_bytes()) {
            Err(Broken::Short(at)) if at == start => return Ok(None),
            done => done?,
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            // The second one belongs to it; that it is missing is no matter.
            let _ = self.fill(&mut [0; BLOCK]);
            return Ok(None);
        }
        let sum = checksum(header.as_bytes());
        if header.cksum().ok() != Some(sum) {
            return Err(Broken::Format("no header of a tar archive", start));
        }
        Ok(Some(header))
    }

    fn fill(&mut self, mut buffer: &mut [u8]) -> Result<(), Broken> {
        while !buffer.is_empty() {
            match self.input.read(buffer) {
                Ok(0) => return Err(Broken::Short(self.at)),
                Ok(n) => {
                    self.at = self.at.saturating_add(n as u64);
                    buffer = buffer.get_mut(n..).unwrap_or_default();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Broken::Io(e)),
            }
        }
        Ok(())
    }

    fn broken(&self, what: &'static str) -> Broken {
        Broken::Format(what, self.at)
    }
}

/// The sum of all bytes, those of the sum itself taken as spaces.
fn checksum(bytes: &[u8]) -> u32 {
    let sum = |(at, byte): (usize, &u8)| u32::from(if (148..156).contains(&at) { b' ' } else { *byte });
    bytes.iter().enumerate().map(sum).sum()
}

/// Seconds since 1970; GNU's form in base 256 may be negative.
fn seconds(header: &Header) -> Option<i64> {
    let field = header.as_old().mtime;
    match field.split_first() {
        Some((0xff, rest)) => {
            let tail: [u8; 8] = rest.get(3..)?.try_into().ok()?;
            Some(i64::from_be_bytes(tail))
        }
        _ => i64::try_from(header.mtime().ok()?).ok(),
    }
}

fn what(header: &Header, name: &[u8]) -> What {
    match header.entry_type() {
        // In the oldest archives a directory is a file whose name ends with a slash.
        EntryType::Regular if header.as_old().linkflag == [0] && name.ends_with(b"/") => What::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => What::File,
        EntryType::Directory => What::Directory,
        EntryType::Symlink => What::Symlink,
        EntryType::Link => What::HardLink,
        EntryType::Char => What::CharDevice,
        EntryType::Block => What::BlockDevice,
        EntryType::Fifo => What::Fifo,
        other => What::Other(other.as_byte()),
    }
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    bytes
}

#[cfg(test)]
mod tests;
