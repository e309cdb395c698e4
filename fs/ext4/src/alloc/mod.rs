//! Allocation of blocks and inodes: bitmaps, group descriptors, counts.
//!
//! Who calls it: `content` and `map_change` (blocks), `namespace` (inodes), `xattr` (both). Whom it calls: `transaction`, `group`.
//!
//! By file: `bitmap` searches and changes bits · `descriptor` a group's counts and checksums · `zone` the file system's own blocks ·
//! `load` bitmaps verified, made and changed · `walk` the order of groups · `blocks`, `inodes` the two kinds of things ·
//! `orlov` groups for directories · `hints` what is remembered.
//!
//! AL-1. One allocation changes one bitmap and one descriptor, two blocks; the counts of the super block go with the commit.

mod bitmap;
mod blocks;
mod descriptor;
mod hints;
mod inodes;
mod load;
mod orlov;
mod walk;
mod zone;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use hints::Hints;

/// Blocks in a row, allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRun {
    /// The first.
    pub first: u64,
    /// How many, at least 1.
    pub count: u32,
}

/// What blocks are freed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Content of a regular file, which is in no transaction.
    Content,
    /// Anything else: the journal forgets it.
    Metadata,
}
