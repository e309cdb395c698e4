//! The bytes on the device: raw, unchecked, little-endian structures.
//!
//! Who calls it: every parser of this crate. Nothing here judges a value; the checked counterparts are
//! `SuperBlock`, `Group`, the live `Node`, and the nodes of the extent tree.
//!
//! Source: the on-disk format as the kernel's documentation describes it ("ext4 Data Structures and Algorithms").

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Byte of the device at which the primary super block begins, whatever the block size.
pub const SUPER_BLOCK_OFFSET: u64 = 1024;
/// Bytes of a super block.
pub const SUPER_BLOCK_BYTES: usize = 1024;
/// `s_magic`.
pub const SUPER_BLOCK_MAGIC: u16 = 0xEF53;

/// The super block.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawSuperBlock {
    pub inodes_count: U32,
    pub blocks_count_lo: U32,
    pub reserved_blocks_lo: U32,
    pub free_blocks_lo: U32,
    pub free_inodes: U32,
    pub first_data_block: U32,
    pub log_block_size: U32,
    pub log_cluster_size: U32,
    pub blocks_per_group: U32,
    pub clusters_per_group: U32,
    pub inodes_per_group: U32,
    pub mount_time: U32,
    pub write_time: U32,
    pub mount_count: U16,
    pub max_mount_count: U16,
    pub magic: U16,
    pub state: U16,
    pub errors: U16,
    pub minor_revision: U16,
    pub last_check: U32,
    pub check_interval: U32,
    pub creator_os: U32,
    pub revision: U32,
    pub default_reserved_uid: U16,
    pub default_reserved_gid: U16,
    pub first_inode: U32,
    pub inode_size: U16,
    pub block_group: U16,
    pub features_compat: U32,
    pub features_incompat: U32,
    pub features_ro_compat: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub last_mounted: [u8; 64],
    pub algorithm_usage_bitmap: U32,
    pub prealloc_blocks: u8,
    pub prealloc_dir_blocks: u8,
    pub reserved_gdt_blocks: U16,
    pub journal_uuid: [u8; 16],
    pub journal_inode: U32,
    pub journal_device: U32,
    pub last_orphan: U32,
    pub hash_seed: [U32; 4],
    pub default_hash_version: u8,
    pub journal_backup_type: u8,
    pub descriptor_size: U16,
    pub default_mount_options: U32,
    pub first_meta_block_group: U32,
    pub mkfs_time: U32,
    pub journal_blocks: [U32; 17],
    pub blocks_count_hi: U32,
    pub reserved_blocks_hi: U32,
    pub free_blocks_hi: U32,
    pub min_extra_isize: U16,
    pub want_extra_isize: U16,
    pub flags: U32,
    pub raid_stride: U16,
    pub mmp_interval: U16,
    pub mmp_block: U64,
    pub raid_stripe_width: U32,
    pub log_groups_per_flex: u8,
    pub checksum_type: u8,
    pub encryption_level: u8,
    pub reserved_pad: u8,
    pub kbytes_written: U64,
    pub snapshot_inode: U32,
    pub snapshot_id: U32,
    pub snapshot_reserved_blocks: U64,
    pub snapshot_list: U32,
    pub error_count: U32,
    pub first_error_time: U32,
    pub first_error_inode: U32,
    pub first_error_block: U64,
    pub first_error_function: [u8; 32],
    pub first_error_line: U32,
    pub last_error_time: U32,
    pub last_error_inode: U32,
    pub last_error_line: U32,
    pub last_error_block: U64,
    pub last_error_function: [u8; 32],
    pub mount_options: [u8; 64],
    pub user_quota_inode: U32,
    pub group_quota_inode: U32,
    pub overhead_clusters: U32,
    pub backup_groups: [U32; 2],
    pub encryption_algorithms: [u8; 4],
    pub encryption_salt: [u8; 16],
    pub lost_found_inode: U32,
    pub project_quota_inode: U32,
    pub checksum_seed: U32,
    pub write_time_hi: u8,
    pub mount_time_hi: u8,
    pub mkfs_time_hi: u8,
    pub last_check_hi: u8,
    pub first_error_time_hi: u8,
    pub last_error_time_hi: u8,
    pub first_error_code: u8,
    pub last_error_code: u8,
    pub encoding: U16,
    pub encoding_flags: U16,
    pub orphan_file_inode: U32,
    pub default_reserved_uid_hi: U16,
    pub default_reserved_gid_hi: U16,
    pub reserved: [U32; 93],
    pub checksum: U32,
}

/// `s_flags`: directory hashes take characters as signed.
pub const SUPER_FLAG_SIGNED_HASH: u32 = 0x1;
/// `s_flags`: directory hashes take characters as unsigned.
pub const SUPER_FLAG_UNSIGNED_HASH: u32 = 0x2;
/// `s_flags`: a file system for testing development code.
pub const SUPER_FLAG_TEST: u32 = 0x4;

