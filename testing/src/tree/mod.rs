//! Fills a directory (of a mounted image, or of the host for `mke2fs -d`) with files of every sort.
//!
//! Who calls it: [`crate::images::build`]. What a file system cannot hold (an attribute that is too large for it, a date
//! that its inodes have no bits for) is left out; any other failure ends the test that wanted the image. What came
//! out is never taken from here: the oracles read it from the image.

mod attributes;
pub mod crowd;
mod directories;
mod files;
mod links;
mod special;

use crate::images::{Kind, Spec, Tree};
use rustix::io::Errno;
use std::path::Path;

/// What the place that is filled can hold.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of a block of the image.
    pub block_bytes: u64,
    /// The largest file, holes included.
    pub largest_file_bytes: u64,
    /// Whether the image maps by extents.
    pub extents: bool,
    /// Whether it is a mounted image (and not a directory to copy from).
    pub mounted: bool,
    /// Whether device files and others' files may be made.
    pub root: bool,
    /// Entries of the largest directory.
    pub many: u32,
    /// The largest attribute. A kernel refuses what is larger; `mke2fs -d` gives up.
    pub attribute_bytes: u64,
}

impl Room {
    /// A mounted image of `spec`.
    pub fn mounted(spec: &Spec) -> Room {
        let extents = spec.kind == Kind::Ext4 && !spec.features.contains("^extent");
        let block = u64::from(spec.block_bytes);
        // The triple indirect block ends there; extents count blocks in 32 bits.
        let pointers = block / 4;
        let mapped = (12 + pointers + pointers.pow(2) + pointers.pow(3)).min(u64::from(u32::MAX));
        // What may be inline, or is counted in 32 bits of 512 bytes, stays smaller.
        let largest =
            if extents && !spec.features.contains("inline_data") && !spec.features.contains("^huge_file") {
                block * u64::from(u32::MAX)
            } else {
                (block * mapped).min(1 << 40)
            };
        Room {
            block_bytes: block,
            largest_file_bytes: largest,
            extents,
            mounted: true,
            root: true,
            many: 2000,
            attribute_bytes: u64::MAX,
        }
    }

    /// A directory of the host that becomes an image of `spec`. Its files are read by tools that do not know holes.
    pub fn host(spec: &Spec) -> Room {
        let room = Room::mounted(spec);
        // As far as the triple indirect block, where that is near; otherwise not, as debugfs writes every hole out.
        let enough = if room.block_bytes == 1024 && !room.extents { 72 << 20 } else { 20 << 20 };
        Room {
            largest_file_bytes: room.largest_file_bytes.min(enough),
            mounted: false,
            root: crate::tools::is_root(),
            many: 1000,
            attribute_bytes: if spec.features.contains("ea_inode") { 65_536 } else { room.block_bytes - 300 },
            ..room
        }
    }
}

/// Fills `top` with `tree`.
///
/// # Panics
/// When a file cannot be made for no good reason.
pub fn fill(tree: Tree, top: &Path, room: &Room) {
    // The tools look for a free place from the start of the directory for every name.
    let most = |count: u32, copied: u32| if room.mounted { count } else { count.min(copied) };
    match tree {
        Tree::Rich => rich(top, room),
        Tree::Small => small(top, room),
        Tree::Tiny => tiny(top, room),
        Tree::TinyAndLarge => {
            tiny(top, room);
            files::filler(&top.join("files/filler"));
        }
        Tree::Names(count) => directories::names_of_all_bytes(&top.join("names"), most(count, 3000)),
        Tree::LongNames(count) => directories::long_names(&top.join("long"), most(count, 1000)),
        Tree::Extents(count) => files::every_other_block(&top.join("extents"), room, count),
        Tree::Casefold => directories::casefold(top),
        Tree::Encrypted => special::encrypted(top, room),
        Tree::Crowd => crowd::make(top),
        Tree::Empty => {}
    }
}

/// Everything.
pub fn rich(top: &Path, room: &Room) {
    files::sizes(&top.join("sizes"));
    files::holes(&top.join("holes"), room);
    files::fragmented(&top.join("fragmented"), room);
    links::symbolic(&top.join("symlinks"), room);
    links::hard(&top.join("hard"));
    special::devices(&top.join("special"), room);
    directories::sizes(&top.join("directories"), room);
    directories::odd_names(&top.join("names"));
    directories::deep(&top.join("deep"));
    attributes::times(&top.join("times"));
    attributes::owners_and_modes(&top.join("owners"), room);
    attributes::extended(&top.join("xattrs"), room);
    attributes::access_lists(&top.join("acls"), room);
    attributes::flags(&top.join("flags"), room);
}

/// Some of each.
pub fn small(top: &Path, room: &Room) {
    let few = Room { many: 300, largest_file_bytes: room.largest_file_bytes.min(72 << 20), ..*room };
    files::few(&top.join("files"), &few);
    links::few(&top.join("links"));
    directories::few(&top.join("directories"), &few);
    attributes::few(&top.join("xattrs"), &few);
    if few.root {
        special::devices(&top.join("special"), &few);
    }
}

/// A directory with an index, one with few entries, files of few blocks, some attributes.
pub fn tiny(top: &Path, room: &Room) {
    directories::few(&top.join("directories"), &Room { many: 60, ..*room });
    links::few(&top.join("links"));
    files::tiny(&top.join("files"), room);
    attributes::few(&top.join("xattrs"), room);
}

/// Passes on what worked; gives `None` for an errno that is among `tolerated`.
fn attempt<T>(what: &str, result: Result<T, Errno>, tolerated: &[Errno]) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(errno) if tolerated.contains(&errno) => None,
        Err(errno) => panic!("{what}: {errno}"),
    }
}

fn make_directory(path: &Path) {
    std::fs::create_dir_all(path).unwrap_or_else(|e| panic!("making {}: {e}", path.display()));
}

fn write_file(path: &Path, content: &[u8]) {
    std::fs::write(path, content).unwrap_or_else(|e| panic!("writing {}: {e}", path.display()));
}
