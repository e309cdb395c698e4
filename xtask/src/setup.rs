//! What tests and demo need of Debian: looked for, installed when we are root, else named.
//!
//! Who calls it: `test` and `demo`, before all else.
//!
//! Essential tools make the task fail when they are missing; without optional ones tests are skipped, and counted
//! as skipped.

use crate::Result;
use std::path::Path;
use std::process::{Command, Stdio};

/// A program of the host, and the Debian package that brings it.
pub(crate) struct Tool {
    program: &'static str,
    package: &'static str,
    essential: bool,
    purpose: &'static str,
}

const fn essential(program: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool { program, package, essential: true, purpose }
}

const fn optional(program: &'static str, package: &'static str, purpose: &'static str) -> Tool {
    Tool { program, package, essential: false, purpose }
}

/// What `cargo xtask demo` needs.
pub(crate) const FOR_DEMO: &[Tool] = &[essential("mke2fs", "e2fsprogs", "makes the image")];

/// What `cargo xtask sim` needs.
pub(crate) const FOR_SIM: &[Tool] = &[
    essential("mke2fs", "e2fsprogs", "makes the images"),
    essential("debugfs", "e2fsprogs", "fills them"),
    essential("e2fsck", "e2fsprogs", "checks them, indexes directories"),
];

/// What `cargo xtask test` needs.
pub(crate) const FOR_TEST: &[Tool] = &[
    essential("mke2fs", "e2fsprogs", "makes the images"),
    essential("debugfs", "e2fsprogs", "reads them: the oracle; changes them"),
    essential("e2fsck", "e2fsprogs", "checks them, indexes directories"),
    essential("tune2fs", "e2fsprogs", "changes features"),
    optional("sfdisk", "fdisk", "makes partition tables"),
    optional("mount", "mount", "the kernel's own ext4 as the oracle (root only)"),
    optional("setfattr", "attr", "extended attributes"),
    optional("setfacl", "acl", "POSIX ACLs"),
    optional("sha256sum", "coreutils", "content hashes to compare with"),
    optional("tar", "tar", "reads the archives that we write"),
    optional("python3", "python3", "reads the JSON and the archives that we write"),
    optional("fusermount3", "fuse3", "mounts of users who are not root"),
    optional("fuse2fs", "fuse2fs", "a control for what is mounted; a device that can be stopped"),
    optional("rsync", "rsync", "copies into a mount, and compares"),
    optional("git", "git", "works in a mount"),
    optional("sqlite3", "sqlite3", "works in a mount"),
    optional("pg_createcluster", "postgresql", "works in a mount"),
    optional("dbench", "dbench", "load in a mount"),
    optional("fio", "fio", "load in a mount that is verified"),
    optional("stress-ng", "stress-ng", "load in a mount that is verified"),
];

/// Makes sure of `tools`: installs what is missing as root.
///
/// # Errors
/// Names each essential program that is missing and could not be installed, with its package.
pub(crate) fn ensure(tools: &[Tool]) -> Result {
    if !missing(tools).is_empty() && is_root() {
        install(&missing(tools));
    }
    let missing = missing(tools);
    for tool in &missing {
        let without = if tool.essential { "is needed" } else { "is missing; tests that need it are skipped" };
        eprintln!("xtask: {} (Debian package {}) {without}: {}", tool.program, tool.package, tool.purpose);
    }
    let packages = packages_of(missing.iter().copied().filter(|tool| tool.essential));
    if packages.is_empty() {
        return Ok(());
    }
    Err(format!("install what is missing first: apt-get install {}", packages.join(" ")).into())
}

fn missing(tools: &[Tool]) -> Vec<&Tool> {
    tools.iter().filter(|tool| !is_installed(tool.program)).collect()
}

/// Administrators' folders are searched too: a user's `PATH` on Debian leaves them out, and the tests add them.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path).chain(administrators).any(|folder| is_file(&folder.join(program)))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|m| m.is_file())
}

/// `PATH` with the administrators' folders at its end, for the programs that the tasks start.
pub(crate) fn search_path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

fn packages_of<'a>(tools: impl Iterator<Item = &'a Tool>) -> Vec<&'static str> {
    let mut packages: Vec<_> = tools.map(|tool| tool.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&match std::fs::metadata("/proc/self") {
        Ok(metadata) => metadata,
        Err(_) => return false,
    }) == 0
}

/// Installs the packages of `tools`. What fails is said by apt-get itself, and then by [`ensure`].
fn install(tools: &[&Tool]) {
    let packages = packages_of(tools.iter().copied());
    eprintln!("xtask: installing {}", packages.join(" "));
    if apt_get(&["install"], &packages) {
        return;
    }
    // A fresh machine has no package lists, or old ones.
    apt_get(&["update"], &[]);
    if !apt_get(&["install"], &packages) {
        // One package that this release does not have must not keep the others away.
        for package in packages {
            apt_get(&["install"], &[package]);
        }
    }
}

fn apt_get(action: &[&str], packages: &[&str]) -> bool {
    let options = ["--quiet", "--yes", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"];
    let status = Command::new("apt-get")
        .args(options)
        .args(action)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_package_of_an_essential_program_that_is_missing() {
        let tools = [essential("no-such-program-here", "no-such-package", "nothing")];
        assert_eq!(missing(&tools).len(), 1);
        assert_eq!(packages_of(tools.iter()), ["no-such-package"]);
    }

    #[test]
    fn finds_a_program_of_every_system() {
        assert!(is_installed("sh"));
    }
}
