//! `cargo xtask licences`: every dependency may be used under permissive licences alone.
//!
//! It reads the graph of all dependencies, of all platforms, and asks of each package's SPDX expression whether a
//! choice of its licences exists in which all are on the list. Packages that cargo has not yet are fetched first;
//! the check itself is offline.
//!
//! Failure: a package without an expression, one that is not SPDX, and one that no choice satisfies are listed.

use crate::workspace::{self, Package};
use crate::{Result, workspace::Metadata};
use spdx::{Expression, LicenseReq, ParseMode};

/// Licences that ask for no more than their own text, or for nothing.
const PERMISSIVE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "Zlib",
];

/// Exceptions that take a condition away and add none.
const EXCEPTIONS: &[&str] = &["LLVM-exception"];

/// Checks the dependencies of the workspace.
pub(crate) fn run() -> Result {
    let metadata = offline_metadata()?;
    let outside: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|package| !metadata.workspace_members.contains(&package.id))
        .collect();
    let mut objections = 0;
    for package in &outside {
        if let Err(why) = judge(package) {
            println!("{} {}: {why}", package.name, package.version);
            objections += 1;
        }
    }
    if objections > 0 {
        return Err(format!("{objections} dependencies whose licence is not on the list").into());
    }
    println!("licences: {} dependencies, all under permissive licences", outside.len());
    Ok(())
}

/// The graph as the lock file fixes it; fetches packages only if some are missing.
fn offline_metadata() -> Result<Metadata> {
    let arguments = ["--locked", "--offline"];
    if let Ok(metadata) = workspace::metadata(&arguments) {
        return Ok(metadata);
    }
    workspace::run(workspace::cargo().args(["fetch", "--locked"]), "cargo fetch")?;
    workspace::metadata(&arguments)
}

fn judge(package: &Package) -> std::result::Result<(), String> {
    match (&package.license, &package.license_file) {
        (Some(expression), _) => judge_expression(expression),
        (None, Some(file)) => Err(format!("no SPDX expression, only the file {}", file.display())),
        (None, None) => Err("no licence".into()),
    }
}

/// `Ok` when a choice of licences that are all on the list satisfies `expression`. Old spellings (`MIT/Apache-2.0`)
/// are understood.
fn judge_expression(expression: &str) -> std::result::Result<(), String> {
    let parsed = Expression::parse_mode(expression, ParseMode::LAX)
        .map_err(|error| format!("{expression:?} is no SPDX expression: {}", error.reason))?;
    if parsed.evaluate(is_permissive) { Ok(()) } else { Err(format!("{expression} is not on the list")) }
}

fn is_permissive(requirement: &LicenseReq) -> bool {
    let is_listed = requirement.license.id().is_some_and(|id| PERMISSIVE.contains(&id.name));
    let is_harmless = match &requirement.addition {
        None => true,
        Some(addition) => addition.id().is_some_and(|id| EXCEPTIONS.contains(&id.name)),
    };
    is_listed && is_harmless
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_needs_one_permissive_branch() {
        for good in [
            "MIT",
            "MIT OR Apache-2.0",
            "MIT/Apache-2.0",
            "GPL-3.0-only OR MIT",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
            "(MIT OR GPL-2.0-only) AND Unicode-3.0",
        ] {
            assert_eq!(judge_expression(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_conjunction_needs_all_and_binds_tighter_than_a_choice() {
        for bad in [
            "GPL-3.0-only",
            "MPL-2.0",
            "MIT AND GPL-2.0-only",
            "(MIT OR Apache-2.0) AND LGPL-2.1-only",
            "GPL-2.0-only OR MIT AND AGPL-3.0-only",
            "GPL-2.0-only WITH Classpath-exception-2.0",
            "MIT WITH Classpath-exception-2.0",
            "LicenseRef-Own",
        ] {
            assert!(judge_expression(bad).is_err(), "{bad}");
        }
        assert_eq!(judge_expression("MIT OR GPL-2.0-only AND AGPL-3.0-only"), Ok(()));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for bad in ["", "MIT OR", "(MIT", "my own words", "MIT Apache-2.0"] {
            assert!(judge_expression(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn every_entry_of_the_lists_is_an_spdx_identifier() {
        assert!(PERMISSIVE.iter().all(|name| spdx::license_id(name).is_some()));
        assert!(EXCEPTIONS.iter().all(|name| spdx::exception_id(name).is_some()));
    }
}
