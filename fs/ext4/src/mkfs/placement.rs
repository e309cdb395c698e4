//! Where the metadata of groups are: in ascending order, computed whenever asked, never kept.
//!
//! Who calls it: `space` to step over them, `groups` for bitmaps and descriptors, `geometry` to check that they fit.
//!
//! A *flexible group* is a row of groups (one, without flex_bg) whose block bitmaps, inode bitmaps and inode tables stand behind one
//! another from its beginning on, stepping over the super blocks and descriptors that have their fixed places at the
//! beginning of groups. A table is in one piece, so gaps may stay before a super block: they are free.
//!
//! - PL-1 [`Walk`] gives runs that ascend and do not overlap, all within the flexible group.

use super::geometry::Geometry;
use rumpcap_host::{Error, Result};

/// What a run of blocks holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// Super block, descriptors and the room for more.
    Super,
    BlockBitmap,
    InodeBitmap,
    InodeTable,
}

/// A run of blocks with the metadata of `group`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub content: Content,
    pub group: u32,
    pub start: u64,
    pub len: u32,
}

impl Run {
    pub(super) fn end(&self) -> u64 {
        self.start + u64::from(self.len)
    }
}

/// Goes through the metadata of one flexible group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    g: Geometry,
    /// Groups of the flexible group.
    first: u32,
    end: u32,
    /// What comes next of the packed ones, if anything.
    next: Option<(Content, u32)>,
    /// Block at which that could begin.
    at: u64,
    /// Group from which on super blocks have not been passed.
    obstacle: u32,
}

/// Flexible groups.
pub(super) fn flex_count(g: &Geometry) -> u32 {
    ((u64::from(g.group_count) + (1 << g.flex_log) - 1) >> g.flex_log) as u32
}

/// Block behind flexible group `flex`.
pub(super) fn flex_end(g: &Geometry, flex: u32) -> u64 {
    g.group_end(Walk::new(g, flex).end - 1)
}

impl Walk {
    pub(super) fn new(g: &Geometry, flex: u32) -> Walk {
        let first = flex << g.flex_log;
        let end = (u64::from(first) + (1 << g.flex_log)).min(u64::from(g.group_count)) as u32;
        let next = Some((Content::BlockBitmap, first));
        Walk { g: *g, first, end, next, at: g.group_start(first), obstacle: first }
    }

    /// The flexible group that `group` belongs to.
    pub(super) fn of_group(g: &Geometry, group: u32) -> Walk {
        Walk::new(g, group >> g.flex_log)
    }

    /// The run of the next super block that has not been passed.
    fn next_super(&mut self) -> Option<Run> {
        while self.obstacle < self.end && self.g.super_run_blocks(self.obstacle) == 0 {
            self.obstacle += 1;
        }
        (self.obstacle < self.end).then(|| Run {
            content: Content::Super,
            group: self.obstacle,
            start: self.g.group_start(self.obstacle),
            len: self.g.super_run_blocks(self.obstacle),
        })
    }

    /// What stands behind `content` of `group`.
    fn behind(&self, content: Content, group: u32) -> Option<(Content, u32)> {
        if group + 1 < self.end {
            return Some((content, group + 1));
        }
        match content {
            Content::BlockBitmap => Some((Content::InodeBitmap, self.first)),
            Content::InodeBitmap => Some((Content::InodeTable, self.first)),
            _ => None,
        }
    }
}

impl Iterator for Walk {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let obstacle = self.next_super();
        let Some((content, group)) = self.next else {
            self.obstacle += 1;
            return obstacle;
        };
        let len = if content == Content::InodeTable { self.g.table_blocks } else { 1 };
        let run = Run { content, group, start: self.at, len };
        match obstacle {
            Some(obstacle) if run.end() > obstacle.start => {
                self.at = obstacle.end();
                self.obstacle += 1;
                Some(obstacle)
            }
            _ => {
                self.at = run.end();
                self.next = self.behind(content, group);
                Some(run)
            }
        }
    }
}

/// Checks GE-2 for every flexible group.
pub(super) fn check(g: &Geometry) -> Result<()> {
    for flex in 0..flex_count(g) {
        let end = flex_end(g, flex);
        if Walk::new(g, flex).any(|run| run.end() > end) {
            return Err(Error::InvalidInput {
                what: "number of inodes: the tables do not fit into their groups",
            });
        }
    }
    Ok(())
}
