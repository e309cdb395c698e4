//! `rumpcap tree`: draws a directory tree.
//!
//! Memory: the names of the directories on the way down to what is being drawn.

use crate::colour::{Colours, When};
use crate::outcome::Run;
use crate::quote::{Quoting, quote};
use crate::session::{Links, Session, Target};
use crate::traverse::{Listing, join};
use clap::Args;
use rumpcap::Metadata;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const EXAMPLES: &str = "\
Examples:
  rumpcap tree disk.img:/etc
  rumpcap tree -L 2 disk.img
  rumpcap tree -d -a disk.img:/home";

/// Options of `tree`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct TreeArgs {
    /// Also entries that begin with a dot
    #[arg(short = 'a', long)]
    all: bool,
    /// Directories only
    #[arg(short = 'd', long)]
    directories: bool,
    /// Go down at most N levels
    #[arg(short = 'L', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    level: Option<u32>,
    /// When to colour names, by LS_COLORS
    #[arg(long, value_name = "WHEN", default_value = "auto", num_args = 0..=1, require_equals = true,
        default_missing_value = "always")]
    color: When,
    /// The directories
    #[arg(required = true, value_name = "IMAGE[:PATH]")]
    paths: Vec<OsString>,
}

struct Level {
    listing: Listing,
    next: usize,
    ino: u64,
    path_len: usize,
}

struct Tree<'a> {
    args: &'a TreeArgs,
    colours: Colours,
    quoting: Quoting,
    directories: u64,
    files: u64,
}

/// Runs `tree`.
pub fn run(session: &mut Session, args: &TreeArgs) -> Run {
    let terminal = session.out.is_terminal();
    let mut tree = Tree {
        args,
        colours: Colours::new(args.color, terminal),
        quoting: if terminal { Quoting::Controls } else { Quoting::Raw },
        directories: 0,
        files: 0,
    };
    for target in session.targets(&args.paths)? {
        tree.draw(session, &target)?;
    }
    let plural = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    write!(session.out, "\n{}", plural(tree.directories, "directory", "directories"))?;
    if !args.directories {
        write!(session.out, ", {}", plural(tree.files, "file", "files"))?;
    }
    Ok(writeln!(session.out)?)
}

impl Tree<'_> {
    fn draw(&mut self, session: &mut Session, target: &Target) -> Run {
        let Some(metadata) = session.metadata(target, Links::Follow) else { return Ok(()) };
        let mut path = target.path.as_os_str().as_bytes().to_vec();
        self.name(session, &path, Some(&metadata))?;
        self.count(&metadata);
        session.out.write_all(b"\n")?;
        let mut levels = Vec::new();
        if metadata.is_dir() {
            levels.push(self.enter(session, target, &path, metadata.ino()));
        }
        while let Some(level) = levels.last_mut() {
            path.truncate(level.path_len);
            let Some((name, ino)) = level.listing.get(level.next) else {
                levels.pop();
                continue;
            };
            join(&mut path, name.as_bytes());
            level.next += 1;
            let metadata = match target.mount.metadata_ino(ino) {
                Ok(metadata) => metadata,
                Err(e) => {
                    session.fail(Path::new(OsStr::from_bytes(&path)), &e);
                    continue;
                }
            };
            self.branch(session, target, &levels, &metadata)?;
            if !metadata.is_dir() || self.args.level.is_some_and(|max| levels.len() >= max as usize) {
                continue;
            }
            if levels.iter().any(|l| l.ino == ino) {
                session.fail(Path::new(OsStr::from_bytes(&path)), &"directory loop: it is inside itself");
                continue;
            }
            levels.push(self.enter(session, target, &path, ino));
        }
        Ok(())
    }

    /// Draws the entry that the last level has just gone past.
    fn branch(
        &mut self,
        session: &mut Session,
        target: &Target,
        levels: &[Level],
        metadata: &Metadata,
    ) -> Run {
        let Some((last, above)) = levels.split_last() else { return Ok(()) };
        for level in above {
            let bar = if level.next < level.listing.len() { "\u{2502}\u{a0}\u{a0} " } else { "    " };
            session.out.write_all(bar.as_bytes())?;
        }
        let more = last.next < last.listing.len();
        session.out.write_all(
            if more { "\u{251c}\u{2500}\u{2500} " } else { "\u{2514}\u{2500}\u{2500} " }.as_bytes(),
        )?;
        let Some((name, ino)) = last.listing.get(last.next - 1) else { return Ok(()) };
        self.name(session, name.as_bytes(), Some(metadata))?;
        self.count(metadata);
        if metadata.is_symlink() {
            match target.mount.read_link_ino(ino) {
                Ok(link) => {
                    session.out.write_all(b" -> ")?;
                    session.out.write_all(&quote(link.as_os_str().as_bytes(), self.quoting))?;
                }
                Err(e) => session.fail(Path::new(name), &e),
            }
        }
        Ok(session.out.write_all(b"\n")?)
    }

    fn enter(&self, session: &mut Session, target: &Target, path: &[u8], ino: u64) -> Level {
        let mut listing = Listing::read(session, &target.mount, Path::new(OsStr::from_bytes(path)));
        if !self.args.all {
            listing.retain(|name, _| name.first() != Some(&b'.'));
        }
        if self.args.directories {
            listing.retain(|_, ino| target.mount.metadata_ino(ino).is_ok_and(|m| m.is_dir()));
        }
        Level { listing, next: 0, ino, path_len: path.len() }
    }

    fn count(&mut self, metadata: &Metadata) {
        if metadata.is_dir() {
            self.directories += 1;
        } else {
            self.files += 1;
        }
    }

    fn name(&self, session: &mut Session, name: &[u8], metadata: Option<&Metadata>) -> Run {
        let shown = quote(name, self.quoting);
        Ok(self.colours.paint(&mut session.out, name, metadata, &shown)?)
    }
}
