//! Records the library's page accesses on a walk and compares what it read with the optimum and with other policies.
//!
//! Who calls it: `bench`. Whom it calls: `recording`, and the replay of the product's traces.

use super::images::{Image, Images};
use super::subjects::Limit;
use crate::recording::{HostCache, Workload, record};
use rumpcap::PolicyKind;
use rumpcap_trace::{Contender, ReadAhead, curves};

/// A recorded walk of an image at a limit, and what came of it.
pub(crate) struct Replay {
    pub(crate) image: Image,
    pub(crate) limit: Limit,
    pub(crate) result: Result<ReplayResult, String>,
}

/// Pages that were read, and misses of the policies on the same accesses with as many frames.
#[derive(Clone, Debug)]
pub(crate) struct ReplayResult {
    pub(crate) accesses: u64,
    pub(crate) distinct: u64,
    pub(crate) frames: u64,
    /// What the library read from the image, read-ahead included, in pages, by the device's count.
    pub(crate) pages_read: u64,
    pub(crate) optimum: u64,
    pub(crate) lru: u64,
    pub(crate) s3_fifo: u64,
    pub(crate) clock_pro: u64,
}

/// Records a walk of `image` at `limit` and replays it.
pub(crate) fn replay(image: Image, limit: Limit, images: &Images) -> Replay {
    let result = record_and_replay(image, limit, images).map_err(|e| e.to_string());
    Replay { image, limit, result }
}

fn record_and_replay(image: Image, limit: Limit, images: &Images) -> crate::Result<ReplayResult> {
    let bytes = limit.0.ok_or("a walk is recorded at a limit")?;
    let recording = record(Workload::Walk, &images.path(image), HostCache::Cached, bytes)?;
    let trace = &recording.trace;
    let curves = curves(trace, &[bytes], &Contender::ALL, ReadAhead::None)?;
    let misses = |contender| curves.at(contender, bytes).map_or(0, |misses| misses.misses);
    Ok(ReplayResult {
        accesses: trace.recorded.accesses,
        distinct: trace.distinct(),
        frames: recording.frames,
        pages_read: recording.pages_read,
        optimum: misses(Contender::Optimum),
        lru: misses(Contender::Product(PolicyKind::Lru)),
        s3_fifo: misses(Contender::Product(PolicyKind::S3Fifo)),
        clock_pro: misses(Contender::ClockPro),
    })
}
