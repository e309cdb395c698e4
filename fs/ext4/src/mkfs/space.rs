//! [`Space`]: what is taken so far: the next free block and the next free inode (MK-1, MK-2).
//!
//! Who calls it: `Maker`, and through it everything that needs a block or an inode. A few words of memory.

use super::geometry::{FIRST_INODE, Geometry};
use super::placement::{self, Run, Walk};
use rumpcap_host::{Error, Result};

/// A run of blocks that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub start: u64,
    pub len: u32,
}

/// The two cursors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    g: Geometry,
    /// Flexible group of `next_block`, its end, and its metadata from there on.
    flex: u32,
    flex_end: u64,
    walk: Walk,
    obstacle: Option<Run>,
    /// The next free block, unless it is metadata.
    pub next_block: u64,
    /// The next free inode.
    pub next_inode: u32,
}

impl Space {
    /// Nothing taken but the reserved inodes.
    pub(super) fn new(g: &Geometry) -> Space {
        let mut walk = Walk::new(g, 0);
        let obstacle = walk.next();
        let flex_end = placement::flex_end(g, 0);
        Space {
            g: *g,
            flex: 0,
            flex_end,
            walk,
            obstacle,
            next_block: g.first_data_block,
            next_inode: FIRST_INODE,
        }
    }

    /// Takes up to `most` blocks in a row: at least one.
    ///
    /// # Errors
    /// `NoSpace`.
    pub(super) fn blocks(&mut self, most: u32) -> Result<Taken> {
        loop {
            let limit = match self.obstacle {
                Some(run) if run.start <= self.next_block => {
                    self.next_block = self.next_block.max(run.end());
                    self.obstacle = self.walk.next();
                    continue;
                }
                Some(run) => run.start,
                None => self.flex_end,
            };
            if self.next_block < limit {
                let len = (limit - self.next_block).min(u64::from(most)) as u32;
                let start = self.next_block;
                self.next_block += u64::from(len);
                return Ok(Taken { start, len });
            }
            self.next_flex()?;
        }
    }

    fn next_flex(&mut self) -> Result<()> {
        if self.flex + 1 >= placement::flex_count(&self.g) {
            return Err(Error::NoSpace { what: "blocks" });
        }
        self.flex += 1;
        self.flex_end = placement::flex_end(&self.g, self.flex);
        self.walk = Walk::new(&self.g, self.flex);
        self.obstacle = self.walk.next();
        Ok(())
    }

    /// Takes an inode.
    ///
    /// # Errors
    /// `NoSpace`.
    pub(super) fn inode(&mut self) -> Result<u32> {
        let ino = self.next_inode;
        if ino > self.g.inodes_count {
            return Err(Error::NoSpace { what: "inodes" });
        }
        // The count is below 2^32, so behind the last there is room for one more.
        self.next_inode = ino.checked_add(1).ok_or(Error::NoSpace { what: "inodes" })?;
        Ok(ino)
    }
}
