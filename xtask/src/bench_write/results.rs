//! What was measured, as a table with the targets, and as a plot.
//!
//! Who calls it: `bench_write`.

use super::subjects::Subject;
use super::{Args, Case, Outcomes};
use crate::Result;
use crate::bench::measure::median;
use std::fmt::Write;
use std::path::Path;

/// A target: our subject, the other, how many times as fast it must be.
const TARGETS: [(Subject, Subject, f64); 6] = [
    (Subject::Library(512), Subject::Kernel, 1.0),
    (Subject::Library(512), Subject::Fuse2fs, 2.5),
    (Subject::Library(512), Subject::Debugfs, 1.5),
    (Subject::Library(512), Subject::Lwext4, 5.0),
    (Subject::Library(1024), Subject::Library(0), 0.8),
    (Subject::Mkfs, Subject::Mke2fs, 1.0),
];

/// Bytes written, against the kernel's.
const MOST_BYTES: f64 = 1.5;

/// Memory of mkfs, against that of mke2fs.
const MOST_MEMORY: f64 = 0.1;

pub(super) fn write(out: &Path, root: &Path, outcomes: &Outcomes, args: &Args) -> Result {
    let mut text = String::from("# Writing\n\nWritten by `cargo xtask bench-write`.\n\n");
    let (machine, date, revision) = crate::bench::machine_date_revision(root);
    writeln!(text, "{date}, revision {revision}. {machine}\n")?;
    let what = format!(
        "Every run begins with a fresh copy of an image that mke2fs made (ext4, its defaults), when all that the host still had to write is \
         written, and ends when the image is durable. \
         `many`: 20,000 files of 100 to 12,000 bytes in 200 directories. `delete-half`: every second of them. `big`: 256 MiB in pieces \
         of 1 MiB. `sample`, `tree`: a copy of {} and of {} with all attributes, by `rumpcap cp -a` and `cp -a`; lwext4 copies names, content and \
         modes alone, and fuse2fs and lwext4, which would take minutes for it, do not copy `tree`. `mkfs`: a new file system with `tree`, by \
         `rumpcap mkfs -d` and `mke2fs -d`, the latter once. After each run e2fsck found nothing.\n\n",
        args.sample.display(),
        args.tree.display()
    );
    text.push_str(&what);
    text.push_str("![Seconds of everybody, case by case](writing.svg)\n\n");
    std::fs::write(
        out.join("writing.svg"),
        super::plot::draw(outcomes, args, &format!("{date}, revision {revision}")),
    )?;
    text.push_str("## Targets\n\n| case | what | target | measured | |\n|---|---|--:|--:|---|\n");
    for line in targets(outcomes) {
        writeln!(text, "{line}")?;
    }
    text.push_str("\n## All of them\n\nMedians; bytes are those written to the image.\n\n| case | who | rounds | seconds | MiB written | flushes | MiB of anonymous memory |\n|---|---|--:|--:|--:|--:|--:|\n");
    for ((case, subject), runs) in outcomes {
        let seconds = median(runs.iter().filter(|run| run.error.is_none()).map(|run| run.seconds).collect());
        let bytes = runs.iter().find_map(|run| run.image_bytes);
        let flushes = runs.iter().find_map(|run| run.flushes);
        let error = runs.iter().find_map(|run| run.error.clone());
        let seconds = match (seconds, error) {
            (_, Some(error)) => format!("failed: {}", error.lines().next().unwrap_or_default()),
            (Some(seconds), None) => format!("{seconds:.2}"),
            (None, None) => String::new(),
        };
        let written = bytes.map_or(String::new(), |bytes| format!("{:.0}", mib(bytes)));
        let memory = runs.iter().filter_map(|run| run.anonymous_bytes).max();
        let memory = memory.map_or(String::new(), |bytes| format!("{:.2}", mib(bytes)));
        let flushes = flushes.map_or(String::new(), |flushes| flushes.to_string());
        writeln!(
            text,
            "| {} | {} | {} | {seconds} | {written} | {flushes} | {memory} |",
            case.name(),
            subject.name(),
            runs.len()
        )?;
    }
    std::fs::write(out.join("writing.md"), text)?;
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn targets(outcomes: &Outcomes) -> Vec<String> {
    let mut lines = Vec::new();
    for case in Case::ALL {
        for (ours, other, least) in TARGETS {
            let speed = ratio(outcomes, case, ours, other, |run| Some(run.seconds));
            let Some(speed) = speed else { continue };
            let mark = if speed >= least { "met" } else { "**missed**" };
            let what = format!("{} against {}", ours.name(), other.name());
            lines.push(format!("| {} | speed, {what} | ≥ {least} × | {speed:.2} × | {mark} |", case.name()));
        }
        let bytes = ratio(outcomes, case, Subject::Kernel, Subject::Library(512), |run| {
            run.image_bytes.map(|n| n as f64)
        });
        if let Some(bytes) = bytes {
            let mark = if bytes <= MOST_BYTES { "met" } else { "**missed**" };
            lines.push(format!(
                "| {} | bytes written, rumpcap, 512 KiB against the kernel | ≤ {MOST_BYTES} × | {bytes:.2} × | {mark} |",
                case.name()
            ));
        }
        let memory = ratio(outcomes, case, Subject::Mke2fs, Subject::Mkfs, |run| {
            run.anonymous_bytes.map(|n| n as f64)
        });
        if let Some(memory) = memory {
            let mark = if memory <= MOST_MEMORY { "met" } else { "**missed**" };
            lines.push(format!(
                "| {} | anonymous memory, rumpcap mkfs -d against mke2fs -d | ≤ {MOST_MEMORY} × | {memory:.2} × | {mark} |",
                case.name()
            ));
        }
    }
    lines
}

/// The median of the ratios other / ours of runs of the same round.
fn ratio(
    outcomes: &Outcomes,
    case: Case,
    ours: Subject,
    other: Subject,
    value: impl Fn(&super::Outcome) -> Option<f64>,
) -> Option<f64> {
    let (ours, other) = (outcomes.get(&(case, ours))?, outcomes.get(&(case, other))?);
    let pairs = ours.iter().zip(other).filter(|(a, b)| a.error.is_none() && b.error.is_none());
    median(pairs.filter_map(|(ours, other)| Some(value(other)? / value(ours)?)).collect())
}
