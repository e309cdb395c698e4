//! `cargo xtask bench`: speed and memory against the limit, against the peers, the kernel and plain pread.
//!
//! Who calls it: people. Whom it calls, in this order: `images` makes the images, `subjects` builds the programs, `measure` runs
//! them, `replay` compares with Belady's optimum, `verdict` judges, `markdown` and `plot` write docs/bench/.
//! Failure: what cannot be measured here (no root, no network for the peers) is left out and said to be so. The exit code tells
//! whether it ran, not whether the targets were met: those are in the verdict.

mod child;
pub(crate) mod images;
mod markdown;
pub(crate) mod measure;
mod plot;
mod replay;
mod subjects;
mod verdict;

use crate::Result;
use images::{Image, Images};
use markdown::Circumstances;
use measure::{Case, Plan};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use subjects::{Limit, Subjects};
use verdict::Judgement;

/// Timed rounds of a full run: odd, so that the median is one of them; enough for a 97 % target on a noisy machine.
const ROUNDS: usize = 15;
const QUICK_ROUNDS: usize = 5;

/// Options of the benchmark.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fewer rounds, and only the limits that a target speaks of
    #[arg(long)]
    quick: bool,
    /// Timed rounds [default: 15, with --quick 5]
    #[arg(long)]
    rounds: Option<usize>,
    /// Only the cases whose names contain this; repeatable
    #[arg(long = "case", value_name = "PART OF NAME")]
    cases: Vec<String>,
    /// Folder of the images, which are made when they are not there [default: target/bench]
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Make the images and stop
    #[arg(long)]
    only_images: bool,
    /// Without the peers, plain pread and the kernel
    #[arg(long)]
    no_peers: bool,
    /// Where to write the results [default: docs/bench]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// Runs the benchmark.
pub(crate) fn run(args: &Args) -> Result {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let images = Images::in_folder(&args.images.clone().unwrap_or_else(|| target.join("bench")))?;
    let cases: Vec<Case> = Case::ALL.into_iter().filter(|case| is_wanted(*case, &args.cases)).collect();
    make_images(&images, &cases)?;
    if args.only_images {
        return Ok(());
    }
    let subjects = Subjects::build(&root, &target, !args.no_peers)?;
    let limits = if args.quick { Limit::QUICK.to_vec() } else { Limit::ALL.to_vec() };
    let rounds = args.rounds.unwrap_or(if args.quick { QUICK_ROUNDS } else { ROUNDS });
    let plan = Plan { limits, rounds, cases };
    let measurements = measure::measure(&plan, &subjects, &images);
    let traced = [Image::Many, Image::Usr]
        .into_iter()
        .filter(|image| plan.cases.iter().any(|case| case.image == *image));
    let replays: Vec<_> = traced.map(|image| replay::replay(image, Limit::K600, &images)).collect();
    let lines = verdict::judge(&measurements, &replays, &plan.limits, &plan.cases);

    let circumstances = circumstances(&root, &images, &plan);
    let out = args.out.clone().unwrap_or_else(|| root.join("docs/bench"));
    fs::create_dir_all(&out)?;
    let results =
        markdown::results(&circumstances, &lines, &measurements, &replays, &plan.limits, &plan.cases);
    fs::write(out.join("results.md"), results)?;
    let subtitle = format!("{}, revision {}", circumstances.date, circumstances.revision);
    fs::write(out.join("speed.svg"), plot::draw(&measurements, &plan.limits, &plan.cases, &subtitle))?;
    if !args.no_peers {
        fs::write(out.join("peers.md"), markdown::peers(&circumstances, &root, &measurements, &plan.cases))?;
    }
    summarise(&lines);
    println!("written: {}", out.display());
    Ok(())
}

fn is_wanted(case: Case, parts: &[String]) -> bool {
    parts.is_empty() || parts.iter().any(|part| case.name().contains(part.as_str()))
}

/// Makes the images that the cases need; the slow ones at once, one thread each.
fn make_images(images: &Images, cases: &[Case]) -> Result {
    let mut wanted: Vec<Image> = cases.iter().map(|case| case.image).collect();
    wanted.sort();
    wanted.dedup();
    // The indexed directory is made from the linear one, so those two stay in one thread.
    let (linked, apart): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|image| matches!(image, Image::Many1Linear | Image::Many1Htree));
    let make_all =
        |of: &[Image]| of.iter().try_for_each(|&image| images.make(image)).map_err(|e| e.to_string());
    std::thread::scope(|scope| {
        let linked = scope.spawn(|| make_all(&linked));
        let apart = make_all(&apart);
        let linked = linked.join().map_err(|_| "making images: a thread panicked")?;
        Ok(apart.and(linked)?)
    })
}

fn circumstances(root: &Path, images: &Images, plan: &Plan) -> Circumstances {
    let mut measured: Vec<Image> = plan.cases.iter().map(|case| case.image).collect();
    measured.sort();
    measured.dedup();
    let size = |image: Image| {
        let metadata = fs::metadata(images.path(image)).ok();
        (image, metadata.as_ref().map_or(0, |m| m.len()), metadata.map_or(0, |m| m.blocks() * 512))
    };
    Circumstances {
        machine: machine(),
        date: said(Command::new("date").args(["-u", "+%Y-%m-%d"])),
        revision: said(Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root)),
        rounds: plan.rounds,
        command: std::env::args().skip(1).fold("cargo xtask".to_owned(), |all, word| {
            // Where things are on the machine is nobody else's business.
            let is_place = word.contains('/') || word == "--images" || word == "--out";
            if is_place { all } else { format!("{all} {word}") }
        }),
        images: measured.into_iter().map(size).collect(),
    }
}

/// What a table of figures says of where they come from.
pub(crate) fn machine_date_revision(root: &Path) -> (String, String, String) {
    let date = said(Command::new("date").args(["-u", "+%Y-%m-%d"]));
    let revision = said(Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(root));
    (machine(), date, revision)
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    let kernel = said(Command::new("uname").args(["-s", "-r"]));
    let model = model.trim_start_matches([' ', '\t', ':']);
    format!("{cores} × {model}, {} GiB of memory, {kernel}.", kib.unwrap_or(0).div_ceil(1 << 20))
}

fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

fn summarise(lines: &[verdict::Line]) {
    for line in lines {
        let mark = match line.judgement {
            Judgement::Met => "met   ",
            Judgement::Missed => "MISSED",
            Judgement::NotMeasured => "-     ",
        };
        let by_cpu_time = match line.by_cpu_time.as_str() {
            "" => String::new(),
            ratio => format!(", by CPU time {ratio}"),
        };
        println!(
            "{mark} {}, {}: {} (target {}{by_cpu_time})",
            line.case, line.what, line.measured, line.target
        );
    }
    let met = lines.iter().filter(|line| line.judgement == Judgement::Met).count();
    println!("{met} of {} targets met", lines.len());
}
