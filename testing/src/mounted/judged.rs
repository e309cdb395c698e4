//! [`judged`]: a suite runs in a mount; e2fsck and the kernel say what it left.

use super::image::Image;
use super::mount::{Mounted, Options};
use crate::loop_mount;
use crate::oracle::{Description, by_kernel, describe_directory, diff};
use crate::tools::{command, output};
use std::path::Path;

/// What was judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged {
    /// Files, directories and so on that were compared.
    pub entries: usize,
    /// Anonymous memory of the server at the end, in KiB.
    pub anonymous_kib: Option<u64>,
}

/// Mounts `image`, runs `suite`, describes what is there, unmounts, and has e2fsck and the kernel judge.
///
/// # Panics
/// When the suite fails, the server does, or what is on the device is not what the mount showed.
pub fn judged(
    image: &Image,
    options: &Options,
    suite: impl FnOnce(&Mounted) -> Result<(), String>,
) -> Judged {
    let mounted = Mounted::new(image.path(), options).unwrap_or_else(|why| panic!("mounting: {why}"));
    let driver = mounted.driver();
    if let Err(why) = suite(&mounted) {
        panic!("{driver:?}, {options:?}: {why}");
    }
    let anonymous_kib = mounted.anonymous_kib();
    // Blocks of what is not yet written are counted otherwise.
    let root = std::fs::File::open(mounted.path()).expect("the root of the mount");
    rustix::fs::syncfs(&root).unwrap_or_else(|why| panic!("{driver:?}: syncfs: {why}"));
    drop(root);
    let shown = describe_directory(mounted.path());
    mounted.unmount().unwrap_or_else(|why| panic!("{driver:?}: unmounting: {why}"));
    let entries = judge_image(image.path(), driver.shows_everything().then_some(&shown));
    let judged = Judged { entries, anonymous_kib };
    println!("{driver:?}, {options:?}: {judged:?}");
    judged
}

/// e2fsck must be content with `image`, and the kernel's mount must show what is `expected`. Gives the entries there.
///
/// # Panics
/// When one of them is not.
pub fn judge_image(image: &Path, expected: Option<&Description>) -> usize {
    let said = output(command("e2fsck").args(["-f", "-n"]).arg(image));
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.code() == Some(0), "e2fsck -fn: {text}");
    if !loop_mount::available() {
        return 0;
    }
    let kernel = by_kernel(image).unwrap_or_else(|why| panic!("the kernel's mount: {why}"));
    if let Some(expected) = expected
        && let Some(difference) = diff(expected, &kernel)
    {
        panic!("the mount showed (expected) something else than the kernel (found): {difference}");
    }
    kernel.entries.len()
}
