//! Feature bits of the super block: their names, and which of them can be read.
//!
//! Who calls it: `super_block` at mount, every parser that asks `has_*`, `info` for the names.
//!
//! Names are those that `dumpe2fs` prints, so that a user can look them up.

use rumpcap_host::{Error, Result};

/// The three feature words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Features that an implementation may ignore.
    pub compat: u32,
    /// Features that must be understood to read.
    pub incompat: u32,
    /// Features that must be understood to write.
    pub ro_compat: u32,
}

/// Compatible features: bit and name.
pub const COMPAT: &[(u32, &str)] = &[
    (0x1, "dir_prealloc"),
    (0x2, "imagic_inodes"),
    (0x4, "has_journal"),
    (0x8, "ext_attr"),
    (0x10, "resize_inode"),
    (0x20, "dir_index"),
    (0x40, "lazy_bg"),
    (0x100, "snapshot_bitmap"),
    (0x200, "sparse_super2"),
    (0x400, "fast_commit"),
    (0x800, "stable_inodes"),
    (0x1000, "orphan_file"),
];

/// Incompatible features: bit and name.
pub const INCOMPAT: &[(u32, &str)] = &[
    (0x1, "compression"),
    (0x2, "filetype"),
    (0x4, "needs_recovery"),
    (0x8, "journal_dev"),
    (0x10, "meta_bg"),
    (0x40, "extent"),
    (0x80, "64bit"),
    (0x100, "mmp"),
    (0x200, "flex_bg"),
    (0x400, "ea_inode"),
    (0x1000, "dirdata"),
    (0x2000, "metadata_csum_seed"),
    (0x4000, "large_dir"),
    (0x8000, "inline_data"),
    (0x1_0000, "encrypt"),
    (0x2_0000, "casefold"),
];

/// Features that matter to writers: bit and name.
pub const RO_COMPAT: &[(u32, &str)] = &[
    (0x1, "sparse_super"),
    (0x2, "large_file"),
    (0x8, "huge_file"),
    (0x10, "uninit_bg"),
    (0x20, "dir_nlink"),
    (0x40, "extra_isize"),
    (0x100, "quota"),
    (0x200, "bigalloc"),
    (0x400, "metadata_csum"),
    (0x800, "replica"),
    (0x1000, "read-only"),
    (0x2000, "project"),
    (0x4000, "shared_blocks"),
    (0x8000, "verity"),
    (0x1_0000, "orphan_present"),
];

/// Incompatible features that are known by name and cannot be read.
const REFUSED: &[u32] = &[0x1, 0x8, 0x1000];

