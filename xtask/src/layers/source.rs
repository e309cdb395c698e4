//! What may stand in which source file.
//!
//! Who calls it: `layers`. It finds the files, decides by a file's place which rules hold for it, and leaves the
//! search within a file to `tokens`.
//!
//! | rule | where it holds |
//! |---|---|
//! | module header first | every file |
//! | no unsafe code, and the compiler is told to forbid it | every crate but `crates/vm`, and the counting allocator of the tests |
//! | no `static mut`, no global with interior mutability | `crates/*`, `fs/*`, outside of tests |
//! | no `std::fs`, `time`, `thread`, `net`, `process`, `env` | `crates/{block,vm,vfs}`, `fs/*`, outside of tests |
//! | no `unwrap` | everywhere outside of tests |

use super::Violation;
use super::tokens::{self, Finding, Place};
use crate::Result;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Not part of the product's workspace: programs of others to compare with, bound to them as they need it. Only the
/// header is asked for.
const FOREIGN: &str = "bench/";

/// Where unsafe code may be: the crate that turns the region into frames and pools, and the tests' counting allocator,
/// which no user gets (the trait of allocators is an unsafe one).
const UNSAFE: &[&str] = &["crates/vm/", "testing/src/counting.rs"];

/// The crates that reach the host through `crates/host` only.
const KERNEL: &[&str] = &["crates/block/", "crates/vm/", "crates/vfs/", "fs/"];

/// Every Rust file below `root`, relative to it, in order; not those that cargo made.
///
/// # Errors
/// When a folder cannot be read.
pub(super) fn files_below(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let is_hidden = name.as_encoded_bytes().starts_with(b".");
            if entry.file_type()?.is_dir() {
                if !is_hidden && name != "target" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(root)?.to_path_buf());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// All violations in `files`.
///
/// # Errors
/// When a file cannot be read, or is not Rust.
pub(super) fn check(root: &Path, files: &[PathBuf]) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    let mut found = Vec::new();
    let mut test_modules = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(root.join(file)).map_err(|e| format!("{}: {e}", file.display()))?;
        if !text.starts_with("//!") {
            let what = "the file does not begin with a module header (//!)".into();
            violations.push(Violation { file: file.clone(), line: 1, what });
        }
        if file.starts_with(FOREIGN) {
            continue;
        }
        let scan = tokens::scan(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        if is_crate_root(file) && !scan.forbids_unsafe && !has_unsafe_code(file) {
            let what = "the crate lacks #![forbid(unsafe_code)]".into();
            violations.push(Violation { file: file.clone(), line: 1, what });
        }
        test_modules.extend(scan.test_modules.iter().flat_map(|module| files_of_module(file, module)));
        found.push((file, scan.findings));
    }
    for (file, findings) in found {
        let is_test = is_test_file(file) || file.ancestors().any(|path| test_modules.contains(path));
        let objections = findings.into_iter().filter_map(|finding| objection(file, is_test, finding));
        violations.extend(objections.map(|(line, what)| Violation { file: file.clone(), line, what }));
    }
    Ok(violations)
}

/// Why `finding` may not be in `file`: its line, and what to say. `None` when it may.
fn objection(file: &Path, is_test: bool, finding: Place) -> Option<(usize, String)> {
    let is_in = |folders: &[&str]| folders.iter().any(|folder| file.starts_with(folder));
    let is_library = is_in(&["crates/", "fs/"]);
    let what = match finding.what {
        Finding::Unsafe if !is_in(UNSAFE) => "unsafe code; only crates/vm may have any".into(),
        _ if is_test || finding.is_in_test => return None,
        Finding::Global(kind) if is_library => format!("global mutable state: {kind}"),
        Finding::Host(module) if is_in(KERNEL) => {
            format!("a kernel crate names std::{module}; only crates/host may")
        }
        Finding::Unwrap => "unwrap outside of tests".into(),
        _ => return None,
    };
    Some((finding.line, what))
}

/// Whether the crate with root `file` has a place with unsafe code, and cannot forbid it as a whole.
fn has_unsafe_code(file: &Path) -> bool {
    file.parent().is_some_and(|sources| {
        UNSAFE.iter().any(|place| Path::new(place).starts_with(sources) || sources.starts_with(place))
    })
}

fn is_crate_root(file: &Path) -> bool {
    file.ends_with("src/lib.rs") || file.ends_with("src/main.rs")
}

/// Tests, benches and the fuzz targets as whole files.
fn is_test_file(file: &Path) -> bool {
    file.starts_with("testing/")
        || file.starts_with("fuzz/")
        || file.iter().any(|part| part == "tests" || part == "benches")
}

/// The file, or the folder, that `mod module;` in `file` may mean.
fn files_of_module(file: &Path, module: &str) -> [PathBuf; 2] {
    let is_root = is_crate_root(file) || file.ends_with("mod.rs");
    let folder = if is_root { file.parent().unwrap_or(file).to_path_buf() } else { file.with_extension("") };
    [folder.join(module).with_extension("rs"), folder.join(module)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objections(file: &str, text: &str) -> Vec<(usize, String)> {
        let scan = tokens::scan(text).unwrap();
        let file = Path::new(file);
        scan.findings.into_iter().filter_map(|place| objection(file, is_test_file(file), place)).collect()
    }

    fn is_clean(file: &str, text: &str) -> bool {
        objections(file, text).is_empty()
    }

    #[test]
    fn the_host_layer_names_the_host_and_others_do_not() {
        let text = "use std::{fmt, time::Instant};";
        assert!(is_clean("crates/host/src/clock.rs", text));
        assert!(is_clean("crates/kernel/src/metadata.rs", text));
        let expected = "a kernel crate names std::time; only crates/host may";
        assert_eq!(objections("fs/ext4/src/inode.rs", text), [(1, expected.to_owned())]);
    }

    #[test]
    fn unsafe_code_is_for_one_crate() {
        let text = "fn f() {\n    unsafe { g() }\n}";
        assert!(is_clean("crates/vm/src/region.rs", text));
        assert!(!is_clean("crates/vfs/src/region.rs", text));
        assert!(!is_clean("crates/vfs/tests/region.rs", text), "tests are no exception");
        assert!(is_clean("testing/src/counting.rs", text) && !is_clean("testing/src/lib.rs", text));
        let roots =
            ["crates/vm/src/lib.rs", "testing/src/lib.rs", "crates/vfs/src/lib.rs", "front/cli/src/main.rs"];
        assert_eq!(roots.map(|root| has_unsafe_code(Path::new(root))), [true, true, false, false]);
    }

    #[test]
    fn tests_may_unwrap_and_have_globals() {
        let text = "fn f() { g().unwrap(); }\nstatic N: AtomicU64 = AtomicU64::new(0);";
        assert_eq!(objections("crates/vm/src/list.rs", text).len(), 2);
        assert!(is_clean("crates/vm/tests/list.rs", text));
        assert!(is_clean("testing/src/images.rs", text));
    }

    #[test]
    fn a_module_for_tests_may_be_a_file_or_a_folder() {
        let [file, folder] = files_of_module(Path::new("crates/vm/src/pool.rs"), "tests");
        assert_eq!(file, Path::new("crates/vm/src/pool/tests.rs"));
        assert_eq!(folder, Path::new("crates/vm/src/pool/tests"));
        assert_eq!(files_of_module(Path::new("a/src/lib.rs"), "tests")[0], Path::new("a/src/tests.rs"));
    }
}