/// `s_state`: unmounted cleanly.
pub const STATE_VALID: u16 = 0x1;
/// `s_state`: errors were found.
pub const STATE_ERRORS: u16 = 0x2;

/// A group descriptor in its long form; the short form is its first 32 bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawGroup {
    pub block_bitmap_lo: U32,
    pub inode_bitmap_lo: U32,
    pub inode_table_lo: U32,
    pub free_blocks_lo: U16,
    pub free_inodes_lo: U16,
    pub used_directories_lo: U16,
    pub flags: U16,
    pub exclude_bitmap_lo: U32,
    pub block_bitmap_checksum_lo: U16,
    pub inode_bitmap_checksum_lo: U16,
    pub unused_inodes_lo: U16,
    pub checksum: U16,
    pub block_bitmap_hi: U32,
    pub inode_bitmap_hi: U32,
    pub inode_table_hi: U32,
    pub free_blocks_hi: U16,
    pub free_inodes_hi: U16,
    pub used_directories_hi: U16,
    pub unused_inodes_hi: U16,
    pub exclude_bitmap_hi: U32,
    pub block_bitmap_checksum_hi: U16,
    pub inode_bitmap_checksum_hi: U16,
    pub reserved: U32,
}

/// Bytes of a short group descriptor.
pub const GROUP_SHORT_BYTES: usize = 32;
/// Bytes of a long group descriptor, as far as its fields are defined.
pub const GROUP_LONG_BYTES: usize = 64;
/// Offset of `bg_checksum` in a descriptor.
pub const GROUP_CHECKSUM_OFFSET: usize = 0x1E;
/// `bg_flags`: the inode table and its bitmap were never written.
pub const GROUP_INODE_UNINIT: u16 = 0x1;
/// `bg_flags`: the block bitmap was never written; it follows from the metadata that are in the group.
pub const GROUP_BLOCK_UNINIT: u16 = 0x2;

/// An inode as far as its fields are defined; the first 128 bytes always exist.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawInode {
    pub mode: U16,
    pub uid_lo: U16,
    pub size_lo: U32,
    pub atime: U32,
    pub ctime: U32,
    pub mtime: U32,
    pub dtime: U32,
    pub gid_lo: U16,
    pub links: U16,
    pub blocks_lo: U32,
    pub flags: U32,
    pub version_lo: U32,
    /// Block map, extent root, target of a short symbolic link, device number, or inline data.
    pub block: [U32; BLOCK_WORDS],
    pub generation: U32,
    pub file_acl_lo: U32,
    pub size_hi: U32,
    pub obsolete_fragment: U32,
    pub blocks_hi: U16,
    pub file_acl_hi: U16,
    pub uid_hi: U16,
    pub gid_hi: U16,
    pub checksum_lo: U16,
    pub reserved: U16,
    pub extra_isize: U16,
    pub checksum_hi: U16,
    pub ctime_extra: U32,
    pub mtime_extra: U32,
    pub atime_extra: U32,
    pub crtime: U32,
    pub crtime_extra: U32,
    pub version_hi: U32,
    pub project: U32,
}

/// Words of `i_block`.
pub const BLOCK_WORDS: usize = 15;
/// Bytes of `i_block`.
pub const BLOCK_BYTES: usize = 60;
/// Bytes of an inode that exist in every revision.
pub const INODE_BASE_BYTES: usize = 128;
/// Offset of `i_checksum_lo`.
pub const INODE_CHECKSUM_LO_OFFSET: usize = 0x7C;
/// Offset of `i_checksum_hi`.
pub const INODE_CHECKSUM_HI_OFFSET: usize = 0x82;

