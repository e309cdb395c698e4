//! [`Image`]: files of an image, by their inode numbers. It may be the image that is written.

use super::{Attributes, Failure, Identity, Name, NameAndValue, Of, Place, Source};
use crate::session::Target;
use rumpcap::{File, Metadata, Mount};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Files of an image.
pub struct Image {
    mount: Mount,
    image: usize,
}

impl Image {
    /// Files of the image that `target` is in.
    pub fn of(target: &Target) -> Image {
        Image { mount: target.mount.clone(), image: target.image }
    }

    /// What the image says of a file, in the copy's words.
    pub fn attributes(&self, m: &Metadata) -> Attributes {
        Attributes {
            identity: Identity { place: Place::Image(self.image), ino: m.ino() },
            kind: m.file_type().kind(),
            mode: m.mode() & 0o7777,
            owner: (m.uid(), m.gid()),
            nlink: m.nlink().into(),
            len_bytes: m.len(),
            stored_bytes: m.blocks().saturating_mul(512),
            rdev: m.rdev(),
            atime: m.accessed(),
            mtime: m.modified(),
        }
    }
}

impl Source for Image {
    /// Its inode number.
    type Directory = u64;
    type File = File;

    fn look_at(&self, _: &u64, name: &Name) -> Result<Attributes, Failure> {
        self.mount.metadata_ino(name.ino).map(|m| self.attributes(&m)).map_err(Failure::Source)
    }

    fn enter(&self, directory: &u64, name: &Name) -> Result<(u64, Attributes), Failure> {
        self.look_at(directory, name).map(|attributes| (name.ino, attributes))
    }

    fn open(&self, directory: &u64, name: &Name) -> Result<(File, Attributes), Failure> {
        let file = self.mount.open_ino(name.ino).map_err(Failure::Source)?;
        Ok((file, self.look_at(directory, name)?))
    }

    /// In the order of inodes, as they are read.
    fn names(&self, directory: &u64) -> Result<Vec<Name>, Failure> {
        let entries = self.mount.read_dir_ino(*directory).map_err(Failure::Source)?;
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Failure::Source)?;
            names.push(Name { name: entry.file_name().as_bytes().into(), ino: entry.ino() });
        }
        names.sort_unstable_by(|a, b| (b.ino, &b.name).cmp(&(a.ino, &a.name)));
        Ok(names)
    }

    fn next_data(&self, file: &File, offset: u64, _: &Attributes) -> Result<Option<Range<u64>>, Failure> {
        let mut at = offset;
        while let Some(segment) = file.segment_at(at).map_err(Failure::Source)? {
            let end = segment.offset.saturating_add(segment.len_bytes);
            if end <= at {
                break;
            }
            if !segment.hole {
                return Ok(Some(at..end));
            }
            at = end;
        }
        Ok(None)
    }

    fn read(&self, file: &File, buffer: &mut [u8], offset: u64) -> Result<usize, Failure> {
        let mut len = 0;
        while len < buffer.len() {
            match file.read_at(&mut buffer[len..], offset + len as u64).map_err(Failure::Source)? {
                0 => break,
                got => len += got,
            }
        }
        Ok(len)
    }

    fn link_target(&self, _: &u64, name: &Name) -> Result<Vec<u8>, Failure> {
        let target = self.mount.read_link_ino(name.ino).map_err(Failure::Source)?;
        Ok(target.into_os_string().into_vec())
    }

    fn xattrs(&mut self, of: Of<'_, Image>) -> Result<Vec<NameAndValue>, Failure> {
        let ino = match of {
            Of::Directory(ino) => *ino,
            Of::File(file) => file.ino(),
            Of::Entry(_, name) => name.ino,
        };
        self.mount.xattrs_ino(ino).map_err(Failure::Source)
    }
}
