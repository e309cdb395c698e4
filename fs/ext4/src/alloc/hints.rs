//! [`Hints`]: what allocation and orphans remember between operations. Taken back with an operation; zero knows nothing.
//!
//! Who calls it: `transaction` keeps them; `walk`, `zone` and `orphan` use them.

/// What is remembered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hints {
    /// Groups without a free block.
    pub no_blocks: Groups,
    /// Groups without a free inode.
    pub no_inodes: Groups,
    /// What is known of the orphans.
    pub orphans: Orphans,
    /// Blocks that are not the file system's own, where one was last looked for.
    pub unowned: Unowned,
}

/// Blocks in a row that are not the file system's own. Which are never changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unowned {
    pub from: u64,
    pub end: u64,
}

/// Groups in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Groups {
    pub from: u32,
    pub end: u32,
}

impl Groups {
    pub fn contains(&self, group: u32) -> bool {
        (self.from..self.end).contains(&group)
    }

    /// `group` is none of them any more.
    pub fn forget(&mut self, group: u32) {
        if self.contains(group) {
            *self = Groups::default();
        }
    }
}

/// What is known of the orphans.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Orphans {
    /// The last inode of the list.
    pub tail: Option<u32>,
    /// Inodes in the orphan file.
    pub in_file: Option<u32>,
}
