//! Writes what was measured as Markdown: `results.md` (verdict, speed, memory, policies) and `peers.md`.
//!
//! Who calls it: `bench`.

use super::child::Outcome;
use super::images::Image;
use super::measure::{Case, Measurements, Runs, Workload};
use super::replay::Replay;
use super::subjects::{self, Limit, Subject};
use super::verdict::{Judgement, Line, mib};
use std::fmt::Write;
use std::path::Path;

/// What the figures were measured on and how.
pub(crate) struct Circumstances {
    pub(crate) machine: String,
    pub(crate) date: String,
    pub(crate) revision: String,
    pub(crate) rounds: usize,
    pub(crate) command: String,
    /// Each image: name, length of the file and what of it is stored.
    pub(crate) images: Vec<(Image, u64, u64)>,
}

/// `results.md`.
pub(crate) fn results(
    circumstances: &Circumstances,
    lines: &[Line],
    measurements: &Measurements,
    replays: &[Replay],
    limits: &[Limit],
    cases: &[Case],
) -> String {
    let mut out = String::from(
        "# Results of the benchmark\n\nWritten by `cargo xtask bench`; the method is in [README.md](README.md).\n\n",
    );
    introduce(&mut out, circumstances);
    verdict(&mut out, lines);
    out.push_str("## Speed against the limit\n\n![Speed and peak memory against the limit](speed.svg)\n\n");
    speeds(&mut out, measurements, limits, cases);
    out.push_str("## Seconds, image bytes and memory\n\n");
    for &case in cases {
        details(&mut out, measurements, case);
    }
    policies(&mut out, replays);
    out
}

fn introduce(out: &mut String, circumstances: &Circumstances) {
    let Circumstances { machine, date, revision, rounds, command, images } = circumstances;
    let _ = writeln!(out, "{date}, revision {revision}, `{command}`, {rounds} rounds. {machine}\n");
    out.push_str("| image | length | stored |\n|---|--:|--:|\n");
    for (image, len_bytes, stored_bytes) in images {
        let _ = writeln!(out, "| {} | {} | {} |", image.name(), mib(*len_bytes), mib(*stored_bytes));
    }
    out.push('\n');
}

fn verdict(out: &mut String, lines: &[Line]) {
    let count = |judgement| lines.iter().filter(|line| line.judgement == judgement).count();
    let (met, missed) = (count(Judgement::Met), count(Judgement::Missed));
    let unmeasured = count(Judgement::NotMeasured);
    let _ = writeln!(out, "## Verdict: {met} met, {missed} missed, {unmeasured} not measured\n");
    out.push_str("A verdict goes by wall time. Beside it the same ratio of the time on a processor, which a busy machine disturbs less.\n\n");
    out.push_str("| | what | case | target | measured | by CPU time |\n|---|---|---|--:|--:|--:|\n");
    for line in lines {
        let mark = match line.judgement {
            Judgement::Met => "met",
            Judgement::Missed => "**missed**",
            Judgement::NotMeasured => "not measured",
        };
        let Line { what, case, target, measured, by_cpu_time, .. } = line;
        let measured = measured.replace('|', "/");
        let _ = writeln!(out, "| {mark} | {what} | {case} | {target} | {measured} | {by_cpu_time} |");
    }
    out.push('\n');
}

/// Percent of the speed without limit.
fn speeds(out: &mut String, measurements: &Measurements, limits: &[Limit], cases: &[Case]) {
    out.push_str("Percent of the speed without limit, median of the ratios within each round.\n\n| |");
    for limit in limits {
        let _ = write!(out, " {} |", limit.name());
    }
    let _ = writeln!(out, "\n|---|{}", "--:|".repeat(limits.len()));
    for &case in cases {
        let _ = write!(out, "| {} |", case.name());
        for &limit in limits {
            let speed = speed_share(measurements, case, limit).map(|share| format!("{:.1}", share * 100.0));
            let _ = write!(out, " {} |", speed.unwrap_or("failed".to_owned()));
        }
        out.push('\n');
    }
    out.push('\n');
}

/// Speed at a limit as a share of the speed without.
pub(crate) fn speed_share(measurements: &Measurements, case: Case, limit: Limit) -> Option<f64> {
    let ours = measurements.library(case, limit).filter(|runs| runs.is_correct)?;
    ours.speed_against(measurements.library(case, Limit::NONE)?)
}

fn details(out: &mut String, measurements: &Measurements, case: Case) {
    let _ = writeln!(out, "### {}\n", case.name());
    out.push_str(
        "| who | right | seconds | CPU seconds | image reads | image bytes | anonymous | resident |\n",
    );
    out.push_str("|---|---|--:|--:|--:|--:|--:|--:|\n");
    for ((_, subject), runs) in measurements.runs.iter().filter(|((of, _), _)| *of == case) {
        out.push_str(&detail(subject, runs));
    }
    out.push('\n');
}

