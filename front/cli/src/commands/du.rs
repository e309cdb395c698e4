//! `rumpcap du`: sums up the space that directories take.
//!
//! The visit is nested ([`Order::Nested`]): a directory comes right before its content, so the directories that are open are
//! always the ancestors of what is visited; [`Frame`]s of them are all that is kept. A directory's line is written when the visit has left
//! it.
//!
//! Hard links are counted once, over all arguments of one image: [`InodeSet`] remembers the inodes with several links in a bit each,
//! in runs of 512 inode numbers: at most 1/6 byte per inode of the file system, or 80 bytes per linked file where they lie scattered.

mod inode_set;

use crate::json;
use crate::outcome::Run;
use crate::quote::quote;
use crate::session::{Session, Target};
use crate::traverse::{Order, Visit, traverse};
use crate::units::human;
use clap::{ArgAction, Args};
use inode_set::InodeSet;
use rumpcap::Metadata;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Sizes are in units of 1024 bytes, as the files lie on the device. A file with several names is \
counted once.

Examples:
  rumpcap du -sh disk.img
  rumpcap du -h -d 1 disk.img:/var | sort -h
  rumpcap du -s --apparent-size -b disk.img:/home      bytes as ls -l shows them";

/// Options of `du`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES, disable_help_flag = true)]
pub struct DuArgs {
    /// One sum for each argument
    #[arg(short = 's', long, conflicts_with_all = ["all", "max_depth"])]
    summarize: bool,
    /// Sizes for people (1.5K, 12M)
    #[arg(short = 'h', long)]
    human_readable: bool,
    /// Files too, not only directories
    #[arg(short = 'a', long)]
    all: bool,
    /// Lines for directories down to N levels only
    #[arg(short = 'd', long, value_name = "N")]
    max_depth: Option<usize>,
    /// The lengths of files, not the space that they take
    #[arg(long)]
    apparent_size: bool,
    /// Lengths in bytes (--apparent-size in units of 1)
    #[arg(short = 'b', long)]
    bytes: bool,
    /// A grand total behind all
    #[arg(short = 'c', long)]
    total: bool,
    /// One JSON array of objects; sizes in bytes
    #[arg(long)]
    json: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Directories or files
    #[arg(required = true, value_name = "IMAGE[:PATH]")]
    paths: Vec<OsString>,
}

/// A directory that is being summed up.
struct Frame {
    path: PathBuf,
    depth: usize,
    bytes: u64,
}

struct Du<'a> {
    args: &'a DuArgs,
    lines_to_depth: usize,
    seen: InodeSet,
    frames: Vec<Frame>,
    array: json::Array,
    total: u64,
}

/// Runs `du`.
pub fn run(session: &mut Session, args: &DuArgs) -> Run {
    let lines_to_depth = if args.summarize { 0 } else { args.max_depth.unwrap_or(usize::MAX) };
    let mut du = Du {
        args,
        lines_to_depth,
        seen: InodeSet::default(),
        frames: Vec::new(),
        array: json::Array::default(),
        total: 0,
    };
    let targets = session.targets(&args.paths)?;
    let mut image = None;
    for target in &targets {
        if image != Some(target.image) {
            du.seen = InodeSet::default();
            image = Some(target.image);
        }
        du.sum(session, target)?;
    }
    if args.total {
        du.line(session, Path::new("total"), du.total)?;
    }
    if args.json { std::mem::take(&mut du.array).end(&mut session.out) } else { Ok(()) }
}

impl Du<'_> {
    fn sum(&mut self, session: &mut Session, target: &Target) -> Run {
        let visitor = &mut |session: &mut Session, visit: &Visit<'_>| self.visit(session, visit);
        traverse(session, target, Order::Nested, usize::MAX, visitor)?;
        self.leave_down_to(session, 0)
    }

    fn visit(&mut self, session: &mut Session, visit: &Visit<'_>) -> Run {
        let m = visit.metadata;
        self.leave_down_to(session, visit.depth)?;
        if m.is_dir() {
            let frame = Frame { path: visit.path.to_owned(), depth: visit.depth, bytes: self.size(m) };
            self.frames.push(frame);
            return Ok(());
        }
        if m.nlink() > 1 && !self.seen.insert(m.ino()) {
            return Ok(());
        }
        let bytes = self.size(m);
        self.add(bytes);
        let has_line = visit.depth == 0 || (self.args.all && visit.depth <= self.lines_to_depth);
        if has_line { self.line(session, visit.path, bytes) } else { Ok(()) }
    }

    /// Writes the lines of the directories that are not above `depth`: the visit has left them.
    fn leave_down_to(&mut self, session: &mut Session, depth: usize) -> Run {
        while let Some(frame) = self.frames.pop_if(|frame| frame.depth >= depth) {
            self.add(frame.bytes);
            if frame.depth <= self.lines_to_depth {
                self.line(session, &frame.path, frame.bytes)?;
            }
        }
        Ok(())
    }

    /// Adds to the innermost directory, or to the grand total.
    fn add(&mut self, bytes: u64) {
        let sum = self.frames.last_mut().map_or(&mut self.total, |frame| &mut frame.bytes);
        *sum = sum.saturating_add(bytes);
    }

    fn size(&self, m: &Metadata) -> u64 {
        match self.args.apparent_size || self.args.bytes {
            true if m.is_dir() || m.is_file() || m.is_symlink() => m.len(),
            true => 0,
            false => m.blocks().saturating_mul(512),
        }
    }

    fn line(&mut self, session: &mut Session, path: &Path, bytes: u64) -> Run {
        let name = path.as_os_str().as_bytes();
        if self.args.json {
            let mut object = serde_json::Map::new();
            json::insert_name(&mut object, "path", name);
            object.insert("bytes".into(), bytes.into());
            return self.array.push(&mut session.out, object);
        }
        let size = match (self.args.human_readable, self.args.bytes) {
            (true, _) => human(bytes),
            (false, true) => bytes.to_string(),
            (false, false) => bytes.div_ceil(1024).to_string(),
        };
        let quoting = session.out.path_quoting();
        write!(session.out, "{size}\t")?;
        session.out.write_all(&quote(name, quoting))?;
        Ok(session.out.write_all(b"\n")?)
    }
}
