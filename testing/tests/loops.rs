//! Directories that contain themselves, or each other in ways that make more paths than there is time: a walk of such an image ends,
//! with errors that say so.

use rumpcap::{Error, Mount};
use rumpcap_testing::SMALLEST_LIMIT_BYTES;
use rumpcap_testing::images::{Kind, Spec, Tree, cache};
use rumpcap_testing::oracle::Library;
use rumpcap_testing::tools::{DebugfsMode, debugfs};

/// An image changed by `lines` for debugfs, which does what a file system would refuse.
fn mount(name: &'static str, lines: &[String]) -> Mount {
    let base = Spec::new("loops", Kind::Ext4).tree(Tree::Empty).size(8).block(1024).image();
    let image = cache::get(name, &lines.join("\n"), |path| {
        cache::copy_sparse(&base, path);
        debugfs(path, DebugfsMode::Write, lines);
    });
    Library::open(&image, Some(SMALLEST_LIMIT_BYTES)).expect("mounting").mount
}

/// Entries and errors of a walk, at most `bound` of them.
fn walk(mount: &Mount, bound: usize) -> (usize, Vec<Error>) {
    let (mut entries, mut errors) = (0, Vec::new());
    let mut walk = mount.walk("/").expect("a walk");
    loop {
        match walk.next_entry() {
            Ok(None) => return (entries, errors),
            Ok(Some(_)) => entries += 1,
            Err(error) => errors.push(error.error),
        }
        assert!(entries + errors.len() < bound, "{entries} entries and {} errors, and no end", errors.len());
    }
}

fn is_corrupt(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. })
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn a_directory_in_itself() {
    let mount = mount("loop-self", &lines(&["mkdir a", "ln a a/again", "mkdir b"]));
    let (entries, errors) = walk(&mount, 1000);
    assert!((4..20).contains(&entries), "{entries} entries");
    assert!(!errors.is_empty() && errors.iter().all(is_corrupt), "{errors:?}");
    // Look-ups by path are as long as the path.
    assert!(mount.metadata("a/again/again/again").is_ok());
}

#[test]
fn the_root_below_itself() {
    let mount = mount("loop-root", &lines(&["mkdir a", "mkdir a/b", "ln / a/b/root"]));
    let (entries, errors) = walk(&mount, 1000);
    assert!((4..20).contains(&entries), "{entries} entries");
    assert!(!errors.is_empty() && errors.iter().all(is_corrupt), "{errors:?}");
}

#[test]
fn two_directories_in_each_other() {
    let mount = mount("loop-two", &lines(&["mkdir a", "mkdir b", "ln a b/a", "ln b a/b"]));
    let (entries, errors) = walk(&mount, 1000);
    assert!((4..40).contains(&entries), "{entries} entries");
    assert!(!errors.is_empty() && errors.iter().all(is_corrupt), "{errors:?}");
}

/// Thirty directories, each twice in the one before: a milliard of paths.
#[test]
fn more_paths_than_time() {
    let mut changes: Vec<String> = (0..30).map(|n| format!("mkdir d{n}")).collect();
    for n in 1..30 {
        changes.extend([format!("ln d{n} d{}/x", n - 1), format!("ln d{n} d{}/y", n - 1)]);
    }
    let mount = mount("loop-many", &changes);
    // 2,048 inodes in 8 MiB: an end must come within a small multiple of them.
    let (_, errors) = walk(&mount, 100_000);
    assert!(!errors.is_empty() && errors.iter().all(is_corrupt), "{} errors", errors.len());
}