/// Inode flags (`i_flags`) that this crate acts on.
pub mod inode_flags {
    /// The flags that the kernel's `FS_IOC_GETFLAGS` shows.
    pub const VISIBLE: u32 = 0x725B_DFFF;
    /// What is deleted is to be overwritten: not done, as in the kernel.
    pub const SECURE_DELETE: u32 = 0x1;
    /// What is deleted is to be kept: not done.
    pub const UNDELETE: u32 = 0x2;
    /// To be compressed: not done.
    pub const COMPRESS: u32 = 0x4;
    /// Changes are to be durable at once.
    pub const SYNC: u32 = 0x8;
    /// The flags that `FS_IOC_SETFLAGS` may set, of those that say nothing of how the inode is stored.
    pub const SETTABLE: u32 = 0x6203_C0FF;
    /// Not to be changed, removed, renamed or linked.
    pub const IMMUTABLE: u32 = 0x10;
    /// Written at the end alone.
    pub const APPEND: u32 = 0x20;
    /// Not to be backed up by dump.
    pub const NO_DUMP: u32 = 0x40;
    /// Reading leaves the time of access.
    pub const NO_ATIME: u32 = 0x80;
    /// Not to be compressed.
    pub const NO_COMPRESS: u32 = 0x400;
    /// Content, names or target encrypted.
    pub const ENCRYPT: u32 = 0x800;
    /// A directory with a hash tree.
    pub const INDEX: u32 = 0x1000;
    /// Content goes through the journal.
    pub const JOURNAL_DATA: u32 = 0x4000;
    /// Its end shares no block.
    pub const NO_TAIL: u32 = 0x8000;
    /// Changes of a directory are to be durable at once.
    pub const DIR_SYNC: u32 = 0x1_0000;
    /// A directory whose sub-directories have nothing to do with each other.
    pub const TOP_DIR: u32 = 0x2_0000;
    /// `i_blocks` counts file-system blocks.
    pub const HUGE_FILE: u32 = 0x4_0000;
    /// `i_block` is the root of an extent tree.
    pub const EXTENTS: u32 = 0x8_0000;
    /// Merkle tree behind the end of the file.
    pub const VERITY: u32 = 0x10_0000;
    /// An inode that holds the value of an extended attribute.
    pub const EA_INODE: u32 = 0x20_0000;
    /// Direct access to persistent memory.
    pub const DAX: u32 = 0x200_0000;
    /// Content in `i_block` and the `system.data` attribute.
    pub const INLINE_DATA: u32 = 0x1000_0000;
    /// What is made in it has its project.
    pub const PROJECT_INHERIT: u32 = 0x2000_0000;
    /// A directory whose names are compared without case.
    pub const CASEFOLD: u32 = 0x4000_0000;
}

/// Header of every node of an extent tree.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawExtentHeader {
    pub magic: U16,
    pub entries: U16,
    pub max: U16,
    pub depth: U16,
    pub generation: U32,
}

/// `eh_magic`.
pub const EXTENT_MAGIC: u16 = 0xF30A;
/// Bytes of a header, of an index entry and of a leaf entry of an extent tree.
pub const EXTENT_ENTRY_BYTES: usize = 12;
/// Lengths in a leaf entry above this mark it as allocated and not written.
pub const EXTENT_INITIALIZED_MAX: u16 = 0x8000;

/// An entry of an interior node of an extent tree.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawExtentIndex {
    pub logical: U32,
    pub child_lo: U32,
    pub child_hi: U16,
    pub unused: U16,
}

/// An entry of a leaf of an extent tree.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawExtentLeaf {
    pub logical: U32,
    pub len: U16,
    pub start_hi: U16,
    pub start_lo: U32,
}

/// Head of a directory entry; the name follows.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawDirEntry {
    pub inode: U32,
    pub record_len: U16,
    pub name_len: u8,
    /// File type with the filetype feature, else the high byte of the name's length.
    pub file_type: u8,
}

/// The fake entry at the end of a directory block with a checksum.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawDirTail {
    pub reserved_inode: U32,
    pub record_len: U16,
    pub reserved_name_len: u8,
    pub reserved_file_type: u8,
    pub checksum: U32,
}

/// `det_reserved_ft` of a directory tail.
pub const DIR_TAIL_FILE_TYPE: u8 = 0xDE;

/// `h_magic` of extended attributes, in the inode and in a block.
pub const XATTR_MAGIC: u32 = 0xEA02_0000;

/// Header of a block of extended attributes; in the inode only the magic number.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawXattrHeader {
    pub magic: U32,
    pub reference_count: U32,
    pub blocks: U32,
    pub hash: U32,
    pub checksum: U32,
    pub reserved: [U32; 3],
}

/// An extended attribute; the name follows, padded to four bytes.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
#[allow(missing_docs)]
pub struct RawXattrEntry {
    pub name_len: u8,
    pub name_index: u8,
    pub value_offset: U16,
    pub value_inode: U32,
    pub value_len: U32,
    pub hash: U32,
}

const _: () = {
    assert!(size_of::<RawSuperBlock>() == SUPER_BLOCK_BYTES);
    assert!(size_of::<RawGroup>() == GROUP_LONG_BYTES);
    assert!(core::mem::offset_of!(RawGroup, checksum) == GROUP_CHECKSUM_OFFSET);
    assert!(size_of::<RawInode>() == 160);
    assert!(core::mem::offset_of!(RawInode, block) == 40);
    assert!(core::mem::offset_of!(RawInode, checksum_lo) == INODE_CHECKSUM_LO_OFFSET);
    assert!(core::mem::offset_of!(RawInode, checksum_hi) == INODE_CHECKSUM_HI_OFFSET);
    assert!(core::mem::offset_of!(RawSuperBlock, checksum) == 0x3FC);
    assert!(core::mem::offset_of!(RawSuperBlock, encoding) == 0x27C);
    assert!(size_of::<RawExtentHeader>() == EXTENT_ENTRY_BYTES);
    assert!(size_of::<RawExtentIndex>() == EXTENT_ENTRY_BYTES);
    assert!(size_of::<RawExtentLeaf>() == EXTENT_ENTRY_BYTES);
};
