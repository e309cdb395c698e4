//! `rumpcap df`: shows the space of a file system.

use crate::address;
use crate::outcome::Run;
use crate::quote::{Quoting, quote};
use crate::session::Session;
use crate::units::human;
use clap::{ArgAction, Args};
use rumpcap::StatFs;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

const EXAMPLES: &str = "\
Examples:
  rumpcap df -h disk.img
  rumpcap df -i disk.img@1 disk.img@2";

/// Options of `df`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES, disable_help_flag = true)]
pub struct DfArgs {
    /// Sizes for people (1.5K, 12M)
    #[arg(short = 'h', long)]
    human_readable: bool,
    /// Inodes instead of blocks
    #[arg(short = 'i', long)]
    inodes: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<OsString>,
}

/// Runs `df`.
pub fn run(session: &mut Session, args: &DfArgs) -> Run {
    let unit = match (args.inodes, args.human_readable) {
        (true, _) => ["Inodes", "IUsed", "IFree", "IUse%"],
        (false, true) => ["Size", "Used", "Avail", "Use%"],
        (false, false) => ["1K-blocks", "Used", "Available", "Use%"],
    };
    let mut rows =
        vec![["Filesystem", "Type"].into_iter().chain(unit).map(str::to_owned).collect::<Vec<_>>()];
    for text in &args.images {
        let target = session.target(text)?;
        let sizes = target.mount.stat_fs().and_then(|s| Ok((s, target.mount.info()?.kind)));
        match sizes {
            Ok((sizes, kind)) => rows.push(row(args, text, kind, &sizes)),
            Err(e) => session.fail(&address::parse(text).image, &e),
        }
    }
    for row in &rows {
        let width = |i: usize| rows.iter().map(|r| r[i].chars().count()).max().unwrap_or(0);
        write!(session.out, "{:<w0$} {:<w1$}", row[0], row[1], w0 = width(0), w1 = width(1))?;
        for (i, cell) in row.iter().enumerate().skip(2) {
            write!(session.out, " {cell:>w$}", w = width(i))?;
        }
        writeln!(session.out)?;
    }
    Ok(())
}

fn row(args: &DfArgs, text: &OsString, kind: &str, s: &StatFs) -> Vec<String> {
    let name = String::from_utf8_lossy(&quote(text.as_bytes(), Quoting::Controls)).into_owned();
    let (total, used, free, per_cent) = if args.inodes {
        let used = s.inodes.saturating_sub(s.inodes_free);
        (s.inodes, used, s.inodes_free, use_per_cent(used, s.inodes_free))
    } else {
        let used = s.blocks.saturating_sub(s.blocks_free);
        let bytes = |blocks: u64| blocks.saturating_mul(u64::from(s.block_size));
        (bytes(s.blocks), bytes(used), bytes(s.blocks_available), use_per_cent(used, s.blocks_available))
    };
    let show = |n: u64| match (args.human_readable, args.inodes) {
        (true, _) => human(n),
        (false, true) => n.to_string(),
        (false, false) => n.div_ceil(1024).to_string(),
    };
    vec![name, kind.to_owned(), show(total), show(used), show(free), per_cent]
}

/// Used of what users other than root can have, rounded up, as `df` has it.
fn use_per_cent(used: u64, available: u64) -> String {
    match u128::from(used) + u128::from(available) {
        0 => "-".to_owned(),
        whole => format!("{}%", (u128::from(used) * 100).div_ceil(whole)),
    }
}
