//! [`PageDigest`]: a digest of a file's content that costs nothing for its holes.
//!
//! The pages (4 KiB, the last one cut to the size) that are not all zeros go into SHA-256, each behind its number. So
//! a file of 16 TiB with three pages of data can be compared whole, and a page that lies one too far is seen.

use sha2::{Digest, Sha256};

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// What identifies a content.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// SHA-256 of the pages that hold something.
    pub digest: [u8; 32],
    /// How many these are.
    pub pages: u64,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} pages of data, ", self.pages)?;
        self.digest.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Makes a [`Content`] from pages in ascending order.
#[derive(Default)]
pub struct PageDigest {
    hash: Sha256,
    pages: u64,
}

impl PageDigest {
    /// Adds the pages of `data`, which begins at byte `offset`, a multiple of [`PAGE`].
    ///
    /// # Panics
    /// When it is not.
    pub fn add(&mut self, offset: u64, data: &[u8]) {
        assert_eq!(offset % PAGE as u64, 0, "content is handed over in pages");
        for (n, page) in data.chunks(PAGE).enumerate() {
            if page.iter().any(|byte| *byte != 0) {
                self.hash.update((offset / PAGE as u64 + n as u64).to_le_bytes());
                self.hash.update(page);
                self.pages += 1;
            }
        }
    }

    /// The digest of what was added.
    pub fn finish(self) -> Content {
        Content { digest: self.hash.finalize().into(), pages: self.pages }
    }
}
