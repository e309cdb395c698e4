//! `cargo xtask bench-mount`: how fast ordinary programs are on an image that is mounted: by `rumpcap mount` in 1 MiB, by fuse2fs, and
//! by the kernel's ext4 on a loop device; and what memory the server has while many of them work.
//!
//! Who calls it: people, as root. Whom it calls: `mounts` mounts, `work` does one run, `memory` watches one mount, `results` writes
//! docs/bench/mount.md and its plots.
//!
//! Every run has a mount of its own, so nothing is in the host's caches of the mount; the image itself is in the host's page cache,
//! but for the case that says otherwise. Runs are interleaved, in an order that turns from round to round; ratios are taken within a
//! round, and their median counts. Failure: what cannot run here is left out and said to be so; what takes too long is ended, and
//! the time that it had is a lower bound.

mod memory;
mod mounts;
mod plot;
mod results;
mod work;

use crate::Result;
use crate::bench::images::{Image, Images};
use mounts::Subject;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ROUNDS: usize = 3;
/// Bytes of a mebibyte.
const MIB: u64 = 1 << 20;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// Only these: walk, one, read, read-cold, write, create, memory
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// One round, a quarter of the bytes, memory over 200,000 files
    #[arg(long)]
    quick: bool,
    /// Only our own mounts
    #[arg(long)]
    no_peers: bool,
    /// Seconds that one run may take
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
    /// Where the images are [default: bench in the target directory]; in memory (/dev/shm) the disk has no part in what is measured
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Where to write the results [default: docs/bench]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// `find -printf` with all attributes, 200,000 files in 2,000 directories.
    Walk,
    /// The same of one directory.
    One,
    /// A file from its beginning to its end.
    Read,
    /// The same, and the image is not in the host's page cache.
    ReadCold,
    /// A new file.
    Write,
    /// 20,000 empty files in 20 directories.
    Create,
}

impl Case {
    pub(crate) const ALL: [Case; 6] =
        [Case::Walk, Case::One, Case::Read, Case::ReadCold, Case::Write, Case::Create];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Walk => "walk",
            Case::One => "one",
            Case::Read => "read",
            Case::ReadCold => "read-cold",
            Case::Write => "write",
            Case::Create => "create",
        }
    }

    /// Whether the mount is to be written.
    fn writes(self) -> bool {
        matches!(self, Case::Write | Case::Create)
    }

    /// The image that is read; a new one is made for every run that writes.
    fn image(self) -> Option<Image> {
        match self {
            Case::Walk => Some(Image::Many),
            Case::One => Some(Image::Many1Htree),
            Case::Read | Case::ReadCold => Some(Image::Big),
            Case::Write | Case::Create => None,
        }
    }
}

/// What one run came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// It was ended: `seconds` is a lower bound.
    pub(crate) is_ended: bool,
    pub(crate) error: Option<String>,
}

/// All outcomes, by case and subject, one for each round.
pub(crate) type Outcomes = BTreeMap<(Case, Subject), Vec<Outcome>>;

/// Where things are, and how much is done.
pub(crate) struct Place {
    folder: PathBuf,
    /// `rumpcap`.
    command: PathBuf,
    images: Images,
    /// Bytes that are read and written.
    bytes: u64,
    patience: Duration,
}

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let place = Place::build(&root, &target, args)?;
    let is_wanted = |name: &str| args.cases.is_empty() || args.cases.iter().any(|case| case == name);
    let rounds = if args.quick { 1 } else { args.rounds };
    let mut outcomes = Outcomes::new();
    for case in Case::ALL.into_iter().filter(|case| is_wanted(case.name())) {
        if let Some(image) = case.image() {
            place.images.make(image)?;
        }
        let subjects = Subject::of(case, args.no_peers);
        for round in 0..rounds {
            for at in 0..subjects.len() {
                let subject = subjects[(at + round) % subjects.len()];
                let outcome = place.run(case, subject);
                let said = outcome.error.clone().unwrap_or_else(|| format!("{:.2} s", outcome.seconds));
                eprintln!("{} {}: {said}", case.name(), subject.name());
                outcomes.entry((case, subject)).or_default().push(outcome);
            }
        }
    }
    let watched = if is_wanted("memory") { Some(memory::watch(&place, args.quick)?) } else { None };
    let out = args.out.clone().unwrap_or_else(|| root.join("docs/bench"));
    std::fs::create_dir_all(&out)?;
    results::write(&out, &root, &place, &outcomes, watched.as_ref())?;
    println!("written: {}", out.join("mount.md").display());
    Ok(())
}

impl Place {
    fn build(root: &Path, target: &Path, args: &Args) -> Result<Place> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--release", "--locked", "--package", "rumpcap-cli", "--target-dir"]);
        let status = cargo.arg(target).current_dir(root).status().map_err(|e| format!("cargo: {e}"))?;
        if !status.success() {
            return Err(format!("cargo build: {status}").into());
        }
        let bench = args.images.clone().unwrap_or_else(|| target.join("bench"));
        let folder = bench.join("mount");
        std::fs::create_dir_all(folder.join("mounted"))?;
        let images = Images::in_folder(&bench.join("images"))?;
        let bytes = if args.quick { 256 * MIB } else { 1024 * MIB };
        let (command, patience) = (target.join("release/rumpcap"), Duration::from_secs(args.patience));
        Ok(Place { folder: folder.canonicalize()?, command, images, bytes, patience })
    }
}
