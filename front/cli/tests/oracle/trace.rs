//! `trace record` and `trace replay`, and `--policy`. Needs no root.

use crate::exits::small;
use crate::fixture::{rumpcap, scratch, stdout};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::Path;

/// Small enough that the image's directory does not fit.
const LIMIT: &str = "--memory-limit=160k";

fn record(image: &Path, trace: &Path, command: &[&str]) -> Vec<u8> {
    let fixed: [&OsStr; 7] = [
        "trace".as_ref(),
        "record".as_ref(),
        LIMIT.as_ref(),
        "-o".as_ref(),
        trace.as_ref(),
        image.as_ref(),
        "--".as_ref(),
    ];
    stdout(fixed.into_iter().chain(command.iter().map(OsStr::new)))
}

fn replay(trace: &Path, more: &[&str]) -> Value {
    let fixed: [&OsStr; 4] = ["trace".as_ref(), "replay".as_ref(), "--json".as_ref(), trace.as_ref()];
    serde_json::from_slice(&stdout(fixed.into_iter().chain(more.iter().map(OsStr::new)))).unwrap()
}

/// The misses of a policy, limit by limit.
fn misses(replayed: &Value, policy: &str) -> Vec<u64> {
    let points = replayed["policies"][policy].as_array().unwrap();
    points.iter().map(|point| point["misses"].as_u64().unwrap()).collect()
}

#[test]
fn a_recorded_command_does_what_it_does() {
    let image = small("trace-same");
    let trace = scratch("trace-same-out").join("t");
    let i = image.to_str().unwrap();
    let plain = stdout(["find", LIMIT, i, "-name", "entry-0001*"]);
    assert_eq!(record(&image, &trace, &["find", "-name", "entry-0001*"]), plain);
    assert_eq!(record(&image, &trace, &["find", ":/sub", "-name", "entry-0001*"]), plain);
    assert_eq!(record(&image, &trace, &["cat", ":/file"]), b"content\n");

    // Nothing of it is in the kernel's memory: every count is the same.
    let counts = |args: &[&str]| -> Value {
        let out = rumpcap(args);
        assert!(out.status.success());
        let mut counts: Value = serde_json::from_slice(&out.stderr).unwrap();
        for time in ["gate_longest_wait_ns", "frame_longest_wait_ns"] {
            counts.as_object_mut().unwrap().remove(time);
        }
        counts
    };
    let t = trace.to_str().unwrap();
    let recorded = counts(&["--stats=json", LIMIT, "trace", "record", "-o", t, i, "--", "ls", "-lR"]);
    assert_eq!(recorded, counts(&["--stats=json", LIMIT, "ls", "-lR", i]));
}

#[test]
fn a_replay_counts_what_the_run_counted() {
    let image = small("trace-replay");
    let directory = scratch("trace-replay-out");
    let (trace, svg) = (directory.join("t"), directory.join("t.svg"));
    record(&image, &trace, &["ls", "-lR"]);
    let replayed = replay(&trace, &["--limits", "160k,256k,8m", "--svg", svg.to_str().unwrap()]);
    assert!(replayed["recorded_misses"].as_u64().unwrap() > 50);
    assert_eq!(replayed["replayed_as_recorded_misses"], replayed["recorded_misses"]);
    assert_eq!(replayed["label"], "ls -lR");
    let least = misses(&replayed, "optimum");
    assert_eq!(least.len(), 3);
    assert_eq!(Some(least[2]), replayed["pages"].as_u64(), "at 8 MiB each page is read once");
    for policy in ["s3-fifo", "lru", "s3-fifo-published", "clock-pro"] {
        let misses = misses(&replayed, policy);
        assert!(misses.iter().zip(&least).all(|(misses, least)| misses >= least), "{policy}: {misses:?}");
        assert_eq!(misses[2], least[2], "{policy} at 8 MiB");
    }
    let drawn = std::fs::read_to_string(svg).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
    // The table says the same.
    let text = stdout([OsStr::new("trace"), "replay".as_ref(), "--limits=8m".as_ref(), trace.as_ref()]);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("Misses\n") && text.contains("8 MiB"), "{text}");
}

#[test]
fn what_is_no_recording_is_named() {
    let image = small("trace-bad");
    let directory = scratch("trace-bad-out");
    let trace = directory.join("t");
    record(&image, &trace, &["ls"]);
    let bytes = std::fs::read(&trace).unwrap();
    let said = |bytes: &[u8]| {
        let bad = directory.join("bad");
        std::fs::write(&bad, bytes).unwrap();
        let out = rumpcap([OsStr::new("trace"), "replay".as_ref(), bad.as_ref()]);
        assert_eq!(out.status.code(), Some(1));
        String::from_utf8(out.stderr).unwrap()
    };
    assert!(said(b"").contains("not a trace of rumpcap"));
    assert!(said(&bytes[..bytes.len() / 2]).contains("cut off at byte"));
    let mut newer = bytes.clone();
    newer[8] = 77;
    assert!(said(&newer).contains("version 77"));
}

#[test]
fn a_recording_that_makes_no_sense_is_refused() {
    let image = small("trace-usage");
    let trace = scratch("trace-usage-out").join("t");
    let (i, t) = (image.to_str().unwrap(), trace.to_str().unwrap());
    let before = std::fs::read(&image).unwrap();
    for args in [
        &["trace", "record", "-o", i, i, "--", "ls"][..],
        &["trace", "record", "-o", t, i, "--", "trace", "replay", t],
        &["trace", "record", "-o", t, i, "--", "ls", "--memory-limit", "1m"],
        &["trace", "record", "-o", t, i, "--", "frobnicate"],
        &["trace", "record", "-o", t, i],
        &["trace", "replay", "--policies", "best", t],
    ] {
        assert_eq!(rumpcap(args).status.code(), Some(2), "{args:?}");
    }
    assert!(std::fs::read(&image).unwrap() == before, "the image was written");
    assert!(!trace.exists());
    // A command that fails exits as it does without, and leaves a whole recording.
    assert_eq!(rumpcap(["trace", "record", "-o", t, i, "--", "cat", ":/no/such"]).status.code(), Some(1));
    assert!(replay(&trace, &[])["accesses"].as_u64().unwrap() > 0);
    assert_eq!(rumpcap(["trace", "replay", "--limits", "1k", t]).status.code(), Some(1));
}

#[test]
fn each_policy_can_be_asked_for() {
    let image = small("trace-policy");
    let i = image.to_str().unwrap();
    let listing = |policy: &str| stdout(["ls", "-lR", "--policy", policy, LIMIT, i]);
    assert_eq!(listing("lru"), listing("s3-fifo"));
    assert_eq!(listing("lru"), listing("s3fifo"));
    assert_eq!(rumpcap(["ls", "--policy", "fifo", i]).status.code(), Some(2));
}
