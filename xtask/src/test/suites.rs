//! Suites that others publish as crates: installed once, beside what cargo builds, for the tests of mounts.
//!
//! Who calls it: `test`, before the tests. Without them (no network, say) the tests that need them are skipped, with
//! their reason. `testing/src/mounted/suites.rs` looks for them where they are put.

use crate::workspace;
use std::path::Path;
use std::process::Stdio;

/// Crate, version, and the program that it brings.
const SUITES: [(&str, &str); 2] = [("pjdfstest", "0.2.2"), ("fsx", "0.3.2")];

/// Makes sure that they are below `target`, in the versions that the tests know.
pub(super) fn ensure(target: &Path) {
    let root = target.join("suites");
    let wanted = SUITES.map(|(name, version)| format!("{name}@{version}"));
    let missing: Vec<_> = wanted.iter().filter(|suite| !root.join(suite).exists()).collect();
    if missing.is_empty() {
        return;
    }
    eprintln!("xtask: installing {missing:?}");
    let mut cargo = workspace::cargo();
    // They are run for seconds: to build them well costs more than it saves.
    cargo.args(["install", "--quiet", "--locked", "--force", "--debug", "--no-track", "--root"]).arg(&root);
    cargo
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_INCREMENTAL", "0");
    cargo.env("CARGO_TARGET_DIR", target.join("suites-build")).args(&missing);
    let installed = cargo.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
    if !installed {
        return eprintln!("xtask: not installed; tests that need them are skipped");
    }
    // What was built on the way is larger than what came of it.
    let _ = std::fs::remove_dir_all(target.join("suites-build"));
    for suite in missing {
        let _ = std::fs::write(root.join(suite), "");
    }
}
