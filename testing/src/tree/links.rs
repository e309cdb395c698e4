//! Symbolic and hard links.

use super::{Room, attempt, make_directory, write_file};
use rustix::io::Errno;
use std::path::Path;

fn link_to(target: impl AsRef<Path>, path: &Path) {
    let made = rustix::fs::symlink(target.as_ref(), path);
    // 1 KiB blocks hold targets of 1,023 bytes.
    attempt("symlink", made, &[Errno::NAMETOOLONG]);
}

/// Links of every length, dangling, looping, chained up to and beyond the limit, absolute, and out of the root.
pub fn symbolic(directory: &Path, room: &Room) {
    make_directory(&directory.join("dir/inner"));
    write_file(&directory.join("dir/inner/file"), b"at the end of links");
    for length in [1, 58, 59, 60, 61, 100, 150, 255, 1000, 1022, 1023, 1024, 2000, 4094] {
        if length < room.block_bytes as usize && length <= 4095 {
            link_to("t".repeat(length), &directory.join(format!("length-{length}")));
        }
    }
    link_to("does/not/exist", &directory.join("dangling"));
    link_to("self", &directory.join("self"));
    link_to("ring-b", &directory.join("ring-a"));
    link_to("ring-a", &directory.join("ring-b"));
    link_to("dir", &directory.join("to-dir"));
    link_to("to-dir/inner/../inner/./file", &directory.join("through"));
    link_to("/symlinks/dir/inner/file", &directory.join("absolute"));
    link_to("../../../../../../../symlinks/dir/inner/file", &directory.join("above-the-root"));
    link_to("/", &directory.join("to-root"));
    link_to("..", &directory.join("to-parent"));
    link_to("//symlinks///dir//inner/", &directory.join("slashes"));
    link_to("dir/inner/file/", &directory.join("file-with-slash"));
    chain(directory, 50);
}

/// `chain-1` is a link to `chain-0`, a file; `chain-n` to `chain-(n-1)`: n links are followed from `chain-n`.
fn chain(directory: &Path, length: u32) {
    write_file(&directory.join("chain-0"), b"end of the chain");
    for n in 1..=length {
        link_to(format!("chain-{}", n - 1), &directory.join(format!("chain-{n}")));
    }
}

/// Several names of one file, in one directory and in two.
pub fn hard(directory: &Path) {
    make_directory(&directory.join("other"));
    write_file(&directory.join("first"), b"several names");
    for name in ["second", "third", "other/fourth"] {
        std::fs::hard_link(directory.join("first"), directory.join(name)).expect("a hard link");
    }
}

/// A few, for corruption.
pub fn few(directory: &Path) {
    make_directory(directory);
    write_file(&directory.join("file"), b"linked");
    std::fs::hard_link(directory.join("file"), directory.join("again")).expect("a hard link");
    link_to("file", &directory.join("fast"));
    link_to("s".repeat(200), &directory.join("slow"));
    link_to("ring", &directory.join("ring"));
}
