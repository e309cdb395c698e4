//! `cargo xtask bench-write`: how fast, and with how many bytes, images are written: against the limit, the kernel's ext4 on a loop
//! mount, fuse2fs, debugfs, lwext4 and mke2fs.
//!
//! Who calls it: people. Whom it calls: `place` and `runs` do one run each, `results` writes docs/bench/writing.md and its plot.
//!
//! Every run begins with a fresh copy of the same image when the host has nothing left to write, and ends when the image is durable: one sync at the
//! end, whoever works. Runs are interleaved, in an order that turns from round to round; ratios are taken within a round, and their median counts.
//! Trees are read once before, so that nobody is the first. Failure: what cannot run here (no root, no fuse2fs) is left out and said to be so.

pub(crate) mod host;
mod place;
mod plot;
mod results;
mod runs;
mod subjects;

use crate::Result;
use place::Place;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use subjects::{Outcome, Subject};

/// Rounds of a run.
const ROUNDS: usize = 5;
/// The whole tree is gigabytes.
const TREE_ROUNDS: usize = 2;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds
    #[arg(long, default_value_t = ROUNDS)]
    rounds: usize,
    /// Rounds of the whole tree, which take minutes
    #[arg(long, default_value_t = TREE_ROUNDS)]
    tree_rounds: usize,
    /// Only these workloads: many, delete-half, big, sample, tree, mkfs
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,
    /// The tree that is copied
    #[arg(long, value_name = "FOLDER", default_value = "/usr")]
    tree: PathBuf,
    /// A smaller one, which the slow ones copy too
    #[arg(long, value_name = "FOLDER", default_value = "/usr/share/doc")]
    sample: PathBuf,
    /// Only the library
    #[arg(long)]
    no_peers: bool,
    /// Where to write the results [default: docs/bench]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Case {
    /// 20,000 files in 200 directories.
    Many,
    /// Every second of these is removed.
    DeleteHalf,
    /// A file of 256 MiB.
    Big,
    /// A copy of a small tree, with all attributes.
    Sample,
    /// A copy of a large one, likewise.
    Tree,
    /// A new file system with that tree.
    Mkfs,
}

impl Case {
    pub(crate) const ALL: [Case; 6] =
        [Case::Many, Case::DeleteHalf, Case::Big, Case::Sample, Case::Tree, Case::Mkfs];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Case::Many => "many",
            Case::DeleteHalf => "delete-half",
            Case::Big => "big",
            Case::Sample => "sample",
            Case::Tree => "tree",
            Case::Mkfs => "mkfs",
        }
    }

    /// Size of its image, as mke2fs takes it.
    pub(crate) fn image_size(self) -> &'static str {
        match self {
            Case::Many | Case::DeleteHalf | Case::Big | Case::Sample => "1G",
            Case::Tree | Case::Mkfs => "12G",
        }
    }
}

/// All outcomes, by case and subject, one for each round.
pub(crate) type Outcomes = BTreeMap<(Case, Subject), Vec<Outcome>>;

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let place = Place::build(&root, &target, args)?;
    let is_wanted = |case: &Case| args.cases.is_empty() || args.cases.iter().any(|name| name == case.name());
    let mut outcomes = Outcomes::new();
    for case in Case::ALL.into_iter().filter(is_wanted) {
        make_template(&place, case)?;
        if matches!(case, Case::Sample | Case::Tree | Case::Mkfs) {
            host::warm(place.tree(case));
        }
        let subjects = Subject::of(case, args.no_peers);
        let rounds = if matches!(case, Case::Tree | Case::Mkfs) { args.tree_rounds } else { args.rounds };
        for round in 0..rounds {
            for at in 0..subjects.len() {
                let subject = subjects[(at + round) % subjects.len()];
                if round >= subject.rounds(rounds) {
                    continue;
                }
                let outcome = place.run(case, subject);
                let said = outcome.error.clone().unwrap_or_else(|| format!("{:.2} s", outcome.seconds));
                eprintln!("{} {}: {said}", case.name(), subject.name());
                outcomes.entry((case, subject)).or_default().push(outcome);
            }
        }
        place.forget_template();
    }
    let out = args.out.clone().unwrap_or_else(|| root.join("docs/bench"));
    std::fs::create_dir_all(&out)?;
    results::write(&out, &root, &outcomes, args)?;
    println!("written: {}", out.join("writing.md").display());
    Ok(())
}

/// The image that every run of a case begins with.
fn make_template(place: &Place, case: Case) -> Result {
    let image = place.template();
    let _ = std::fs::remove_file(&image);
    if case == Case::Mkfs {
        return Ok(());
    }
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"]);
    if case == Case::Tree {
        mke2fs.args(["-i", "16384"]);
    }
    let status = mke2fs.arg(&image).arg(case.image_size()).status().map_err(|e| format!("mke2fs: {e}"))?;
    if !status.success() {
        return Err(format!("mke2fs: {status}").into());
    }
    if case == Case::DeleteHalf {
        place.fill(&image)?;
    }
    Ok(())
}
