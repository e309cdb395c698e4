//! Writes what `policies` counted as Markdown, and says each line while it runs.
//!
//! Who calls it: `policies`.

use super::{Case, Row};
use rumpcap::PolicyKind;
use rumpcap_trace::Contender;
use std::fmt::Write;

/// Says a line on the terminal.
pub(super) fn say(row: &Row) {
    let mark = if row.is_met() { "met   " } else { "MISSED" };
    println!(
        "{mark} {} at {}: {:.1} % of LRU (most {:.0} %); {}",
        row.case.name(),
        size(row.limit_bytes),
        row.share_of_lru() * 100.0,
        row.most() * 100.0,
        Contender::ALL.map(|c| format!("{} {}", c.name(), row.misses(c))).join(", "),
    );
    println!(
        "       recorded {}, replayed {}; pages read: recorded {}, replayed {}, lru {}",
        row.recording.trace.recorded.misses,
        row.again,
        row.recording.pages_read,
        row.read_s3_fifo,
        row.read_lru,
    );
}

/// The whole page.
pub(super) fn page(rows: &[Row], plots: &[(Case, String)]) -> String {
    let mut out = String::from(INTRODUCTION);
    let met = rows.iter().filter(|row| row.is_met()).count();
    let _ = writeln!(out, "## Misses without read-ahead: {met} of {} met\n", rows.len());
    out.push_str("| | workload | limit | accesses | pages | optimum | s3-fifo | lru | s3-fifo of lru | published | clock-pro |\n");
    out.push_str("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
    for row in rows {
        out.push_str(&misses(row));
    }
    out.push_str(AS_RECORDED);
    for row in rows {
        out.push_str(&as_recorded(row));
    }
    if !plots.is_empty() {
        out.push_str("\n## Miss curves\n\n");
    }
    for (case, file) in plots {
        let _ = writeln!(out, "![Misses against the limit: {}]({file})\n", case.name());
    }
    out
}

const INTRODUCTION: &str = "\
# Policies, measured

Written by `cargo xtask policies`: each workload is recorded at each limit with the default policy, and its accesses are replayed at that limit. \
`s3-fifo` (the default) and `lru` are the product's own code, run in a real kernel's memory at that limit; `optimum` is Belady's; \
`published` (S3-FIFO as in its paper) and `clock-pro` are simulated with as many frames as pages had. The workloads are in \
[recording.rs](../../xtask/src/recording.rs), the images in [README.md](README.md).

Targets: on each workload the default misses at most 2 % more than LRU; where a scan passes by a hot set, at least 10 % less.

";

const AS_RECORDED: &str = "
## As recorded

The same replay with the recording's read-ahead. For walks it counts what the recorded kernel counted, to the page. A trace does not know which \
pages were pinned while another was asked for; in loops that are longer than the memory, such a difference grows. Pages that were read straight to the \
caller (large pieces) are in the device's count alone.

| workload | limit | frames | misses recorded | replayed | pages read recorded, by the device | replayed | replayed with lru |
|---|--:|--:|--:|--:|--:|--:|--:|
";

fn misses(row: &Row) -> String {
    let [optimum, s3_fifo, lru, published, clock_pro] = Contender::ALL.map(|contender| row.misses(contender));
    debug_assert_eq!(Contender::ALL[1], Contender::Product(PolicyKind::S3Fifo));
    format!(
        "| {} | {} | {} | {} | {} | {optimum} | {s3_fifo} | {lru} | {:.1} % | {published} | {clock_pro} |\n",
        if row.is_met() { "met" } else { "**missed**" },
        row.case.name(),
        size(row.limit_bytes),
        row.recording.trace.recorded.accesses,
        row.recording.trace.distinct(),
        row.share_of_lru() * 100.0,
    )
}

fn as_recorded(row: &Row) -> String {
    let Row { case, limit_bytes, recording, again, read_s3_fifo, read_lru, .. } = row;
    format!(
        "| {} | {} | {} | {} | {again} | {} | {read_s3_fifo} | {read_lru} |\n",
        case.name(),
        size(*limit_bytes),
        recording.frames,
        recording.trace.recorded.misses,
        recording.pages_read,
    )
}

fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}