macro_rules! has {
    ($($(#[$doc:meta])* $name:ident: $word:ident & $bit:expr;)*) => {
        impl Features {
            $($(#[$doc])* pub const fn $name(&self) -> bool { self.$word & $bit != 0 })*
        }
    };
}

has! {
    /// A journal, inside or on another device.
    has_journal: compat & 0x4;
    /// Space reserved for more group descriptors.
    has_resize_inode: compat & 0x10;
    /// Hash trees in directories.
    has_dir_index: compat & 0x20;
    /// At most two backups of the super block.
    has_sparse_super2: compat & 0x200;
    /// The journal has an area for fast commits.
    has_fast_commit: compat & 0x400;
    /// A file lists the orphans.
    has_orphan_file: compat & 0x1000;
    /// Directory entries tell the type of the file.
    has_filetype: incompat & 0x2;
    /// The journal holds what is not yet in its place.
    has_needs_recovery: incompat & 0x4;
    /// Descriptors are spread over the device.
    has_meta_bg: incompat & 0x10;
    /// Some files may be 2 GiB long or longer.
    has_large_file: ro_compat & 0x2;
    /// Some files are mapped by extents.
    has_extent: incompat & 0x40;
    /// Block numbers of 48 bits and long descriptors.
    has_64bit: incompat & 0x80;
    /// Bitmaps and inode tables of several groups are kept together.
    has_flex_bg: incompat & 0x200;
    /// Values of extended attributes in inodes of their own.
    has_ea_inode: incompat & 0x400;
    /// Seed of the checksums independent of the UUID.
    has_metadata_csum_seed: incompat & 0x2000;
    /// Three-level hash trees, directories above 2 GiB.
    has_large_dir: incompat & 0x4000;
    /// Content in inodes.
    has_inline_data: incompat & 0x8000;
    /// Encrypted files and names.
    has_encrypt: incompat & 0x1_0000;
    /// Directories whose names are compared without case.
    has_casefold: incompat & 0x2_0000;
    /// Backups only in groups 0, 1 and powers of 3, 5, 7.
    has_sparse_super: ro_compat & 0x1;
    /// `i_blocks` of 48 bits, in file-system blocks where the inode says so.
    has_huge_file: ro_compat & 0x8;
    /// Descriptors with crc16 checksums.
    has_gdt_csum: ro_compat & 0x10;
    /// Directories may have more links than can be counted.
    has_dir_nlink: ro_compat & 0x20;
    /// Inodes of more than 128 bytes with fixed fields there.
    has_extra_isize: ro_compat & 0x40;
    /// Allocation in clusters of blocks.
    has_bigalloc: ro_compat & 0x200;
    /// crc32c checksums on all metadata.
    has_metadata_csum: ro_compat & 0x400;
    /// Project ids.
    has_project: ro_compat & 0x2000;
}

impl Features {
    /// Group descriptors have checksums, and say which bitmaps and inodes were never used.
    pub const fn has_group_csum(&self) -> bool {
        self.has_metadata_csum() || self.has_gdt_csum()
    }

    /// Whether these features can be read.
    ///
    /// # Errors
    /// `Unsupported` for a feature that is known by name, `UnknownFeature` for others.
    pub fn check(&self) -> Result<()> {
        for &(bit, name) in INCOMPAT {
            if self.incompat & bit != 0 && REFUSED.contains(&bit) {
                return Err(Error::Unsupported { what: name });
            }
        }
        let known = INCOMPAT.iter().fold(0, |bits, &(bit, _)| bits | bit);
        match self.incompat & !known {
            0 => Ok(()),
            bits => Err(Error::UnknownFeature { bits }),
        }
    }

    /// The names of all features that are set and have one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let words = [(self.compat, COMPAT), (self.incompat, INCOMPAT), (self.ro_compat, RO_COMPAT)];
        words.into_iter().flat_map(|(word, table)| {
            table.iter().filter(move |&&(bit, _)| word & bit != 0).map(|&(_, name)| name)
        })
    }

    /// The bits of the three words that have no name.
    pub fn unnamed(&self) -> Features {
        let rest = |word: u32, table: &[(u32, &str)]| table.iter().fold(word, |word, &(bit, _)| word & !bit);
        Features {
            compat: rest(self.compat, COMPAT),
            incompat: rest(self.incompat, INCOMPAT),
            ro_compat: rest(self.ro_compat, RO_COMPAT),
        }
    }

    /// `ext2`, `ext3` or `ext4`: the oldest that has all of these features.
    pub fn kind(&self) -> &'static str {
        const EXT3_INCOMPAT: u32 = 0x2 | 0x4 | 0x8 | 0x10;
        const EXT3_RO_COMPAT: u32 = 0x1 | 0x2 | 0x4;
        if self.incompat & !EXT3_INCOMPAT != 0 || self.ro_compat & !EXT3_RO_COMPAT != 0 {
            "ext4"
        } else if self.has_journal() {
            "ext3"
        } else {
            "ext2"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refused_by_name_unknown_by_bits() {
        let features = |incompat| Features { incompat, ..Features::default() };
        assert_eq!(features(0x2 | 0x40).check(), Ok(()));
        assert_eq!(features(0x1).check(), Err(Error::Unsupported { what: "compression" }));
        assert_eq!(features(0x1000).check(), Err(Error::Unsupported { what: "dirdata" }));
        assert_eq!(features(0x8).check(), Err(Error::Unsupported { what: "journal_dev" }));
        assert_eq!(features(0x8000_0020).check(), Err(Error::UnknownFeature { bits: 0x8000_0020 }));
    }
}
