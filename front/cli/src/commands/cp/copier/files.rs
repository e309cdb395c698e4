//! Regular files of a copy, and what comes out of pipes: CO-1 and CO-2 of [`Copier`].
//!
//! Who calls it: `copier`, and `into` for what the user named.

use super::{Copier, Made, To};
use crate::commands::cp::source::{Attributes, Failure, Of, Place, Source};
use crate::image_tree::Refusal;
use crate::interrupt::Input;
use crate::session::Session;
use rumpcap::FileKind;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Copier {
    /// Copies a regular file; gives its number in the image.
    pub fn regular<S: Source>(
        &mut self,
        session: &mut Session,
        source: &mut S,
        from: &S::File,
        attributes: &Attributes,
        to: To<'_>,
        path: &Path,
    ) -> Result<u64, Failure> {
        if attributes.kind != FileKind::Regular {
            return Err(Failure::Said("changed while it was read"));
        }
        self.must_be_another(attributes, to)?;
        self.progress.begin(path, attributes.len_bytes, attributes.stored_bytes);
        let file = self.tree.file(to.dir, to.name, &self.owner_of(attributes))?;
        if let Err(failure) = self.content(session, source, from, attributes, &file) {
            // CO-1. Where even that fails, the first failure says more.
            let _ = self.tree.mount.remove_file_at(to.dir, OsStr::from_bytes(to.name));
            return Err(failure);
        }
        let made = Made { ino: file.ino(), inherits: to.inherits };
        self.finish(session, source, Of::File(from), attributes, made, path)?;
        Ok(made.ino)
    }

    /// Copies what comes out of a pipe of the host, as a regular file of now.
    pub fn stream(
        &mut self,
        session: &mut Session,
        from: File,
        attributes: &Attributes,
        to: To<'_>,
        path: &Path,
    ) -> Result<(), Failure> {
        self.progress.name(path);
        let file = self.tree.file(to.dir, to.name, &self.owner_of(attributes))?;
        let mut from = Input::new(from, session.interrupt().cloned());
        let mut at = 0;
        let copied = loop {
            let got = match from.read(&mut self.buffer) {
                Ok(0) => break Ok(()),
                Ok(got) => got,
                // A signal, or the host's word.
                Err(e) => {
                    break Err(session.check_interrupt().map_or_else(Failure::Stop, |()| Failure::Read(e)));
                }
            };
            if let Err(e) = write_all(&file, &self.buffer[..got], at) {
                break Err(Failure::Image(Refusal::Image(e)));
            }
            at += got as u64;
            self.progress.bytes(got as u64);
        };
        if copied.is_err() {
            // CO-1.
            let _ = self.tree.mount.remove_file_at(to.dir, OsStr::from_bytes(to.name));
        }
        copied
    }

    /// Copies the content, hole by hole.
    fn content<S: Source>(
        &mut self,
        session: &Session,
        source: &S,
        from: &S::File,
        attributes: &Attributes,
        to: &rumpcap::File,
    ) -> Result<(), Failure> {
        let len_bytes = attributes.len_bytes;
        let mut at = 0;
        while let Some(data) = source.next_data(from, at, attributes)? {
            at = data.start;
            while at < data.end {
                session.check_interrupt().map_err(Failure::Stop)?;
                let want = usize::try_from(data.end - at).unwrap_or(usize::MAX).min(self.buffer.len());
                let got = source.read(from, &mut self.buffer[..want], at)?;
                if got == 0 {
                    return Err(Failure::Said("became shorter while it was read"));
                }
                write_all(to, &self.buffer[..got], at).map_err(Refusal::Image)?;
                at += got as u64;
                self.progress.bytes(got as u64);
            }
        }
        if at < len_bytes {
            to.set_len(len_bytes).map_err(Refusal::Image)?;
        }
        Ok(())
    }

    /// CO-2: a file is made anew, so what has the name goes first.
    pub(super) fn must_be_another(&self, attributes: &Attributes, to: To<'_>) -> Result<(), Failure> {
        if attributes.identity.place != Place::Image(self.image) {
            return Ok(());
        }
        match self.tree.look_up(to.dir, to.name)? {
            Some(there) if there.ino() == attributes.identity.ino => {
                Err(Failure::Said("is the same file as its copy would be"))
            }
            _ => Ok(()),
        }
    }
}

fn write_all(to: &rumpcap::File, mut bytes: &[u8], mut at: u64) -> rumpcap::Result<()> {
    while !bytes.is_empty() {
        let done = to.write_at(bytes, at)?;
        (bytes, at) = (&bytes[done..], at + done as u64);
    }
    Ok(())
}
