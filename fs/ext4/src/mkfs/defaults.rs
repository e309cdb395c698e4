//! [`Options`]: what a file system is to be, and what it is when nobody says.
//!
//! Who calls it: front ends fill it; `geometry` reads it. The defaults are those of mke2fs and its configuration as it is
//! shipped, so that an image is what its user knows.

use crate::features::{COMPAT, Features, INCOMPAT, RO_COMPAT};
use rumpcap_host::{Error, Result};

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Block maps, no journal.
    Ext2,
    /// ext2 with a journal.
    Ext3,
    /// Extents, checksums, long descriptors.
    Ext4,
}

/// What the device holds where nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prior {
    /// Zeros: a new file, or one whose blocks were all given back.
    Zeros,
    /// Anything: what must be zero is written.
    Unknown,
}

/// What a file system is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Features, see [`features_of`].
    pub features: Features,
    /// Bytes of a block; by the size of the file system if not said.
    pub block_size: Option<u32>,
    /// Bytes of an inode.
    pub inode_size: u32,
    /// Bytes of the file system for each inode; by its size if not said.
    pub bytes_per_inode: Option<u32>,
    /// Inodes; says more than `bytes_per_inode`.
    pub inodes: Option<u32>,
    /// Blocks kept for root, in hundredths of a per cent.
    pub reserved_basis_points: u32,
    /// Bytes of the journal; by the size of the file system if not said.
    pub journal_bytes: Option<u64>,
    /// Groups whose bitmaps and tables are together, a power of two. With flex_bg.
    pub groups_per_flex: u32,
    /// Volume name.
    pub label: [u8; 16],
    /// UUID.
    pub uuid: [u8; 16],
    /// Seed of directory hashes.
    pub hash_seed: [u8; 16],
    /// Seconds since 1970 at which it was made.
    pub time: u64,
    /// What the device holds.
    pub prior: Prior,
    /// Whether tables of unused inodes may be left to the kernel to clear, where features allow it.
    pub lazy_tables: bool,
}

impl Options {
    /// The defaults for `kind`: everything zero that should be drawn at random.
    pub fn new(kind: Kind) -> Options {
        Options {
            features: features_of(kind),
            block_size: None,
            inode_size: 256,
            bytes_per_inode: None,
            inodes: None,
            reserved_basis_points: 500,
            journal_bytes: None,
            groups_per_flex: 16,
            label: [0; 16],
            uuid: [0; 16],
            hash_seed: [0; 16],
            time: 0,
            prior: Prior::Unknown,
            lazy_tables: true,
        }
    }
}

const HAS_JOURNAL: u32 = 0x4;
const EXT_ATTR: u32 = 0x8;
const RESIZE_INODE: u32 = 0x10;
const DIR_INDEX: u32 = 0x20;
const FILETYPE: u32 = 0x2;
const EXTENT: u32 = 0x40;
const LONG: u32 = 0x80;
const FLEX_BG: u32 = 0x200;
const CSUM_SEED: u32 = 0x2000;
const LARGE_DIR: u32 = 0x4000;
const SPARSE_SUPER: u32 = 0x1;
const LARGE_FILE: u32 = 0x2;
const HUGE_FILE: u32 = 0x8;
const UNINIT_BG: u32 = 0x10;
const DIR_NLINK: u32 = 0x20;
const EXTRA_ISIZE: u32 = 0x40;
const METADATA_CSUM: u32 = 0x400;
const PROJECT: u32 = 0x2000;

/// What can be made.
const MADE: Features = Features {
    compat: HAS_JOURNAL | EXT_ATTR | RESIZE_INODE | DIR_INDEX,
    incompat: FILETYPE | EXTENT | LONG | FLEX_BG | CSUM_SEED | LARGE_DIR,
    ro_compat: SPARSE_SUPER
        | LARGE_FILE
        | HUGE_FILE
        | UNINIT_BG
        | DIR_NLINK
        | EXTRA_ISIZE
        | METADATA_CSUM
        | PROJECT,
};

