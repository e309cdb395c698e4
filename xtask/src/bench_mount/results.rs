//! What was measured, as a table with the targets, and the plots.
//!
//! Who calls it: `bench_mount`.

use super::memory::Watched;
use super::mounts::{REQUEST_BYTES, Subject, THREADS};
use super::{Case, MIB, Outcome, Outcomes, Place, plot};
use crate::Result;
use crate::bench::measure::median;
use std::fmt::Write;
use std::path::Path;

/// A target: the case, the other, how many times as fast it must be.
const TARGETS: [(Case, Subject, f64); 8] = [
    (Case::Walk, Subject::Fuse2fs, 5.0),
    (Case::One, Subject::Fuse2fs, 20.0),
    (Case::Read, Subject::Fuse2fs, 1.5),
    (Case::Read, Subject::Kernel, 0.8),
    (Case::ReadCold, Subject::Fuse2fs, 1.5),
    (Case::ReadCold, Subject::Kernel, 0.8),
    (Case::Write, Subject::Fuse2fs, 1.5),
    (Case::Create, Subject::Fuse2fs, 2.0),
];

pub(super) fn write(
    out: &Path,
    root: &Path,
    place: &Place,
    outcomes: &Outcomes,
    watched: Option<&Watched>,
) -> Result {
    let (machine, date, revision) = crate::bench::machine_date_revision(root);
    let mut text = String::from("# Mounts\n\nWritten by `cargo xtask bench-mount`.\n\n");
    let mib = place.bytes / MIB;
    writeln!(text, "{date}, revision {revision}. {machine}\n")?;
    writeln!(
        text,
        "Ordinary programs on a mounted image: by `rumpcap mount` with `--memory-limit 1m` ({THREADS} threads, requests of up to {} KiB, which \
         is what it has by itself), by fuse2fs (`-o fakeroot`, else its defaults), and by the kernel's ext4 on a loop device. Every run has a \
         new mount, so nothing of it is in the host's caches; the image is in the host's page cache, but for `read-cold`. `walk`: \
         `find -printf` of all that `stat` says, over 200,000 files in 2,000 directories. `one`: the same of one directory of 200,000 files. \
         `read`: {mib} MiB by dd in pieces of 1 MiB. `write`: a new file of {mib} MiB, until it is durable. `create`: 20,000 empty files in 20 \
         directories, until they are durable. Of fuse2fs no sync is known to reach the image, so its unmounting and a sync of the image are in its \
         time. After what writes, e2fsck found nothing.\n",
        REQUEST_BYTES >> 10
    )?;
    if place.is_in_memory() {
        text.push_str("The images were files of a tmpfs: the disk has no part in the figures.\n\n");
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minutes = load.split(' ').nth(2).unwrap_or("unknown");
    writeln!(
        text,
        "The load average of the machine was {minutes} in the quarter of an hour before this was written.\n"
    )?;
    if !outcomes.is_empty() {
        let subtitle = format!("{date}, revision {revision}");
        std::fs::write(out.join("mount.svg"), plot::bars(outcomes, &subtitle))?;
        text.push_str("![Seconds of everybody, case by case](mount.svg)\n\n");
        text.push_str("## Targets\n\n| case | against | target | measured | |\n|---|---|--:|--:|---|\n");
        targets(&mut text, outcomes)?;
        table(&mut text, outcomes)?;
    }
    if let Some(watched) = watched {
        std::fs::write(out.join("mount-memory.svg"), plot::memory(watched))?;
        memory(&mut text, watched)?;
    }
    std::fs::write(out.join("mount.md"), text)?;
    Ok(())
}

fn targets(text: &mut String, outcomes: &Outcomes) -> Result {
    for (case, other, least) in TARGETS {
        let Some((ratio, is_bound)) = ratio(outcomes, case, other) else { continue };
        let mark = match (ratio >= least, is_bound) {
            (true, _) => "met",
            (false, true) => "not decided: it was ended",
            (false, false) => "**missed**",
        };
        let more = if is_bound { "> " } else { "" };
        writeln!(text, "| {} | {} | ≥ {least} × | {more}{ratio:.2} × | {mark} |", case.name(), other.name())?;
    }
    Ok(())
}

fn table(text: &mut String, outcomes: &Outcomes) -> Result {
    text.push_str("\n## All of them\n\n| case | who | rounds | median seconds | least | most |\n|---|---|--:|--:|--:|--:|\n");
    for ((case, subject), runs) in outcomes {
        let (case, who, rounds) = (case.name(), subject.name(), runs.len());
        if let Some(why) = runs.iter().find_map(|run| run.error.as_ref()) {
            writeln!(text, "| {case} | {who} | {rounds} | failed: {why} | | |")?;
            continue;
        }
        let seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
        let more = if runs.iter().any(|run| run.is_ended) { "> " } else { "" };
        let (least, most) = seconds.iter().fold((f64::MAX, 0.0_f64), |(a, b), &s| (a.min(s), b.max(s)));
        let middle = median(seconds).unwrap_or(0.0);
        writeln!(text, "| {case} | {who} | {rounds} | {more}{middle:.2} | {least:.2} | {more}{most:.2} |")?;
    }
    Ok(())
}

fn memory(text: &mut String, watched: &Watched) -> Result {
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    let (most, settled, last, bound) = (watched.most(), watched.settled(), watched.last(), Watched::bound());
    let marks = |is_good: bool| if is_good { "met" } else { "**missed**" };
    text.push_str("\n## Memory\n\n![Anonymous memory over time](mount-memory.svg)\n\n");
    writeln!(
        text,
        "`Anonymous` of the server's smaps_rollup, four times a second, while `find -printf` walked {} files ({} times; the first took {:.0} s) and 64 \
         threads read {} files by their names, in a mount of 1 MiB.\n",
        watched.files, watched.walks, watched.first_walk_seconds, watched.reads
    )?;
    text.push_str("| what | target | measured | |\n|---|--:|--:|---|\n");
    writeln!(
        text,
        "| most | ≤ {:.2} MiB: limit, {THREADS} × request, 2 MiB | {:.2} MiB | {} |",
        mib(bound),
        mib(most),
        marks(most <= bound)
    )?;
    // A page either way is a sample taken within a request.
    writeln!(
        text,
        "| at the end, against {:.0} s | the same | {:.2} MiB against {:.2} | {} |",
        watched.settled_seconds,
        mib(last),
        mib(settled),
        marks(last.abs_diff(settled) <= 64 << 10)
    )?;
    Ok(())
}

/// The median of other / ours of runs of the same round, and whether it is a lower bound.
fn ratio(outcomes: &Outcomes, case: Case, other: Subject) -> Option<(f64, bool)> {
    let (ours, other) = (outcomes.get(&(case, Subject::Rumpcap))?, outcomes.get(&(case, other))?);
    let is_good = |run: &Outcome| run.error.is_none();
    let pairs = ours.iter().zip(other).filter(|(a, b)| is_good(a) && is_good(b) && !a.is_ended);
    let is_bound = other.iter().any(|run| run.is_ended);
    median(pairs.map(|(ours, other)| other.seconds / ours.seconds).collect()).map(|ratio| (ratio, is_bound))
}
