//! What suites need: programs of the host and of other people, and whether this host can mount.

use super::driver::Driver;
use crate::skip::skip;
use crate::tools::is_root;
use crate::{images::build, loop_mount};
use std::path::{Path, PathBuf};

/// Wants the long versions: hours of the suites instead of what fits every change.
const LONG_VARIABLE: &str = "RUMPCAP_MOUNTED_LONG";

/// Whether the long versions are wanted.
pub fn is_long() -> bool {
    std::env::var_os(LONG_VARIABLE).is_some()
}

/// `long` when the long versions are wanted, else `short`.
pub fn long_or<T>(long: T, short: T) -> T {
    if is_long() { long } else { short }
}

/// Whether this host can run a test that needs `programs`; says that it is skipped otherwise.
pub fn can_run(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|name| program(name).is_none());
    let reason = match (missing, Driver::chosen()) {
        (Some(name), _) => format!("{name} is not installed (cargo xtask test installs it)"),
        _ if !build::tools_exist() => "e2fsprogs is not installed".to_owned(),
        _ if !is_root() => "not root: other users' access needs root to be mounted".to_owned(),
        (None, Driver::Kernel) if !loop_mount::available() => "no loop mounts".to_owned(),
        (None, Driver::Fuse2fs) if program("fuse2fs").is_none() => "fuse2fs is not installed".to_owned(),
        (None, Driver::Fuse2fs | Driver::Rumpcap) if !Path::new("/dev/fuse").exists() => {
            "no /dev/fuse".to_owned()
        }
        _ => return true,
    };
    skip(&reason);
    false
}

/// Where the program `name` is: among the suites that `cargo xtask test` installed, or on the host.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders = installed().into_iter().chain(std::env::split_paths(&path)).chain(administrators);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// `<target>/suites/bin`, seen from `<target>/<profile>/deps/<this program>`.
fn installed() -> Option<PathBuf> {
    let this = std::env::current_exe().ok()?;
    Some(this.ancestors().nth(3)?.join("suites/bin"))
}
