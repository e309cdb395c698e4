//! Changes of directories: what is the same in all procedures that make or remove names.

use super::{Caller, Done};
use crate::access::{EXECUTE, WRITE};
use crate::attributes::before;
use nfs3_types::nfs3::{Nfs3Option, nfsstat3, wcc_data};
use rumpcap::{File, Metadata};

/// The bit by which only owners remove what is in a directory.
const STICKY: u32 = 0o1000;

/// A directory that is being changed.
pub struct Directory {
    /// Held.
    pub file: File,
    /// As it was before.
    pub metadata: Metadata,
}

impl Caller<'_> {
    /// Changes the directory with handle `handle`, and makes it durable.
    pub(super) fn change_directory<T>(
        &self,
        handle: &[u8],
        wcc: &mut wcc_data,
        change: impl FnOnce(&Directory) -> Done<T>,
    ) -> Done<T> {
        self.may_change()?;
        let file = self.open(handle)?;
        let (directory, result) = {
            let _held = self.export.stripes.one(file.ino());
            let directory = self.directory(file, wcc)?;
            let result = self.may_enter_names(&directory).and_then(|()| change(&directory));
            self.after(&directory.file, wcc);
            (directory, result)
        };
        let done = result?;
        self.settle(&directory.file)?;
        Ok(done)
    }

    /// Changes two directories, which may be one.
    pub(super) fn change_two<T>(
        &self,
        handles: [&[u8]; 2],
        wcc: [&mut wcc_data; 2],
        change: impl FnOnce([&Directory; 2]) -> Done<T>,
    ) -> Done<T> {
        self.may_change()?;
        let [from_wcc, to_wcc] = wcc;
        let (from, to) = (self.open(handles[0])?, self.open(handles[1])?);
        let (from, to, result) = {
            let _held = self.export.stripes.two(from.ino(), to.ino());
            let from = self.directory(from, from_wcc)?;
            let to = self.directory(to, to_wcc)?;
            let may = self.may_enter_names(&from).and_then(|()| self.may_enter_names(&to));
            let result = may.and_then(|()| change([&from, &to]));
            self.after(&from.file, from_wcc);
            self.after(&to.file, to_wcc);
            (from, to, result)
        };
        let done = result?;
        self.settle(&from.file)?;
        self.settle(&to.file)?;
        Ok(done)
    }

    fn directory(&self, file: File, wcc: &mut wcc_data) -> Done<Directory> {
        let metadata = self.metadata(&file)?;
        wcc.before = Nfs3Option::Some(before(&metadata));
        if !metadata.is_dir() {
            return Err(nfsstat3::NFS3ERR_NOTDIR);
        }
        Ok(Directory { file, metadata })
    }

    fn may_enter_names(&self, directory: &Directory) -> Done<()> {
        self.check(&directory.metadata, WRITE | EXECUTE)
    }

    /// Whether the caller may take away an entry of a directory, as far as its sticky bit says.
    pub(super) fn may_take(&self, directory: &Directory, entry: &Metadata) -> Done<()> {
        let is_owner = |file: &Metadata| file.uid() == self.who.uid;
        if directory.metadata.mode() & STICKY == 0
            || self.who.is_superuser()
            || is_owner(entry)
            || is_owner(&directory.metadata)
        {
            return Ok(());
        }
        Err(nfsstat3::NFS3ERR_PERM)
    }
}
