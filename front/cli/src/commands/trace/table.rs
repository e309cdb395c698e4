//! How `trace replay` shows what it found.
//!
//! Who calls it: `replay`.

use super::replay::Results;
use crate::quote::{Quoting, quote};
use rumpcap::PolicyKind;
use rumpcap_trace::{Contender, Limit, Misses, ReadAhead};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// What was recorded, in a line.
pub(super) fn title(results: &Results) -> String {
    let header = &results.trace.header;
    let label = String::from_utf8_lossy(&quote(header.label.as_bytes(), Quoting::Controls)).into_owned();
    let limit = header.limit_bytes.map_or("no limit".to_owned(), size);
    format!("{label} (recorded with {} at {limit})", policy_name(header.policy))
}

/// What is in it, in a line.
pub(super) fn summary(results: &Results) -> String {
    let recorded = results.trace.recorded;
    let ahead = match results.read_ahead {
        ReadAhead::None => "without read-ahead",
        ReadAhead::Recorded => "with the recording's read-ahead",
    };
    format!(
        "{} accesses of {} pages, {} of metadata; replayed {ahead}",
        recorded.accesses,
        results.trace.distinct(),
        recorded.metadata_accesses
    )
}

/// The table for people.
pub(super) fn text(results: &Results) -> String {
    let mut out = format!("{}\n{}\n", title(results), summary(results));
    let recorded = results.trace.recorded;
    if let Some(again) = results.again {
        let _ = writeln!(
            out,
            "the recorded run missed {} times; the same with its read-ahead, replayed: {}",
            recorded.misses, again.misses
        );
    }
    out.push_str("\nMisses\n");
    let names = results.curves.contenders.iter().map(|(contender, _)| contender.name().to_owned());
    let mut rows =
        vec![["limit".to_owned(), "frames".to_owned()].into_iter().chain(names).collect::<Vec<_>>()];
    for (at, limit) in results.curves.limits.iter().enumerate() {
        let misses = results.curves.contenders.iter().filter_map(|(_, misses)| misses.get(at));
        let cells = misses.map(|misses| misses.misses.to_string());
        rows.push([size(limit.bytes), limit.frames.to_string()].into_iter().chain(cells).collect());
    }
    for row in &rows {
        for (at, cell) in row.iter().enumerate() {
            let width = rows.iter().filter_map(|row| row.get(at)).map(String::len).max().unwrap_or(0);
            let _ = write!(out, "{}{cell:>width$}", if at == 0 { "" } else { "  " });
        }
        out.push('\n');
    }
    out
}

/// The same for programs.
pub(super) fn json(results: &Results) -> Value {
    let header = &results.trace.header;
    let recorded = results.trace.recorded;
    let curve = |(contender, misses): &(Contender, Vec<Misses>)| {
        let points = results.curves.limits.iter().zip(misses).map(|(limit, misses)| point(*limit, *misses));
        (contender.name().to_owned(), Value::from(points.collect::<Vec<_>>()))
    };
    json!({
        "label": header.label,
        "recorded_limit_bytes": header.limit_bytes,
        "recorded_policy": policy_name(header.policy),
        "accesses": recorded.accesses,
        "metadata_accesses": recorded.metadata_accesses,
        "pages": results.trace.distinct(),
        "recorded_misses": recorded.misses,
        "recorded_passed": recorded.passed,
        "replayed_as_recorded_misses": results.again.map(|again| again.misses),
        "read_ahead": results.read_ahead == ReadAhead::Recorded,
        "policies": results.curves.contenders.iter().map(curve).collect::<Map<_, _>>(),
    })
}

fn point(limit: Limit, misses: Misses) -> Value {
    json!({
        "limit_bytes": limit.bytes, "frames": limit.frames, "misses": misses.misses,
        "metadata_misses": misses.metadata_misses, "pages_read": misses.pages_read,
    })
}

fn policy_name(policy: PolicyKind) -> &'static str {
    Contender::Product(policy).name()
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}
