//! Names: looking one up, and listing all of a directory.
//!
//! A listing goes on where the cookie of the last entry says; nothing is kept between requests. With attributes (`READDIRPLUS`) the entries
//! are put into the reply first and their attributes then, in the order of inode numbers, which is that of the device.

use crate::attr::{self, dirent_kind};
use crate::errno::{Answer, errno};
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Server;
use crate::wire::received::ReadIn;
use crate::wire::sent::{Dirent, EntryOut};
use core::ops::ControlFlow;
use rumpcap::{Error, ServedEntry};
use rustix::io::Errno;
use zerocopy::{FromBytes, IntoBytes};

/// The most entries of a reply with attributes: their places are on the stack.
const ENTRIES_MAX: usize = 1024;

/// Where an entry with attributes is in the reply.
#[derive(Clone, Copy, Default)]
struct Place {
    ino: u32,
    at: u32,
}

/// Entries in the making.
struct Listing<'b> {
    bytes: &'b mut [u8],
    len: usize,
    /// Bytes in front of each entry.
    before: usize,
}

impl Listing<'_> {
    /// Adds an entry if there is room; gives its place.
    fn add(&mut self, entry: &ServedEntry<'_>) -> Option<usize> {
        let header = Dirent {
            ino: entry.ino,
            off: entry.next,
            namelen: entry.name.len() as u32,
            kind: dirent_kind(entry.kind),
        };
        let (at, header) = (self.len, header.as_bytes());
        let name_at = at + self.before + header.len();
        let end = (name_at + entry.name.len()).next_multiple_of(8);
        let place = self.bytes.get_mut(at..end)?;
        place.fill(0);
        place[self.before..self.before + header.len()].copy_from_slice(header);
        place[name_at - at..name_at - at + entry.name.len()].copy_from_slice(entry.name);
        self.len = end;
        Some(at)
    }
}

impl Server {
    /// `LOOKUP`. `.` is the directory itself: that is how an exporter finds what a node id names.
    pub(crate) fn lookup(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let name = request.name()?;
        let found = match name.as_encoded_bytes() {
            b"." => self.mount.metadata_id(self.inode(request.header.nodeid)),
            _ => self.mount.metadata_at(self.directory(request.header.nodeid)?, name),
        };
        match found {
            Ok(metadata) => reply.put(&self.entry(&metadata)),
            Err(Error::NotFound) if !self.valid().negative.is_zero() => {
                reply.put(&attr::no_entry(self.valid()))
            }
            Err(error) => Err(errno(error)),
        }
    }

    /// `READLINK`.
    pub(crate) fn readlink(&self, request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let len =
            self.mount.read_link_id(self.inode(request.header.nodeid), reply.space(4095)).map_err(errno)?;
        reply.has(len)
    }

    /// `READDIR`.
    pub(crate) fn readdir(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: ReadIn = request.take()?;
        let mut listing = Listing { bytes: reply.space(args.size), len: 0, before: 0 };
        self.list(request.header.nodeid, args.offset, &mut |entry| match listing.add(&entry) {
            Some(_) => ControlFlow::Continue(()),
            None => ControlFlow::Break(()),
        })?;
        let len = listing.len;
        reply.has(len)
    }

    /// `READDIRPLUS`.
    pub(crate) fn readdirplus(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: ReadIn = request.take()?;
        let mut places = [Place::default(); ENTRIES_MAX];
        let mut entries = 0;
        let mut listing = Listing { bytes: reply.space(args.size), len: 0, before: size_of::<EntryOut>() };
        self.list(request.header.nodeid, args.offset, &mut |entry| {
            let Some(place) = places.get_mut(entries) else { return ControlFlow::Break(()) };
            let Some(at) = listing.add(&entry) else { return ControlFlow::Break(()) };
            // Of the directory itself and the one above nothing more is wanted.
            if !matches!(entry.name, b"." | b"..") {
                *place = Place { ino: entry.ino as u32, at: at as u32 };
                entries += 1;
            }
            ControlFlow::Continue(())
        })?;
        let places = &mut places[..entries];
        places.sort_unstable_by_key(|place| place.ino);
        for place in places.iter() {
            // Without attributes the entry stays a name, and who looks it up is told why.
            let Ok(metadata) = self.mount.metadata_ino(u64::from(place.ino)) else { continue };
            if let Ok((entry, _)) = EntryOut::mut_from_prefix(&mut listing.bytes[place.at as usize..]) {
                *entry = self.entry(&metadata);
            }
        }
        let len = listing.len;
        reply.has(len)
    }

    /// Hands the entries of a directory to `sink`. One that was removed, and that somebody still has open, has none.
    fn list(
        &self,
        node: u64,
        from: u64,
        sink: &mut dyn FnMut(ServedEntry<'_>) -> ControlFlow<()>,
    ) -> Answer<()> {
        match self.mount.read_dir_id(self.inode(node), from, sink) {
            Ok(()) | Err(Error::Stale) => Ok(()),
            Err(Error::NotADirectory) => Err(Errno::NOTDIR),
            Err(error) => Err(errno(error)),
        }
    }
}
