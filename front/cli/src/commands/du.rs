//! `rumpcap du`: sums up the space that directories take.
//!
//! The walk gives all entries of a directory, then its subdirectories one after the other, each with what is below it. So the directories
//! that are open are always the ancestors of the one that is being listed; [`Frame`]s of them are all that is kept. A directory's own line is
//! written when the walk has left it. One that has no entries is never entered, so it is recognised when it is seen.
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
Sizes are in units of 1024 bytes, as the files lie on the device. A file with several names is counted once.

Examples:
  rumpcap du -sh disk.img
  rumpcap du -h -d 1 disk.img:/var | sort -h
  rumpcap du -s --apparent-size -b disk.img:/home      bytes as ls -l shows them";

/// Options of `du`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, disable_help_flag = true)]
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
    /// Of these, what has already been counted in the frame above: the directory's own.
    counted_above: u64,
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
    for (target, text) in targets.iter().zip(&args.paths) {
        let address = crate::address::parse(text);
        let this = Some((address.image, address.partition));
        if image != this {
            du.seen = InodeSet::default();
            image = this;
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
        traverse(
            session,
            target,
            Order::Device,
            usize::MAX,
            &mut |session: &mut Session, visit: &Visit<'_>| self.visit(session, target, visit),
        )?;
        while !self.frames.is_empty() {
            self.leave(session)?;
        }
        Ok(())
    }

    fn visit(&mut self, session: &mut Session, target: &Target, visit: &Visit<'_>) -> Run {
        let m = visit.metadata;
        let multiply_linked = m.nlink() > 1 && !m.is_dir();
        if visit.depth == 0 {
            if multiply_linked && !self.seen.insert(m.ino()) {
                return Ok(());
            }
            return self.start(session, visit);
        }
        self.enter_parent_of(session, target, visit)?;
        if multiply_linked && !self.seen.insert(m.ino()) {
            return Ok(());
        }
        let bytes = self.size(m);
        if let Some(frame) = self.frames.last_mut() {
            frame.bytes = frame.bytes.saturating_add(bytes);
        }
        if self.has_own_line(session, target, visit) {
            self.line(session, visit.path, bytes)?;
        }
        Ok(())
    }

    /// The argument itself.
    fn start(&mut self, session: &mut Session, visit: &Visit<'_>) -> Run {
        let bytes = self.size(visit.metadata);
        if !visit.metadata.is_dir() {
            self.total = self.total.saturating_add(bytes);
            return self.line(session, visit.path, bytes);
        }
        self.frames.push(Frame { path: visit.path.to_owned(), depth: 0, bytes, counted_above: 0 });
        Ok(())
    }

    /// Makes the directory that `visit` is an entry of the innermost frame.
    fn enter_parent_of(&mut self, session: &mut Session, target: &Target, visit: &Visit<'_>) -> Run {
        let parent = visit.path.parent().unwrap_or(Path::new("/"));
        while self
            .frames
            .last()
            .is_some_and(|f| f.depth >= visit.depth || (f.depth + 1 == visit.depth && f.path != parent))
        {
            self.leave(session)?;
        }
        if self.frames.last().is_some_and(|f| f.depth + 1 == visit.depth) {
            return Ok(());
        }
        let own = match target.mount.symlink_metadata(parent) {
            Ok(metadata) => self.size(&metadata),
            Err(e) => {
                session.fail(parent, &e);
                0
            }
        };
        self.frames.push(Frame {
            path: parent.to_owned(),
            depth: visit.depth - 1,
            bytes: own,
            counted_above: own,
        });
        Ok(())
    }

    /// Writes the innermost directory's line and adds it to the one above.
    fn leave(&mut self, session: &mut Session) -> Run {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        match self.frames.last_mut() {
            Some(above) => above.bytes = above.bytes.saturating_add(frame.bytes - frame.counted_above),
            None => self.total = self.total.saturating_add(frame.bytes),
        }
        if frame.depth <= self.lines_to_depth { self.line(session, &frame.path, frame.bytes) } else { Ok(()) }
    }

    /// Whether the entry gets a line now: a file with -a; a directory that will not be entered.
    fn has_own_line(&self, session: &mut Session, target: &Target, visit: &Visit<'_>) -> bool {
        if visit.depth > self.lines_to_depth {
            return false;
        }
        if !visit.metadata.is_dir() {
            return self.args.all;
        }
        match target.mount.read_dir(visit.path).map(|mut entries| entries.next().transpose()) {
            Ok(Ok(first)) => first.is_none(),
            // The walk will name it.
            Ok(Err(_)) | Err(_) => {
                let _ = session;
                true
            }
        }
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
