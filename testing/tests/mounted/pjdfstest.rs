//! pjdfstest: what POSIX says of names, owners, modes and times, 398 cases.
//!
//! The cases that fail on the kernel's own ext4, and those that fail behind FUSE whatever the server does, are listed
//! with their reasons in `pjdfstest.exceptions`; a listed case that passes is a failure too, so that the list stays true.

use rumpcap_testing::mounted::{Driver, Image, Mounted, Options, can_run, judged, program};
use rumpcap_testing::tools::command;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Lines `driver case reason`; a driver is `all`, `fuse`, `kernel`, `fuse2fs` or `rumpcap`.
const EXCEPTIONS: &str = include_str!("pjdfstest.exceptions");

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
    let settings = image.beside("pjdfstest.toml");
    let other_place = tempfile::tempdir().expect("a directory on another file system");
    judged(&image, options, |mounted| {
        // A remount of FUSE goes to the mount's helper program, and past the server.
        let remount = if mounted.driver().is_fuse() { "false" } else { "true" };
        std::fs::write(&settings, SETTINGS.replace("REMOUNT", remount)).map_err(|e| e.to_string())?;
        cases(mounted, &settings, other_place.path())
    });
}

fn cases(mounted: &Mounted, settings: &Path, other_place: &Path) -> Result<(), String> {
    let program = program("pjdfstest").ok_or("pjdfstest has gone")?;
    let mut pjdfstest = command(program.to_str().ok_or("its path")?);
    pjdfstest.arg("-c").arg(settings).arg("-s").arg(other_place).arg("-p").arg(mounted.path());
    let ended = mounted.run_for(std::time::Duration::from_secs(120), pjdfstest)?;
    let results = results(&ended.output);
    let count = |result: &str| results.values().filter(|found| **found == result).count();
    println!("{} cases: {} ok, {} skipped", results.len(), count("ok"), count("skipped"));
    if results.len() < 390 {
        return Err(format!("only {} cases ran: {}", results.len(), ended.output));
    }
    let is_failed = |result: &&str| !["ok", "skipped"].contains(result);
    let failed: BTreeSet<_> = results.iter().filter(|(_, r)| is_failed(r)).map(|(case, _)| *case).collect();
    let listed = exceptions(mounted.driver());
    if failed == listed {
        return Ok(());
    }
    let new: Vec<_> = failed.difference(&listed).collect();
    let mended: Vec<_> = listed.difference(&failed).collect();
    Err(format!("failed: {new:?}\nlisted, and did not fail: {mended:?}\n{}", failures(&ended.output, &new)))
}

/// The result of each case: lines `case   result`.
fn results(output: &str) -> BTreeMap<&str, &str> {
    let lines = output.lines().filter(|line| line.contains("::") && !line.starts_with(char::is_whitespace));
    let words = lines.filter_map(|line| line.split_once(char::is_whitespace));
    words.map(|(case, result)| (case, result.trim())).filter(|(_, result)| !result.contains(' ')).collect()
}

/// What was said of the cases `failed`.
fn failures(output: &str, failed: &[&&str]) -> String {
    let mut text = String::new();
    let mut is_wanted = false;
    for line in output.lines() {
        if line.contains("::") && !line.starts_with(char::is_whitespace) {
            is_wanted = failed.iter().any(|case| line.split_whitespace().next() == Some(case));
        }
        if is_wanted {
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
    let mut words = lines.map(|line| line.splitn(3, ' '));
    let mut listed = BTreeSet::new();
    while let Some(mut line) = words.next() {
        let (who, case, reason) = (line.next(), line.next(), line.next());
        let (Some(who), Some(case), Some(_)) = (who, case, reason) else { panic!("an exception needs a reason") };
        if applies(who) {
            listed.insert(case);
        }
    }
    listed
}
