//! Directories kept in their inode: entries put, taken and changed there, until they do not fit any more.
//!
//! Who calls it: `mod`. Whom it calls: `xattr` for the second area, `block` for the move to a block.
//!
//! Records are in two areas: `i_block` behind the parent's number, and the value of `system.data`. The second is made as long as the inode
//! has room for when there is no other. IL-1. The directory's size is 60 and the length of that value.
//!
//! Memory: a copy of the second area on the stack.
#![deny(clippy::indexing_slicing)]

use super::block::{BLOCK_MAX, Form, Looked, find_record, look_in};
use super::record::{Filler, Found, NewEntry, Record, Records, Room, put, put_len};
use crate::dir::entry::{Broken, RECORD_MIN, Rules};
use crate::dir::{Dir, Wanted};
use crate::inode_edit::Inode;
use crate::layout::{BLOCK_BYTES, inode_flags};
use crate::node::Ext4Node;
use crate::region::Region;
use crate::transaction::Handle;
use crate::xattr;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{FileKind, InodeNo};
use zerocopy::IntoBytes;

/// Bytes of the parent's number.
const PARENT: usize = 4;

/// An area of records.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Area {
    /// `i_block`.
    First,
    /// The value of `system.data`.
    Second,
}

const AREAS: [Area; 2] = [Area::First, Area::Second];

/// Copies of both areas.
struct Areas {
    block: [u8; BLOCK_BYTES],
    value: [u8; BLOCK_MAX],
    value_len: usize,
    rules: Rules,
    ino: u64,
}

impl Areas {
    fn read(dir: &Dir<'_, '_>) -> Result<Areas> {
        let ino = dir.node.attributes.ino.0;
        let block = dir.node.block_bytes();
        let mut areas = Areas { block, value: [0; BLOCK_MAX], value_len: 0, rules: dir.rules, ino };
        if let Some(tail) = xattr::inline_tail(dir.fs, dir.r, dir.node)? {
            let region = Region { start: tail.place, len: tail.len_bytes };
            areas.value_len = tail.len_bytes as usize;
            let to = areas.value.get_mut(..areas.value_len);
            region.read(dir.fs, dir.r, to.ok_or_else(|| dir.corrupt("inline directory: length"))?)?;
        }
        Ok(areas)
    }

    fn bytes(&self, area: Area) -> &[u8] {
        let bytes = match area {
            Area::First => self.block.get(PARENT..),
            Area::Second => self.value.get(..self.value_len),
        };
        bytes.unwrap_or_default()
    }

    fn broken(&self) -> impl Fn(Broken) -> Error + use<> {
        let at = self.ino;
        move |Broken(what)| Error::Corrupt { what, at }
    }

    /// Where an entry of `len` bytes fits.
    ///
    /// # Errors
    /// `Exists` when the name is in either area (DC-1).
    fn room(&self, wanted: &Wanted<'_>, len: usize) -> Result<Option<(Area, Room)>> {
        let mut found = None;
        for area in AREAS {
            let bytes = self.bytes(area);
            match look_in(bytes, &self.rules, bytes.len(), wanted, len).map_err(self.broken())? {
                Looked::There => return Err(Error::Exists),
                Looked::Room(room) => {
                    found.get_or_insert((area, room));
                }
                Looked::Full => {}
            }
        }
        Ok(found)
    }

    fn find(&self, wanted: &Wanted<'_>) -> Result<(Area, Found)> {
        for area in AREAS {
            let bytes = self.bytes(area);
            if let Some(found) =
                find_record(bytes, &self.rules, bytes.len(), wanted).map_err(self.broken())?
            {
                return Ok((area, found));
            }
        }
        Err(Error::NotFound)
    }

    /// The last record of the value; `None` where it has no length.
    fn last(&self) -> Result<Option<Record>> {
        let bytes = self.bytes(Area::Second);
        Records::new(bytes, &self.rules, bytes.len()).last().transpose().map_err(self.broken())
    }

