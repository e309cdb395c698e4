//! pjdfstest: what POSIX says of names, owners, modes and times, 398 cases.
//!
//! The cases that cannot pass, as they fail on the kernel's own ext4 or are the host's matter behind FUSE, are listed with their reasons in `pjdfstest.exceptions`; a listed case that passes is a failure too, so that the list stays true.

use rumpcap_testing::mounted::{Driver, Image, Mounted, Options, can_run, judged, program};
use rumpcap_testing::tools::command;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Lines `driver case reason`; a driver is `all`, `fuse`, `kernel`, `fuse2fs` or `rumpcap`.
const EXCEPTIONS: &str = include_str!("pjdfstest.exceptions");

/// As many as its version has.
const CASES: usize = 398;

/// Users that every Debian has, so that none need be made. The nap is longer than a tick of the kernel's coarse clock.
const SETTINGS: &str = r#"
[features]
file_flags = []
posix_fallocate = {}
rename_ctime = {}
stat_st_birthtime = {}
utime_now = {}
utimensat = {}
[settings]
naptime = 0.02
allow_remount = REMOUNT
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
"#;

#[test]
fn all_cases() {
    run(&Options::default());
}

#[test]
fn all_cases_with_the_writeback_cache() {
    if Driver::chosen() == Driver::Rumpcap {
        run(&Options::writeback());
    }
}

fn run(options: &Options) {
    if !can_run(&["pjdfstest", "getfacl"]) {
        return;
    }
    let image = Image::ext4(64);
    let other_place = tempfile::tempdir().expect("a directory on another file system");
    judged(&image, options, |mounted| {
        let run = |remounts: Remounts, cases: &[&str]| {
            pjdfstest(mounted, &image, other_place.path(), remounts, cases)
        };
        // By themselves: what other cases have just removed may still be open, and then the kernel's ext4 is busy.
        let of_remounts = run(Remounts::Allowed, &["erofs"])?;
        let output = run(Remounts::Skipped, &[])?;
        let mut results = results(&output);
        results.extend(self::results(&of_remounts));
        look_at(mounted.driver(), &results).map_err(|(why, failed)| {
            format!("{why}\n{}{}", said_of(&of_remounts, &failed), said_of(&output, &failed))
        })
    });
}

/// Whether the cases that mount the file system to be read are run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remounts {
    Allowed,
    Skipped,
}

fn pjdfstest(
    mounted: &Mounted,
    image: &Image,
    other_place: &Path,
    remounts: Remounts,
    cases: &[&str],
) -> Result<String, String> {
    let settings = image.beside("pjdfstest.toml");
    let is_allowed = (remounts == Remounts::Allowed).to_string();
    std::fs::write(&settings, SETTINGS.replace("REMOUNT", &is_allowed)).map_err(|e| e.to_string())?;
    let program = program("pjdfstest").ok_or("pjdfstest has gone")?;
    let mut pjdfstest = command(program.to_str().ok_or("its path")?);
    pjdfstest.arg("-c").arg(settings).arg("-s").arg(other_place).arg("-p").arg(mounted.path()).args(cases);
    if mounted.driver().is_fuse() {
        // `mount -o remount` of FUSE starts another server; the cases want the mount itself to be changed.
        let path = std::env::var("PATH").unwrap_or_default();
        pjdfstest.env("PATH", format!("{}:{path}:/usr/sbin:/sbin", without_helpers(image)?.display()));
    }
    Ok(mounted.run_for(Duration::from_secs(120), pjdfstest)?.output)
}

/// A directory with a `mount` that calls no helpers.
fn without_helpers(image: &Image) -> Result<PathBuf, String> {
    let directory = image.beside("without-helpers");
    let mount = directory.join("mount");
    std::fs::create_dir_all(&directory).map_err(|e| e.to_string())?;
    let real = program("mount").ok_or("mount is not installed")?;
    let script = format!("#!/bin/sh\nexec {} -i \"$@\"\n", real.display());
    std::fs::write(&mount, script).map_err(|e| e.to_string())?;
    std::fs::set_permissions(&mount, PermissionsExt::from_mode(0o755)).map_err(|e| e.to_string())?;
    Ok(directory)
}

/// Compares what failed with what is listed; gives the cases that failed and are not.
fn look_at<'a>(driver: Driver, results: &BTreeMap<&'a str, &str>) -> Result<(), (String, BTreeSet<&'a str>)> {
    let count = |result: &str| results.values().filter(|found| **found == result).count();
    println!("{driver:?}: {} cases, {} ok, {} skipped", results.len(), count("ok"), count("skipped"));
    // What was skipped has not passed.
    let failed: BTreeSet<_> = results.iter().filter(|(_, r)| **r != "ok").map(|(case, _)| *case).collect();
    if driver == Driver::Fuse2fs {
        // How many fail is the control; which they are is not ours to list.
        println!("{driver:?}: {} failed", failed.len());
        return Ok(());
    }
    let listed = exceptions(driver);
    let new: BTreeSet<_> = failed.difference(&listed).copied().collect();
    let mended: Vec<_> = listed.difference(&failed).collect();
    if results.len() < CASES {
        return Err((format!("of {CASES} cases {} ran", results.len()), new));
    }
    if !new.is_empty() || !mended.is_empty() {
        return Err((format!("failed: {new:?}\nlisted, and did not fail: {mended:?}"), new));
    }
    Ok(())
}

/// The result of each case: lines `case   result`.
fn results(output: &str) -> BTreeMap<&str, &str> {
    let lines = output.lines().filter(|line| line.contains("::") && !line.starts_with(char::is_whitespace));
    let words = lines.filter_map(|line| line.split_once(char::is_whitespace));
    words.map(|(case, result)| (case, result.trim())).filter(|(_, result)| !result.contains(' ')).collect()
}

/// What was said of the cases `failed`.
fn said_of(output: &str, failed: &BTreeSet<&str>) -> String {
    let mut text = String::new();
    let mut is_wanted = false;
    for line in output.lines() {
        if line.contains("::") && !line.starts_with(char::is_whitespace) {
            is_wanted = line.split_whitespace().next().is_some_and(|case| failed.contains(case));
        }
        if is_wanted && !line.starts_with("  ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn exceptions(driver: Driver) -> BTreeSet<&'static str> {
    let applies = |who: &str| match who {
        "all" => true,
        "fuse" => driver.is_fuse(),
        "kernel" => driver == Driver::Kernel,
        "fuse2fs" => driver == Driver::Fuse2fs,
        "rumpcap" => driver == Driver::Rumpcap,
        _ => panic!("an exception for {who}"),
    };
    let lines = EXCEPTIONS.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let words = lines.map(|line| line.splitn(3, ' '));
    let mut listed = BTreeSet::new();
    for mut line in words {
        let (who, case, reason) = (line.next(), line.next(), line.next());
        let (Some(who), Some(case), Some(_)) = (who, case, reason) else {
            panic!("an exception needs a reason")
        };
        if applies(who) {
            listed.insert(case);
        }
    }
    listed
}
