//! Does with a mounted image all that a reader can do, in bounded work: for images of which nothing is known.
//!
//! Who calls it: the corruption tests and the fuzz targets. Errors are counted, not reported: the caller knows whether there may be
//! some. What must hold whatever the image says is asserted here: the walk ends, reads are not longer than asked for, the
//! kernel stays within its limit.

use rumpcap::{Error, Metadata, Mount};
use std::path::Path;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Entries that the walk gave.
    pub entries: u64,
    /// Bytes read from files.
    pub bytes: u64,
    /// Operations that gave an error.
    pub errors: u64,
}

/// Walks all of `mount`, an image of `image_bytes`, and reads of everything a bounded part.
///
/// # Panics
/// When the walk gives more entries than the image has room for, or errors: it does not end.
pub fn exercise(mount: &Mount, image_bytes: u64) -> Outcome {
    let mut outcome = Outcome::default();
    // An entry of a directory takes 12 bytes and more.
    let bound = image_bytes / 12 + 1000;
    outcome.count(mount.info());
    outcome.count(mount.stat_fs());
    let Some(mut walk) = outcome.count(mount.walk("/")) else { return outcome };
    loop {
        assert!(outcome.entries <= bound, "the walk of {image_bytes} bytes gave {bound} entries and goes on");
        assert!(outcome.errors <= 8 * bound, "the walk of {image_bytes} bytes gives errors without end");
        match walk.next_entry() {
            Ok(None) => break,
            Ok(Some(entry)) => {
                outcome.entries += 1;
                let (metadata, path) = (*entry.metadata(), entry.path().to_owned());
                outcome.inode(mount, &path, &metadata);
            }
            Err(_) => outcome.errors += 1,
        }
    }
    outcome
}

impl Outcome {
    fn count<T>(&mut self, result: rumpcap::Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            // Names that are asked for and do not exist, and links that lead nowhere, are answers.
            Err(Error::NotFound | Error::TooManyLinks) => None,
            Err(_) => {
                self.errors += 1;
                None
            }
        }
    }

    fn inode(&mut self, mount: &Mount, path: &Path, metadata: &Metadata) {
        self.count(mount.xattrs_ino(metadata.ino()));
        // Every path is looked up in the first thousand, so that index blocks are read too.
        if self.entries < 1000 {
            self.count(mount.symlink_metadata(path));
            self.count(mount.metadata(path));
        }
        if metadata.is_symlink() {
            self.count(mount.read_link_ino(metadata.ino()));
        }
        if metadata.is_dir() {
            self.count(mount.symlink_metadata(path.join("no such name")));
            self.listing(mount, path);
        }
        if metadata.is_file() {
            self.file(mount, metadata);
        }
    }

    fn listing(&mut self, mount: &Mount, path: &Path) {
        let Some(listing) = self.count(mount.read_dir(path)) else { return };
        for entry in listing.take(5000) {
            if let Some(entry) = self.count(entry) {
                assert!(!entry.file_name().is_empty(), "an entry without a name");
            }
        }
    }

    /// Reads the beginning, the end and some places between; follows the segments for a while.
    fn file(&mut self, mount: &Mount, metadata: &Metadata) {
        let Some(file) = self.count(mount.open_ino(metadata.ino())) else { return };
        let size = metadata.len();
        let mut buffer = [0; 32 << 10];
        for at in [0, size / 7, size / 3, size / 2, size.saturating_sub(5000), size, u64::MAX - 10] {
            if let Some(read) = self.count(file.read_at(&mut buffer, at)) {
                assert!(
                    read <= buffer.len() && at.saturating_add(read as u64) <= size.max(at),
                    "too long a read"
                );
                self.bytes += read as u64;
            }
        }
        let mut at = 0;
        for _ in 0..100 {
            let Some(Some(segment)) = self.count(file.segment_at(at)) else { break };
            let end = segment.offset.saturating_add(segment.len_bytes);
            assert!(segment.offset <= at && end > at, "the segment of {at} is {segment:?}");
            at = end;
        }
    }
}