    /// Puts all entries into a block; false if they do not fit.
    fn copy_to(&self, filler: &mut Filler<'_>) -> core::result::Result<bool, Broken> {
        for area in AREAS {
            let bytes = self.bytes(area);
            for record in Records::new(bytes, &self.rules, bytes.len()) {
                let record = record?;
                let entry = bytes.get(record.at..record.at + record.used()).unwrap_or_default();
                if !entry.is_empty() && !filler.copy(entry) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

impl Handle<'_> {
    /// Makes a new directory an inline one, if there is room in its inode; false if not.
    pub(super) fn begin_inline(&mut self, inode: &mut Inode, parent: InodeNo) -> Result<bool> {
        if !self.fs.sb.features.has_inline_data() || self.inline_space(inode)?.is_none() {
            return Ok(false);
        }
        inode.set_flags(inode_flags::INLINE_DATA, inode_flags::EXTENTS);
        inode.raw.block = Default::default();
        let bytes = inode.raw.block.as_mut_bytes();
        put(bytes, 0, &(parent.0 as u32).to_le_bytes());
        put_len(bytes.get_mut(PARENT..).unwrap_or_default(), 0, BLOCK_BYTES - PARENT);
        inode.set_size_bytes(BLOCK_BYTES as u64);
        self.set_inline_attribute(inode, 0, |_| ())?;
        Ok(true)
    }

    /// Adds an entry; false if there is no room, and the directory is in a block from now on.
    pub(super) fn add_inline(
        &mut self,
        inode: &mut Inode,
        wanted: &Wanted<'_>,
        entry: &NewEntry<'_>,
    ) -> Result<bool> {
        let node = self.node(inode)?;
        let dir = Dir::open(self.fs, self.r, &node)?;
        let areas = Areas::read(&dir)?;
        if let Some((area, room)) = areas.room(wanted, entry.len())? {
            self.change_area(inode, &areas, area, |bytes| room.put(bytes, entry))?;
            return Ok(true);
        }
        if self.add_to_longer(inode, &areas, entry)? {
            return Ok(true);
        }
        self.move_to_block(inode, &areas)?;
        Ok(false)
    }

    /// Makes the value as long as can be, and puts an entry where it became longer; false if that does not do.
    fn add_to_longer(&mut self, inode: &mut Inode, areas: &Areas, entry: &NewEntry<'_>) -> Result<bool> {
        let most = self.inline_space(inode)?.unwrap_or(0) & !3;
        let more = most.saturating_sub(areas.value_len);
        if more < RECORD_MIN as usize || most > BLOCK_MAX {
            return Ok(false);
        }
        let free = Record { at: 0, len: 0, ino: 0, name_len: 0 };
        let last = areas.last()?.unwrap_or(free);
        let longer = Record { len: last.len + more, ..last };
        if longer.room() < entry.len() {
            return Ok(false);
        }
        inode.set_size_bytes((BLOCK_BYTES + most) as u64);
        self.set_inline_attribute(inode, most, |bytes| {
            put_len(bytes, longer.at, longer.len);
            Room(longer).put(bytes, entry);
        })?;
        Ok(true)
    }

    /// Removes an entry; gives what it named.
    pub(super) fn remove_inline(&mut self, inode: &mut Inode, wanted: &Wanted<'_>) -> Result<InodeNo> {
        let node = self.node(inode)?;
        let areas = Areas::read(&Dir::open(self.fs, self.r, &node)?)?;
        let (area, found) = areas.find(wanted)?;
        self.change_area(inode, &areas, area, |bytes| found.take(bytes))?;
        Ok(InodeNo(u64::from(found.record.ino)))
    }

    /// Has an entry, or `..`, name another inode.
    pub(super) fn set_inline(
        &mut self,
        inode: &mut Inode,
        wanted: &Wanted<'_>,
        entry: &NewEntry<'_>,
    ) -> Result<()> {
        if entry.name == b".." {
            put(inode.raw.block.as_mut_bytes(), 0, &entry.ino.to_le_bytes());
            return Ok(());
        }
        let node = self.node(inode)?;
        let areas = Areas::read(&Dir::open(self.fs, self.r, &node)?)?;
        let (area, found) = areas.find(wanted)?;
        self.change_area(inode, &areas, area, |bytes| found.set(bytes, entry.ino, entry.file_type))
    }

    fn change_area(
        &mut self,
        inode: &mut Inode,
        areas: &Areas,
        area: Area,
        change: impl FnOnce(&mut [u8]),
    ) -> Result<()> {
        match area {
            Area::First => change(inode.raw.block.as_mut_bytes().get_mut(PARENT..).unwrap_or_default()),
            Area::Second => self.set_inline_attribute(inode, areas.value_len, change)?,
        }
        Ok(())
    }

    /// Moves all entries into the first block of a directory that is like any other.
    fn move_to_block(&mut self, inode: &mut Inode, areas: &Areas) -> Result<()> {
        let parent = areas.block.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        self.remove_inline_attribute(inode)?;
        inode.set_flags(0, inode_flags::INLINE_DATA);
        inode.set_size_bytes(0);
        self.begin_map(inode);
        let place = self.append_block(inode)?;
        let form = Form::of(self.fs, &self.node(inode)?);
        let copied = self.create_block(place.physical, |bytes| {
            let mut filler = Filler::new(bytes, form.usable);
            put_dots(&mut filler, &form, inode.ino, InodeNo(u64::from(parent)));
            let copied = areas.copy_to(&mut filler);
            filler.close();
            form.seal_leaf(bytes);
            copied
        })?;
        let is_all = copied.map_err(areas.broken())?;
        if is_all {
            Ok(())
        } else {
            Err(Error::Corrupt { what: "inline directory: length", at: inode.ino.0 })
        }
    }
}

/// Puts `.` and `..` into the first block of a directory.
pub(super) fn put_dots(filler: &mut Filler<'_>, form: &Form, ino: InodeNo, parent: InodeNo) {
    let dot = NewEntry::new(b".", ino, FileKind::Directory, form.has_types);
    let dotdot = NewEntry::new(b"..", parent, FileKind::Directory, form.has_types);
    let fits = filler.put(&dot) && filler.put(&dotdot);
    debug_assert!(fits, "a block holds more than 24 bytes");
}
