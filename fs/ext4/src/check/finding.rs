//! [`Finding`]: one thing that is inconsistent: where, what, and the numbers. `Copy`, made without memory.
//!
//! Who calls it: every module of `check` makes them, through `Context`; front ends print them (`Display`).

use core::fmt;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Worth knowing; the file system is consistent with it.
    Note,
    /// The file system contradicts itself or its format.
    Error,
}

/// Where something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The super block; `group` is that of the copy.
    SuperBlock {
        /// Group that holds the copy; 0 for the primary one.
        group: u32,
    },
    /// A block group: its descriptor or bitmaps.
    Group(u32),
    /// An inode.
    Inode(u32),
    /// A block on the device that belongs to an inode.
    InodeBlock {
        /// The inode.
        ino: u32,
        /// The block on the device.
        block: u64,
    },
    /// A block of a directory.
    Directory {
        /// The directory's inode.
        ino: u32,
        /// Which of the directory's blocks.
        block: u64,
    },
    /// The journal's super block.
    Journal,
}

/// The numbers of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// None: the words say it all.
    Nothing,
    /// What is there.
    Is(u64),
    /// What is there, and what should be.
    ShouldBe {
        /// What is there.
        is: u64,
        /// What should be.
        should_be: u64,
    },
    /// A number that the words end with.
    Number(u64),
    /// Numbers in a row.
    Run {
        /// The first.
        first: u64,
        /// How many.
        count: u64,
    },
}

/// One thing that was found.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'n> {
    /// How much it matters.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What.
    pub what: &'static str,
    /// The numbers.
    pub detail: Detail,
    /// Name of the directory entry or attribute; empty where there is none.
    pub name: &'n [u8],
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Place::SuperBlock { group: 0 } => f.write_str("super block"),
            Place::SuperBlock { group } => write!(f, "super block of group {group}"),
            Place::Group(group) => write!(f, "group {group}"),
            Place::Inode(ino) => write!(f, "inode {ino}"),
            Place::InodeBlock { ino, block } => write!(f, "inode {ino}, block {block}"),
            Place::Directory { ino, block } => write!(f, "directory {ino}, block {block}"),
            Place::Journal => f.write_str("journal"),
        }
    }
}

impl fmt::Display for Finding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if !self.name.is_empty() {
            write!(f, ", \"{}\"", self.name.escape_ascii())?;
        }
        write!(f, ": {}", self.what)?;
        match self.detail {
            Detail::Nothing => Ok(()),
            Detail::Is(is) => write!(f, " is {is}"),
            Detail::ShouldBe { is, should_be } => write!(f, " is {is}, should be {should_be}"),
            Detail::Number(number) => write!(f, " {number}"),
            Detail::Run { first, count: 0 | 1 } => write!(f, ": {first}"),
            Detail::Run { first, count } => {
                write!(f, ": {first} to {}", first.saturating_add(count).saturating_sub(1))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_a_sentence() {
        let detail = Detail::ShouldBe { is: 16, should_be: 8 };
        let mut finding = Finding {
            severity: Severity::Error,
            place: Place::Inode(12),
            what: "i_blocks",
            detail,
            name: b"",
        };
        assert_eq!(finding.to_string(), "inode 12: i_blocks is 16, should be 8");
        finding.place = Place::Directory { ino: 2, block: 0 };
        finding.name = b"a\x1b";
        finding.what = "entry names the free inode";
        finding.detail = Detail::Number(15);
        assert_eq!(finding.to_string(), "directory 2, block 0, \"a\\x1b\": entry names the free inode 15");
        finding.name = b"";
        finding.what = "blocks in use and free in the bitmap";
        finding.detail = Detail::Run { first: 7, count: 3 };
        assert_eq!(finding.to_string(), "directory 2, block 0: blocks in use and free in the bitmap: 7 to 9");
    }
}