fn detail(subject: &Subject, runs: &Runs) -> String {
    let right = match (&runs.checked.error, subject) {
        (Some(why), _) => why.replace('|', "/"),
        (None, Subject::Pread) => "(no file system)".to_owned(),
        (None, _) if runs.is_correct => "yes".to_owned(),
        (None, _) => "**no**".to_owned(),
    };
    let once = (runs.checked.seconds > 0.0).then_some(runs.checked.seconds);
    let seconds = match (runs.seconds(), once) {
        (Some(seconds), _) => format!("{seconds:.3}"),
        (None, Some(seconds)) => format!("({seconds:.3})"),
        (None, None) => String::new(),
    };
    let cpu_seconds = runs.cpu_seconds().map(|seconds| format!("{seconds:.3}")).unwrap_or_default();
    let reads = runs.checked.image_reads.map(|reads| reads.to_string()).unwrap_or_default();
    let bytes = runs.checked.image_bytes.map(mib).unwrap_or_default();
    let most = |value: fn(&Outcome) -> u64| {
        let bytes = runs.all().map(value).max().filter(|&bytes| bytes > 0);
        // The kernel's memory is not its mounter's.
        bytes.filter(|_| *subject != Subject::Kernel).map(mib).unwrap_or_default()
    };
    let (anonymous, resident) =
        (most(|outcome| outcome.anonymous_bytes), most(|outcome| outcome.resident_bytes));
    let name = subject.name();
    format!(
        "| {name} | {right} | {seconds} | {cpu_seconds} | {reads} | {bytes} | {anonymous} | {resident} |\n"
    )
}

fn policies(out: &mut String, replays: &[Replay]) {
    out.push_str("## Policies on the recorded page accesses\n\n");
    out.push_str("Misses on the trace of a walk with as many frames as the library had for pages; \"read\" is what it read from ");
    out.push_str("the image, read-ahead included, in pages of 4 KiB.\n\n");
    out.push_str("| walk | limit | accesses | different pages | frames | read | Belady | LRU | S3-FIFO | CLOCK-Pro |\n");
    out.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for replay in replays {
        let (image, limit) = (replay.image.name(), replay.limit.name());
        let row = match &replay.result {
            Err(why) => format!("| {image} | {limit} | {why} |||||||"),
            Ok(r) => format!(
                "| {image} | {limit} | {} | {} | {} | {} | {} | {} | {} | {} |",
                r.accesses, r.distinct, r.frames, r.pages_read, r.optimum, r.lru, r.s3_fifo, r.clock_pro
            ),
        };
        let _ = writeln!(out, "{row}");
    }
}

/// `peers.md`: who the peers are, and who is the fastest of those that are right.
pub(crate) fn peers(
    circumstances: &Circumstances,
    root: &Path,
    measurements: &Measurements,
    cases: &[Case],
) -> String {
    let mut out = String::from(
        "# The peers\n\nWritten by `cargo xtask bench`; how each is run is in [README.md](README.md).\n\n",
    );
    introduce(&mut out, circumstances);
    out.push_str("## The fastest that is right\n\n| workload | peer | version | seconds | image bytes |\n|---|---|---|--:|--:|\n");
    for &case in cases {
        let Some((subject, runs)) = measurements.best_peer(case) else { continue };
        let Subject::Peer(name, _) = subject else { continue };
        let (version, seconds) = (subjects::version(root, name), runs.seconds().unwrap_or_default());
        let bytes = runs.checked.image_bytes.map(mib).unwrap_or_default();
        let _ =
            writeln!(out, "| {} | {} | {version} | {seconds:.3} | {bytes} |", case.name(), subject.name());
    }
    out.push_str("\n## All of them\n\nSeconds: median of the timed rounds; in brackets, the one run in which all bytes were looked at, of a ");
    out.push_str("configuration that was too slow or wrong to be timed.\n\n");
    out.push_str("| peer | version |");
    for &case in cases {
        let _ = write!(out, " {} |", case.name());
    }
    let _ = writeln!(out, "\n|---|---|{}", "--:|".repeat(cases.len()));
    for subject in subjects::peers() {
        let Subject::Peer(name, _) = subject else { continue };
        let _ = write!(out, "| {} | {} |", subject.name(), subjects::version(root, name));
        for &case in cases {
            let _ = write!(out, " {} |", measurements.of(case, &subject).map(cell).unwrap_or_default());
        }
        out.push('\n');
    }
    out.push_str("\n## Memory to open the 16 TiB file system, and of the walks\n\n| peer | anonymous memory, walk huge |");
    out.push_str(" image bytes to open it |\n|---|--:|--:|\n");
    let huge = Case { workload: Workload::Walk, image: Image::Huge };
    for subject in subjects::peers() {
        let Some(runs) = measurements.of(huge, &subject) else { continue };
        let opened = runs.checked.open_image_bytes.map(mib).unwrap_or_default();
        let _ = writeln!(out, "| {} | {} | {opened} |", subject.name(), mib(runs.checked.anonymous_bytes));
    }
    out
}

fn cell(runs: &Runs) -> String {
    match (&runs.checked.error, runs.seconds()) {
        (Some(why), _) => why.replace('|', "/"),
        (None, _) if !runs.is_correct => format!("**wrong** ({:.3})", runs.checked.seconds),
        (None, Some(seconds)) => format!("{seconds:.3}"),
        (None, None) => format!("({:.3})", runs.checked.seconds),
    }
}
