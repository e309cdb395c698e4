//! `cargo xtask demo`: the product at its main job, measured from outside.
//!
//! Makes a large ext4 image (`image`), builds the library's example `walk_and_read` for release, lets it walk and
//! read the whole image under a memory limit in a process of its own (`child`), and shows memory against the limit
//! (`show`).
//!
//! Failure: the demo fails when anything was not read as it was written, when the limit was passed, when the process
//! took more than the limit and a small constant, or when the pagedaemon was stuck. It never only looks good.

mod child;
mod image;
mod show;

use crate::{Result, setup, workspace};
use child::Outcome;
use image::Image;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a process may take besides the limit: its own stack, heap and buffers.
const PROCESS_OVERHEAD_BYTES: u64 = 2 << 20;

/// Options of the task.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Hard limit on the kernel's memory, in bytes or with a suffix k, m or g
    #[arg(long, value_name = "SIZE", default_value = "600k", value_parser = parse_size)]
    memory_limit: u64,
    /// Small files in the image; besides them, it has one file of 1 GiB
    #[arg(long, value_name = "NUMBER", default_value_t = 200_000)]
    files: u64,
}

/// Runs the demo.
pub(crate) fn run(args: &Args) -> Result {
    setup::ensure(setup::FOR_DEMO)?;
    let target = workspace::metadata(&["--no-deps"])?.target_directory;
    let program = build(&target)?;
    eprintln!("demo: making an ext4 image of {} files with mke2fs, unless it is there", args.files);
    let image = Image::get(&target.join("demo"), args.files)?;
    eprintln!("demo: walking and reading {} in {} bytes of memory", image.path.display(), args.memory_limit);

    let mut command = Command::new(program);
    command.arg(&image.path).arg(args.memory_limit.to_string());
    let mut live = show::Live::new(args.memory_limit);
    let outcome = child::watch(command, |now, anonymous| live.show(&image, now, anonymous));
    live.finish();
    let outcome = outcome?;
    print!("{}", show::table(&outcome));
    judge(&outcome, &image, args.memory_limit)?;
    println!("every byte was read as it was written, within the limit");
    Ok(())
}

/// Builds the measured program as users get the library: for release.
fn build(target: &Path) -> Result<PathBuf> {
    let mut command = workspace::cargo();
    command.args(["build", "--release", "--locked", "--package", "rumpcap", "--example", "walk_and_read"]);
    workspace::run(&mut command, "cargo build")?;
    Ok(target.join("release/examples/walk_and_read"))
}

/// Whether the run was as it must be.
fn judge(outcome: &Outcome, image: &Image, limit_bytes: u64) -> Result {
    let end = |name: &str| outcome.end.get(name);
    let equal = [
        ("entries", end("entries"), image.entries),
        ("bytes", end("bytes"), image.bytes),
        ("checksum", end("checksum"), image.checksum),
        ("errors", end("errors"), 0),
        ("stuck rounds", end("stuck"), 0),
        ("limit", end("limit"), limit_bytes),
    ];
    for (what, found, expected) in equal {
        if found != expected {
            return Err(format!("{what}: {found} instead of {expected}").into());
        }
    }
    let at_most = [
        ("the kernel's memory", end("peak"), limit_bytes),
        ("the process's memory", outcome.anonymous_peak_bytes, limit_bytes + PROCESS_OVERHEAD_BYTES),
    ];
    for (what, found, most) in at_most {
        if found > most {
            return Err(format!("{what}: {found} bytes, more than {most}").into());
        }
    }
    Ok(())
}

/// `600k`: bytes, with k, m and g for powers of 1024.
fn parse_size(text: &str) -> std::result::Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        _ => return Err("a size is a number, perhaps with k, m or g".into()),
    };
    let number: u64 = digits.parse().map_err(|e| format!("{digits:?}: {e}"))?;
    number.checked_mul(1 << shift).ok_or_else(|| "too large".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(
            ["0", "600k", "1M", "2g"].map(parse_size).map(|r| r.unwrap()),
            [0, 614_400, 1 << 20, 2 << 30]
        );
        for bad in ["", "k", "1kb", "-1", "1.5m", "99999999999g"] {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }
}
