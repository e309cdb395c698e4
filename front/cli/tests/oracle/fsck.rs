//! `fsck -n`: its exit codes and lines, and that it leaves images alone. Needs no root.

use crate::exits::small;
use crate::fixture::rumpcap;
use rumpcap_testing::tools::{DebugfsMode, debugfs};
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// Exit code and lines of `fsck` with `options` on `image`.
fn fsck(options: &[&str], image: &Path) -> (Option<i32>, Vec<String>) {
    let args = options.iter().map(OsStr::new).chain([image.as_os_str()]);
    let out = rumpcap([OsStr::new("fsck")].into_iter().chain(args));
    let lines = String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect();
    (out.status.code(), lines)
}

fn cut(image: &Path, lines: &[&str]) {
    let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    debugfs(image, DebugfsMode::Write, &lines);
}

#[test]
fn a_clean_image_gives_one_line_and_stays_as_it_is() {
    let image = small("fsck-clean");
    let before = fs::read(&image).unwrap();
    let (code, lines) = fsck(&["-n"], &image);
    assert_eq!((code, lines.len()), (Some(0), 1), "{lines:?}");
    assert!(lines[0].ends_with("blocks") && lines[0].contains("2013/"), "{lines:?}");
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn each_error_is_a_line_and_nothing_is_repaired() {
    let image = small("fsck-errors");
    cut(&image, &["sif /file blocks 16", "unlink /sub"]);
    let before = fs::read(&image).unwrap();
    for limit in ["512k", "8m"] {
        let (code, lines) = fsck(&["--memory-limit", limit, "-n"], &image);
        assert_eq!(code, Some(4));
        assert!(lines.iter().any(|line| line.ends_with(": i_blocks is 16, should be 2")), "{lines:?}");
        assert!(
            lines.iter().any(|line| line.ends_with(": a directory that no directory names")),
            "{lines:?}"
        );
        assert!(lines.last().unwrap().contains(" errors, "), "{lines:?}");
    }
    assert!(fs::read(&image).unwrap() == before);
}

#[test]
fn a_lost_super_block_is_said_and_a_copy_is_used() {
    let image = small("fsck-super-block");
    let mut bytes = fs::read(&image).unwrap();
    bytes[1024..2048].fill(0);
    fs::write(&image, bytes).unwrap();
    let (code, lines) = fsck(&["-n"], &image);
    assert_eq!(code, Some(4), "{lines:?}");
    assert!(
        lines[0].starts_with("super block: ") && lines[0].contains("8389632") || lines[0].contains("8389"),
        "{lines:?}"
    );
}

#[test]
fn what_is_no_check_has_codes_of_its_own() {
    let image = small("fsck-codes");
    assert_eq!(fsck(&[], &image).0, Some(16), "repair");
    assert_eq!(fsck(&["-n", "--frobnicate"], &image).0, Some(16), "usage");
    assert_eq!(fsck(&["-n"], Path::new("no.img")).0, Some(8), "no image");
    fs::write(&image, [0xA5; 1 << 20]).unwrap();
    assert_eq!(fsck(&["-n"], &image).0, Some(8), "no file system");
}
