//! `cargo xtask layers`: the rules of the design that the compiler does not check.
//!
//! `arrows`: crates depend downwards only. `source`: unsafe code, the host, global state, `unwrap` and headers are
//! where they may be. Every violation is printed as `file:line: what`, so that an editor can jump to it.

mod arrows;
mod source;
mod tokens;

use crate::{Result, workspace};
use std::fmt;
use std::path::{Path, PathBuf};

/// A place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// Relative to the root of the repository.
    file: PathBuf,
    /// From 1 on.
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// Checks the repository that this program was built from.
pub(crate) fn run() -> Result {
    let (violations, files) = check(&workspace::root())?;
    for violation in &violations {
        println!("{violation}");
    }
    if !violations.is_empty() {
        return Err(format!("{} violations of the layers' rules", violations.len()).into());
    }
    println!("layers: {files} source files keep the rules");
    Ok(())
}

/// All violations in the workspace at `root`, in order, and the number of source files.
fn check(root: &Path) -> Result<(Vec<Violation>, usize)> {
    let manifest = root.join("Cargo.toml");
    let manifest = manifest.to_str().ok_or("the repository's path is not UTF-8")?;
    let metadata = workspace::metadata(&["--no-deps", "--manifest-path", manifest])?;
    let mut violations = arrows::check(root, &metadata.packages)?;
    let files = source::files_below(root)?;
    violations.extend(source::check(root, &files)?);
    violations.sort();
    Ok((violations, files.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A workspace of two crates, in a folder that is gone afterwards.
    struct Workspace(PathBuf);

    impl Workspace {
        fn new(name: &str) -> Workspace {
            let root = std::env::temp_dir().join(format!("xtask-layers-{}-{name}", std::process::id()));
            let workspace = Workspace(root);
            workspace.write("Cargo.toml", "[workspace]\nresolver = '3'\nmembers = ['crates/*']\n");
            workspace.package("crates/vfs", "rumpcap-vfs", "");
            workspace.package("crates/vm", "rumpcap-vm", "");
            workspace
        }

        fn package(&self, folder: &str, name: &str, dependencies: &str) {
            let manifest =
                format!("[package]\nname = '{name}'\nversion = '0.1.0'\nedition = '2024'\n{dependencies}");
            self.write(&format!("{folder}/Cargo.toml"), &manifest);
            self.write(&format!("{folder}/src/lib.rs"), "//! A crate.\n#![forbid(unsafe_code)]\n");
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn violations(&self) -> Vec<String> {
            check(&self.0).unwrap().0.iter().map(Violation::to_string).collect()
        }
    }

    impl Drop for Workspace {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_workspace_that_keeps_the_rules_passes() {
        let workspace = Workspace::new("good");
        workspace.package("crates/vfs", "rumpcap-vfs", "[dependencies]\nrumpcap-vm = { path = '../vm' }\n");
        assert_eq!(workspace.violations(), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_that_points_up_is_found_with_its_line() {
        let workspace = Workspace::new("up");
        workspace.package("crates/vm", "rumpcap-vm", "[dependencies]\nrumpcap-vfs = { path = '../vfs' }\n");
        let expected = "crates/vm/Cargo.toml:6: crates/vm depends on crates/vfs, which is above it";
        assert_eq!(workspace.violations(), [expected]);
    }

    #[test]
    fn every_rule_of_the_source_is_found_in_a_real_tree() {
        let workspace = Workspace::new("source");
        workspace.write("crates/vfs/src/lib.rs", "//! No forbid.\nmod bad;\n");
        workspace.write(
            "crates/vfs/src/bad.rs",
            "use std::fs;\npub static mut COUNT: u8 = 0;\nfn f() { unsafe { g() } }\nfn h() { k().unwrap(); }\n",
        );
        assert_eq!(
            workspace.violations(),
            [
                "crates/vfs/src/bad.rs:1: a kernel crate names std::fs; only crates/host may",
                "crates/vfs/src/bad.rs:1: the file does not begin with a module header (//!)",
                "crates/vfs/src/bad.rs:2: global mutable state: static mut",
                "crates/vfs/src/bad.rs:3: unsafe code; only crates/vm may have any",
                "crates/vfs/src/bad.rs:4: unwrap outside of tests",
                "crates/vfs/src/lib.rs:1: the crate lacks #![forbid(unsafe_code)]",
            ]
        );
    }

    #[test]
    fn the_search_finds_the_files_of_this_repository() {
        let files = source::files_below(&workspace::root()).unwrap();
        for file in ["crates/vm/src/lib.rs", "fs/ext4/src/lib.rs", "xtask/src/layers/mod.rs"] {
            assert!(files.contains(&PathBuf::from(file)), "{file}");
        }
    }
}
