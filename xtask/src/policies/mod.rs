//! `cargo xtask policies`: records workloads at several limits, replays them under every policy, writes docs/bench/policies.md
//! and the miss curves.
//!
//! Who calls it: people. Whom it calls: `recording`, the traces' library, the images of the benchmark.
//! It counts and does not measure time, so that a busy machine changes nothing. Failure: as `bench`: the exit code tells whether it ran;
//! whether the default policy keeps its promises is in the table.

mod markdown;

use crate::Result;
use crate::bench::images::{Image, Images};
use crate::recording::{HostCache, Recording, Workload, record};
use rumpcap::PolicyKind;
use rumpcap_trace::{Contender, Curves, ReadAhead, curves, draw, replay};
use std::fs;
use std::path::{Path, PathBuf};

/// The limits at which everything is recorded.
const LIMITS_BYTES: [u64; 5] = [256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];
/// The limits of a miss curve, of a trace that was recorded at [`CURVE_RECORDED_AT_BYTES`].
const CURVE_KIB: [u64; 12] = [128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 8192];
const CURVE_RECORDED_AT_BYTES: u64 = 1 << 20;
/// A curve is drawn where its highest point is so many times its lowest.
const LEAST_SLOPE: f64 = 1.05;
/// Misses of the default policy may be so many of LRU's on any workload.
const MOST_OF_LRU: f64 = 1.02;
/// And must be no more than so many on a hot set under a scan.
const MOST_OF_LRU_ON_HOT_SETS: f64 = 0.90;

/// Options of the task.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the cases whose names contain this; repeatable
    #[arg(long = "case", value_name = "PART OF NAME")]
    cases: Vec<String>,
    /// Folder of the images, which are made when they are not there [default: target/bench]
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Where to write the results [default: docs/bench]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Without the miss curves, which take most of the time
    #[arg(long)]
    no_curves: bool,
}

/// A workload on an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    workload: Workload,
    image: Image,
    host_cache: HostCache,
    /// Whether a scan passes by a hot set.
    is_mixed: bool,
}

impl Case {
    fn all() -> Vec<Case> {
        use HostCache::{Cached, Uncached};
        let case = |workload, image, host_cache| Case { workload, image, host_cache, is_mixed: false };
        let mixed = |workload, image| Case { workload, image, host_cache: Cached, is_mixed: true };
        vec![
            case(Workload::Walk, Image::Many, Cached),
            case(Workload::Walk, Image::Usr, Cached),
            case(Workload::Tar, Image::Usr, Cached),
            case(Workload::FindAndCat, Image::Usr, Cached),
            case(Workload::FindAndCat, Image::Many, Cached),
            case(Workload::Copy, Image::Big, Cached),
            case(Workload::Random, Image::Big, Cached),
            case(Workload::Random, Image::Big, Uncached),
            mixed(Workload::HotSetAndScan, Image::Big),
            mixed(Workload::HotTreeAndWalk, Image::Many),
        ]
    }

    fn name(&self) -> String {
        let uncached = if self.host_cache == HostCache::Uncached { ", not cached by the host" } else { "" };
        format!("{}, {}{uncached}", self.workload.name(), self.image.name())
    }
}

/// A case at a limit.
struct Row {
    case: Case,
    limit_bytes: u64,
    recording: Recording,
    /// The recording replayed as it was: at its limit, with its read-ahead.
    again: u64,
    /// Without read-ahead, every contender.
    demand: Curves,
    /// With the recording's read-ahead: pages that the default policy and LRU read.
    read_s3_fifo: u64,
    read_lru: u64,
}

impl Row {
    fn misses(&self, contender: Contender) -> u64 {
        self.demand.at(contender, self.limit_bytes).map_or(0, |misses| misses.misses)
    }

    /// Misses of the default policy as a share of LRU's.
    fn share_of_lru(&self) -> f64 {
        let ours = self.misses(Contender::Product(PolicyKind::S3Fifo));
        ours as f64 / self.misses(Contender::Product(PolicyKind::Lru)).max(1) as f64
    }

    fn most(&self) -> f64 {
        if self.case.is_mixed { MOST_OF_LRU_ON_HOT_SETS } else { MOST_OF_LRU }
    }

    fn is_met(&self) -> bool {
        self.share_of_lru() <= self.most()
    }
}

/// Runs the task.
pub(crate) fn run(args: &Args) -> Result {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let images = Images::in_folder(&args.images.clone().unwrap_or_else(|| target.join("bench")))?;
    let out = args.out.clone().unwrap_or_else(|| root.join("docs/bench"));
    fs::create_dir_all(&out)?;
    let is_wanted = |case: &Case| {
        args.cases.is_empty() || args.cases.iter().any(|part| case.name().contains(part.as_str()))
    };
    let mut rows = Vec::new();
    let mut plots = Vec::new();
    for case in Case::all().into_iter().filter(is_wanted) {
        images.make(case.image)?;
        for limit_bytes in LIMITS_BYTES {
            let row = row(case, limit_bytes, &images)?;
            markdown::say(&row);
            if limit_bytes == CURVE_RECORDED_AT_BYTES && !args.no_curves {
                plots.extend(plot(&row, &out)?.map(|file| (case, file)));
            }
            rows.push(row);
        }
    }
    fs::write(out.join("policies.md"), markdown::page(&rows, &plots))?;
    println!(
        "{} of {} met; written: {}",
        rows.iter().filter(|row| row.is_met()).count(),
        rows.len(),
        out.display()
    );
    Ok(())
}

fn row(case: Case, limit_bytes: u64, images: &Images) -> Result<Row> {
    let recording = record(case.workload, &images.path(case.image), case.host_cache, limit_bytes)?;
    let trace = &recording.trace;
    let as_recorded = |policy| replay(trace, policy, limit_bytes, ReadAhead::Recorded);
    let again = as_recorded(PolicyKind::S3Fifo)?;
    let read_lru = as_recorded(PolicyKind::Lru)?.pages_read;
    let demand = curves(trace, &[limit_bytes], &Contender::ALL, ReadAhead::None)?;
    let (again, read_s3_fifo) = (again.misses, again.pages_read);
    Ok(Row { case, limit_bytes, again, demand, read_s3_fifo, read_lru, recording })
}

/// Draws the miss curve; gives the name of its file. None where memory makes no difference.
fn plot(row: &Row, out: &Path) -> Result<Option<String>> {
    let limits = CURVE_KIB.map(|kib| kib << 10);
    let curves = curves(&row.recording.trace, &limits, &Contender::ALL, ReadAhead::None)?;
    let all = || curves.contenders.iter().flat_map(|(_, misses)| misses).map(|misses| misses.misses);
    let (least, most) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
    if (most as f64) < least as f64 * LEAST_SLOPE {
        return Ok(None);
    }
    let recorded = row.recording.trace.recorded;
    let subtitle = format!(
        "{} accesses of {} pages, recorded at 1 MiB, replayed without read-ahead",
        recorded.accesses,
        row.recording.trace.distinct()
    );
    let name: String = row.case.name().chars().filter(|c| *c != ',' && *c != '+').collect();
    let file = format!("misses-{}.svg", name.split_whitespace().collect::<Vec<_>>().join("-"));
    fs::write(out.join(&file), draw(&curves, &row.case.name(), &subtitle))?;
    Ok(Some(file))
}
