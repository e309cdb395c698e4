//! Reading the content of files in bounded pieces.
//!
//! Who calls it: `cat`, `head`, `sha256`, `cp`, `tar`. Memory: one buffer, made once per command.

use crate::outcome::Run;
use crate::session::{Links, Session, Target};
use rumpcap::{Error, File, FileKind};

/// Bytes that are read at once: large enough that the library reads straight into the buffer.
pub const CHUNK_BYTES: usize = 128 << 10;

/// A buffer for [`each_chunk`].
pub fn buffer() -> Vec<u8> {
    vec![0; CHUNK_BYTES]
}

/// Hands `[from, to)` of `file` to `sink` piece by piece, as far as the file goes. The outer result is the sink's; the inner one
/// tells of the reading.
pub fn each_chunk(
    file: &File,
    range: std::ops::Range<u64>,
    buffer: &mut [u8],
    sink: &mut dyn FnMut(&[u8]) -> Run,
) -> Run<Result<(), Error>> {
    let mut at = range.start;
    while at < range.end {
        let want = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        match file.read_at(&mut buffer[..want], at) {
            Ok(0) => break,
            Ok(n) => {
                sink(&buffer[..n])?;
                at += n as u64;
            }
            Err(e) => return Ok(Err(e)),
        }
    }
    Ok(Ok(()))
}

/// Opens a regular file of the command line; a failure is named and counted.
pub fn open_regular(session: &mut Session, target: &Target) -> Option<File> {
    let metadata = session.metadata(target, Links::Follow)?;
    if let Err(reason) = must_be_regular(metadata.file_type().kind()) {
        session.fail(&target.path, &reason);
        return None;
    }
    target.mount.open(&target.path).map_err(|e| session.fail(&target.path, &e)).ok()
}

/// Why a file of this kind has no content to read.
fn must_be_regular(kind: FileKind) -> Result<(), &'static str> {
    match kind {
        FileKind::Regular => Ok(()),
        FileKind::Directory => Err("is a directory"),
        FileKind::CharDevice | FileKind::BlockDevice => Err("is a device: it has no content in the image"),
        FileKind::Fifo | FileKind::Socket => Err("is a fifo or socket: it has no content in the image"),
        FileKind::Symlink | FileKind::Unknown => Err("not a regular file"),
    }
}
