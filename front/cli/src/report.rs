//! The report on memory: for `-v` and `--stats`.
//!
//! Who calls it: `session`, `page`.

use crate::units::MemoryLimit;
use rumpcap::MemoryReport;
use serde_json::{Map, Value, json};

/// What is said at boot.
pub fn boot_line(limit: MemoryLimit) -> String {
    match limit {
        MemoryLimit::Unlimited => "total memory = unlimited (host limit)".to_owned(),
        MemoryLimit::Bytes(bytes) => format!("total memory = {} KB", bytes / 1024),
    }
}

/// The report for people.
pub fn text(r: &MemoryReport) -> String {
    let kb = |bytes: u64| bytes / 1024;
    let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
    format!(
        "memory:   limit {} KB, in use {} KB, peak {} KB, wired {} KB (tables {} KB, pools {} KB, buffers {} KB)\n\
         pages:    {} frames, {} free, {} clean, {} dirty, {} busy, {} pinned\n\
         look-ups: {}, {:.1} % hits; {} evictions ({} direct, {} self)\n\
         device:   {} reads, {} KB, of these {} KB read ahead, {} KB straight to the caller\n\
         daemon:   {} rounds; freed {} from caches, {} pages, {} by callbacks, {} from pools; stuck {}\n\
         waits:    {} of {} at the gate (longest {} us), {} for frames (longest {} us), {} for busy pages\n",
        kb(r.limit_bytes),
        kb(r.in_use_bytes),
        kb(r.peak_bytes),
        kb(r.wired_bytes),
        kb(r.tables_bytes),
        kb(r.pools_bytes),
        kb(r.buffers_bytes),
        r.frames,
        r.frames_free,
        r.pages_clean,
        r.pages_dirty,
        r.pages_busy,
        r.pages_pinned,
        r.lookups,
        share(r.hits, r.lookups),
        r.evictions,
        r.evictions_direct,
        r.evictions_self,
        r.device_reads,
        kb(r.device_read_bytes),
        r.read_ahead_pages * 4,
        kb(r.direct_read_bytes),
        r.daemon_rounds,
        r.daemon_freed_caches,
        r.daemon_freed_pages,
        r.daemon_freed_callbacks,
        r.daemon_freed_pools,
        r.stuck,
        r.gate_waits,
        r.gate_entries,
        r.gate_longest_wait_ns / 1000,
        r.frame_waits,
        r.frame_longest_wait_ns / 1000,
        r.busy_waits,
    )
}

/// The report for programs: every figure under its name in the library.
pub fn json(r: &MemoryReport) -> Value {
    groups(r).into_iter().flat_map(|(_, figures)| figures).collect::<Map<_, _>>().into()
}

/// The same, by what it is about.
pub fn groups(r: &MemoryReport) -> [(&'static str, Map<String, Value>); 5] {
    let named = r.pools.iter().filter(|pool| !pool.name.is_empty());
    let pools: Map<String, Value> = named.map(|pool| (pool.name.to_owned(), pool.bytes.into())).collect();
    let memory = json!({
        "limit_bytes": r.limit_bytes, "limited": r.limited, "in_use_bytes": r.in_use_bytes,
        "peak_bytes": r.peak_bytes, "tables_bytes": r.tables_bytes, "pools_bytes": r.pools_bytes, "pools": pools,
        "buffers_bytes": r.buffers_bytes, "wired_bytes": r.wired_bytes,
    });
    let pages = json!({
        "frames": r.frames, "frames_free": r.frames_free, "pages_clean": r.pages_clean,
        "pages_dirty": r.pages_dirty, "pages_busy": r.pages_busy, "pages_pinned": r.pages_pinned,
        "pages_metadata": r.pages_metadata, "queue_small": r.queue_small, "queue_main": r.queue_main,
        "queue_ghosts": r.queue_ghosts, "lookups": r.lookups, "hits": r.hits, "evictions": r.evictions,
        "evictions_direct": r.evictions_direct, "evictions_self": r.evictions_self,
    });
    let device = json!({
        "device_reads": r.device_reads, "device_read_bytes": r.device_read_bytes,
        "read_ahead_pages": r.read_ahead_pages, "direct_read_bytes": r.direct_read_bytes,
    });
    let daemon = json!({
        "daemon_rounds": r.daemon_rounds, "daemon_freed_caches": r.daemon_freed_caches,
        "daemon_freed_pages": r.daemon_freed_pages, "daemon_freed_callbacks": r.daemon_freed_callbacks,
        "daemon_freed_pools": r.daemon_freed_pools, "stuck": r.stuck,
    });
    let waits = json!({
        "gate_entries": r.gate_entries, "gate_waits": r.gate_waits, "gate_waiting": r.gate_waiting,
        "gate_longest_wait_ns": r.gate_longest_wait_ns, "frame_waits": r.frame_waits,
        "frame_longest_wait_ns": r.frame_longest_wait_ns, "busy_waits": r.busy_waits,
    });
    let figures = |group: Value| group.as_object().cloned().unwrap_or_default();
    [
        ("Memory", figures(memory)),
        ("Pages", figures(pages)),
        ("Devices", figures(device)),
        ("Pagedaemon", figures(daemon)),
        ("Waits", figures(waits)),
    ]
}
