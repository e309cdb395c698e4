//! Records the library's page accesses on a walk and compares what it read with the optimum and with other policies.
//!
//! Who calls it: `bench`. Whom it calls: the library's program (`--trace=FILE`), `belady`, `policies`.

use super::child;
use super::images::{Image, Images};
use super::subjects::{Limit, Subject, Subjects};
use super::trace::Trace;
use super::{belady, policies};
use std::path::Path;
use std::time::Duration;

/// Bytes of a page.
const PAGE_BYTES: u64 = 4096;
/// Recording is slower than walking, but not by this much.
const RECORDING_TIMEOUT: Duration = Duration::from_secs(60);

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
    /// What the library read from the image, read-ahead included, in pages.
    pub(crate) pages_read: u64,
    pub(crate) optimum: u64,
    pub(crate) lru: u64,
    pub(crate) s3_fifo: u64,
    pub(crate) clock_pro: u64,
}

/// Records a walk of `image` at `limit` and replays it.
pub(crate) fn replay(
    image: Image,
    limit: Limit,
    subjects: &Subjects,
    images: &Images,
    folder: &Path,
) -> Replay {
    let trace = folder.join(format!("{}.trace", image.name()));
    let result = record_and_replay(image, limit, subjects, images, &trace);
    // Traces are large and made anew each time.
    let _ = std::fs::remove_file(&trace);
    Replay { image, limit, result }
}

fn record_and_replay(
    image: Image,
    limit: Limit,
    subjects: &Subjects,
    images: &Images,
    path: &Path,
) -> Result<ReplayResult, String> {
    let program = subjects.program(&Subject::Library(limit)).ok_or("the library was not built")?;
    let _ = std::fs::remove_file(path);
    let argument = format!("--trace={}", path.display());
    let outcome = child::run(&program, "walk", &images.path(image), &[&argument], RECORDING_TIMEOUT);
    if let Some(why) = outcome.error {
        return Err(why);
    }
    let (image_bytes, report) =
        outcome.image_bytes.zip(outcome.report).ok_or("the library gave no report")?;
    if !path.exists() {
        return Err("the library recorded no trace".to_owned());
    }
    let trace = Trace::read(path).map_err(|e| e.to_string())?;
    let (frames, accesses) = (report.frames as usize, trace.accesses.len() as u64);
    if accesses == 0 || frames == 0 || accesses > report.lookups + report.lookups / 10 {
        return Err(format!("the trace has {accesses} accesses, the report {} look-ups", report.lookups));
    }
    Ok(ReplayResult {
        accesses,
        distinct: u64::from(trace.pages),
        frames: report.frames,
        pages_read: image_bytes.div_ceil(PAGE_BYTES),
        optimum: belady::misses(&trace, frames),
        lru: policies::misses(&mut policies::Lru::new(frames, trace.pages), &trace),
        s3_fifo: policies::misses(&mut policies::S3Fifo::new(frames, trace.pages), &trace),
        clock_pro: policies::misses(&mut policies::ClockPro::new(frames, trace.pages), &trace),
    })
}
