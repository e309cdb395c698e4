//! Who writes, and what a run comes to.
//!
//! Who calls it: `bench_write`, `results`, `plot`.

use super::Case;
use serde::Deserialize;

/// One that does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The library, or its command for a tree, under a limit in KiB; 0 is none.
    Library(u32),
    /// The command `rumpcap mkfs`.
    Mkfs,
    /// The kernel's ext4.
    Kernel,
    /// fuse2fs, of e2fsprogs.
    Fuse2fs,
    /// debugfs -w, of e2fsprogs.
    Debugfs,
    /// lwext4, with its cache in write-back mode.
    Lwext4,
    /// mke2fs, of e2fsprogs.
    Mke2fs,
}

impl Subject {
    /// Who does `case`.
    pub(crate) fn of(case: Case, no_peers: bool) -> Vec<Subject> {
        let ours = match case {
            Case::Mkfs => vec![Subject::Mkfs],
            _ => vec![Subject::Library(512), Subject::Library(1024), Subject::Library(0)],
        };
        let peers: &[Subject] = match case {
            _ if no_peers => &[],
            Case::Mkfs => &[Subject::Mke2fs],
            // The others would take minutes for it: they copy the sample.
            Case::Tree => &[Subject::Kernel],
            // debugfs has no command that keeps what a copy of a tree must keep.
            Case::Sample => &[Subject::Kernel, Subject::Fuse2fs, Subject::Lwext4],
            Case::Many | Case::DeleteHalf | Case::Big => {
                &[Subject::Kernel, Subject::Fuse2fs, Subject::Debugfs, Subject::Lwext4]
            }
        };
        [ours.as_slice(), peers].concat()
    }

    /// How many of `rounds` it takes part in: who needs minutes, in one.
    pub(crate) fn rounds(self, rounds: usize) -> usize {
        if self == Subject::Mke2fs { 1 } else { rounds }
    }

    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Subject::Library(_) | Subject::Mkfs)
    }

    pub(crate) fn name(self) -> String {
        match self {
            Subject::Library(0) => "rumpcap, no limit".to_owned(),
            Subject::Library(kib) if kib % 1024 == 0 => format!("rumpcap, {} MiB", kib / 1024),
            Subject::Library(kib) => format!("rumpcap, {kib} KiB"),
            Subject::Mkfs => "rumpcap mkfs -d".to_owned(),
            Subject::Kernel => "kernel ext4, loop mount".to_owned(),
            Subject::Fuse2fs => "fuse2fs".to_owned(),
            Subject::Debugfs => "debugfs -w".to_owned(),
            Subject::Lwext4 => "lwext4".to_owned(),
            Subject::Mke2fs => "mke2fs -d".to_owned(),
        }
    }
}

/// What one run came to.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// Bytes that were written to the image.
    pub(crate) image_bytes: Option<u64>,
    pub(crate) flushes: Option<u64>,
    /// The most anonymous memory of the process.
    pub(crate) anonymous_bytes: Option<u64>,
    pub(crate) error: Option<String>,
}

impl Outcome {
    pub(crate) fn failed(why: impl Into<String>) -> Outcome {
        Outcome { error: Some(why.into()), ..Outcome::default() }
    }
}
