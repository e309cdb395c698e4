//! What an image holds, told by three tellers: the host's kernel, `debugfs`, and this project.
//!
//! Who calls it: the tests compare a [`Description`] by one of the first two (which this project did not write) with one
//! by the third; [`mod@diff`] says where they differ. A teller leaves out (`None`) what it cannot know; only what both
//! know is compared.

mod debugfs;
mod description;
mod diff;
mod digest;
mod kernel;
mod library;

pub use debugfs::describe as by_debugfs;
pub use description::{Description, Entry, Time};
pub use diff::diff;
pub use digest::{Content, PageDigest};
pub use kernel::{describe as by_kernel, describe_directory};
pub use library::{Library, describe as by_library, describe_inode, describe_mount};

use std::path::Path;

/// By the host's kernel where it can, else by debugfs; which of them it was.
///
/// # Panics
/// When neither can.
pub fn describe(image: &Path) -> (Description, &'static str) {
    if crate::loop_mount::available() {
        match by_kernel(image) {
            Ok(description) => return (description, "the kernel"),
            Err(e) => println!("the kernel does not mount {}: {e}", image.display()),
        }
    }
    (by_debugfs(image), "debugfs")
}