/// The features that a file system of `kind` has when nobody says.
pub fn features_of(kind: Kind) -> Features {
    let base = Features {
        compat: EXT_ATTR | RESIZE_INODE | DIR_INDEX,
        incompat: FILETYPE,
        ro_compat: SPARSE_SUPER | LARGE_FILE,
    };
    match kind {
        Kind::Ext2 => base,
        Kind::Ext3 => Features { compat: base.compat | HAS_JOURNAL, ..base },
        Kind::Ext4 => Features {
            compat: base.compat | HAS_JOURNAL,
            incompat: base.incompat | EXTENT | LONG | FLEX_BG,
            ro_compat: base.ro_compat | HUGE_FILE | DIR_NLINK | EXTRA_ISIZE | METADATA_CSUM,
        },
    }
}

impl Features {
    /// These features with those of `list` changed: names with commas between them, `^` before one to take it away, `none` for
    /// none so far, as mke2fs has it.
    ///
    /// # Errors
    /// The first name that is none.
    pub fn edited(mut self, list: &str) -> core::result::Result<Features, &str> {
        for word in list.split([',', ' ']).filter(|word| !word.is_empty()) {
            if word == "none" {
                self = Features::default();
                continue;
            }
            let (name, on) = word.strip_prefix('^').map_or((word, true), |name| (name, false));
            self.set(name, on).ok_or(word)?;
        }
        Ok(self)
    }

    fn set(&mut self, name: &str, on: bool) -> Option<()> {
        let name = if name == "extents" { "extent" } else { name };
        let words =
            [(&mut self.compat, COMPAT), (&mut self.incompat, INCOMPAT), (&mut self.ro_compat, RO_COMPAT)];
        for (word, table) in words {
            if let Some((bit, _)) = table.iter().find(|(_, known)| *known == name) {
                *word = if on { *word | bit } else { *word & !bit };
                return Some(());
            }
        }
        None
    }

    /// Whether a file system with these can be made, and they go together.
    ///
    /// # Errors
    /// `Unsupported` by name; `InvalidInput` for what contradicts itself.
    pub(super) fn check_makeable(&self) -> Result<()> {
        let words = [
            (self.compat & !MADE.compat, COMPAT),
            (self.incompat & !MADE.incompat, INCOMPAT),
            (self.ro_compat & !MADE.ro_compat, RO_COMPAT),
        ];
        for (rest, table) in words {
            if let Some((_, name)) = table.iter().find(|(bit, _)| rest & bit != 0) {
                return Err(Error::Unsupported { what: name });
            }
            if rest != 0 {
                return Err(Error::UnknownFeature { bits: rest });
            }
        }
        let contradictions = [
            (self.has_metadata_csum() && self.has_gdt_csum(), "features: metadata_csum with uninit_bg"),
            (
                self.has_metadata_csum_seed() && !self.has_metadata_csum(),
                "features: metadata_csum_seed without metadata_csum",
            ),
            (self.has_64bit() && !self.has_extent(), "features: 64bit without extent"),
            (
                self.has_resize_inode() && !self.has_sparse_super(),
                "features: resize_inode without sparse_super",
            ),
        ];
        match contradictions.iter().find(|(holds, _)| *holds) {
            Some(&(_, what)) => Err(Error::InvalidInput { what }),
            None => Ok(()),
        }
    }

    /// Without the journal.
    pub(super) fn without_journal(self) -> Features {
        Features { compat: self.compat & !HAS_JOURNAL, ..self }
    }

    /// Without the space for more descriptors.
    pub(super) fn without_resize_inode(self) -> Features {
        Features { compat: self.compat & !RESIZE_INODE, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_by_name() {
        let ext4 = features_of(Kind::Ext4);
        let edited = ext4.edited("^has_journal,uninit_bg,^metadata_csum").unwrap();
        assert!(!edited.has_journal() && edited.has_gdt_csum() && !edited.has_metadata_csum());
        assert_eq!(ext4.edited("none").unwrap(), Features::default());
        assert_eq!(ext4.edited("^has_journal,nonsense"), Err("nonsense"));
        assert_eq!(ext4.check_makeable(), Ok(()));
        let casefold = ext4.edited("casefold").unwrap();
        assert_eq!(casefold.check_makeable(), Err(Error::Unsupported { what: "casefold" }));
    }
}
