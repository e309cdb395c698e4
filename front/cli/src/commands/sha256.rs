//! `rumpcap sha256`: prints SHA-256 digests of files or of a whole tree.
//!
//! Memory: one buffer; with `--tree` or `--sorted` the names of the directories on the way down.

use crate::content::{buffer, each_chunk};
use crate::json::hex;
use crate::outcome::Run;
use crate::progress::{Place, Progress};
use crate::quote::write_checksum_line;
use crate::session::{Links, Session, Target};
use crate::traverse::{Order, Visit, traverse};
use clap::Args;
use rumpcap::FileKind;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

const EXAMPLES: &str = "\
Without --tree: a line for each regular file, as sha256sum(1) writes it. Names below a directory \
argument are relative to it (./a/b), so that a copy can be checked against them.

With --tree: one digest for each argument, over everything in it: names, types, permissions, owners, \
content, link targets, device numbers and extended attributes; not over times, inode numbers or \
which names are hard links of each other. It is the digest of these records, by name, each \
directory's content right behind it (NUL and LF are single bytes):
  TYPE MODE UID GID VALUE NUL PATH NUL ( XATTR NUL SHA256-OF-ITS-VALUE NUL )* LF
TYPE is one of f d l c b p s; MODE four octal digits; VALUE the digest of a file's content or of a \
link's target, MAJOR:MINOR of a device, else -; PATH relative to the argument, empty for itself.

Examples:
  rumpcap sha256 disk.img:/bin/sh
  rumpcap sha256 disk.img:/srv | (cd restored/srv && sha256sum --check --quiet)
  rumpcap sha256 --tree monday.img tuesday.img";

/// Options of `sha256`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct Sha256Args {
    /// One digest of the whole tree
    #[arg(long)]
    tree: bool,
    /// Files in the order of their names
    #[arg(long)]
    sorted: bool,
    /// End each line with NUL, and escape nothing
    #[arg(short = 'z', long, conflicts_with = "tree")]
    zero: bool,
    /// Files or directories
    #[arg(required = true, value_name = "IMAGE[:PATH]")]
    paths: Vec<OsString>,
}

struct Hasher<'a> {
    args: &'a Sha256Args,
    buffer: Vec<u8>,
    progress: Progress,
}

/// Runs `sha256`.
pub fn run(session: &mut Session, args: &Sha256Args) -> Run {
    let targets = session.targets(&args.paths)?;
    let place = if session.out.is_terminal() { Place::Taken } else { Place::Free };
    let mut hasher = Hasher { args, buffer: buffer(), progress: session.progress(place)? };
    for target in targets {
        if args.tree { hasher.tree(session, &target)? } else { hasher.files(session, target)? }
    }
    Ok(())
}

impl Hasher<'_> {
    /// A line for every regular file; an argument that is none is named.
    fn files(&mut self, session: &mut Session, mut target: Target) -> Run {
        let Some(metadata) = session.metadata(&target, Links::Follow) else { return Ok(()) };
        if !metadata.is_dir() {
            let Some(file) = crate::content::open_regular(session, &target) else { return Ok(()) };
            let Some(digest) = self.content(session, &file, &target.path)? else { return Ok(()) };
            return self.line(session, &digest, target.path.as_os_str().as_bytes());
        }
        follow(session, &mut target);
        let order = if self.args.sorted { Order::Sorted } else { Order::Device };
        let start = target.path.clone();
        traverse(
            session,
            &target.clone(),
            order,
            usize::MAX,
            &mut |session: &mut Session, visit: &Visit<'_>| {
                if !visit.metadata.is_file() {
                    return Ok(());
                }
                let Some(digest) = self.inode(session, &target, visit)? else { return Ok(()) };
                let name = [b"./", relative(start.as_os_str().as_bytes(), visit)].concat();
                self.line(session, &digest, &name)
            },
        )
    }

    fn line(&self, session: &mut Session, digest: &[u8], name: &[u8]) -> Run {
        use std::io::Write;
        if self.args.zero {
            write!(session.out, "{}  ", hex(digest))?;
            session.out.write_all(name)?;
            return Ok(session.out.write_all(b"\0")?);
        }
        Ok(write_checksum_line(&mut session.out, &hex(digest), name)?)
    }

    /// The digest of a tree. If anything in it failed there is none: it would be that of another tree.
    fn tree(&mut self, session: &mut Session, target: &Target) -> Run {
        let mut target = target.clone();
        let name = target.path.clone();
        follow(session, &mut target);
        let before = session.failures();
        let mut tree = Sha256::new();
        traverse(
            session,
            &target,
            Order::Sorted,
            usize::MAX,
            &mut |session: &mut Session, visit: &Visit<'_>| {
                if let Some(record) = self.record(session, &target, visit)? {
                    tree.update(&record);
                }
                Ok(())
            },
        )?;
        if session.failures() > before {
            session.say(format_args!("{}: no digest of a tree that could not be read whole", name.display()));
            return Ok(());
        }
        self.line(session, &tree.finalize(), name.as_os_str().as_bytes())
    }

    fn record(&mut self, session: &mut Session, target: &Target, visit: &Visit<'_>) -> Run<Option<Vec<u8>>> {
        let m = visit.metadata;
        let (kind, value) = match m.file_type().kind() {
            FileKind::Regular => match self.inode(session, target, visit)? {
                Some(digest) => ('f', hex(&digest)),
                None => return Ok(None),
            },
            FileKind::Symlink => match target.mount.read_link_ino(m.ino()) {
                Ok(link) => ('l', hex(&Sha256::digest(link.as_os_str().as_bytes()))),
                Err(e) => {
                    session.fail(visit.path, &e);
                    return Ok(None);
                }
            },
            FileKind::CharDevice => ('c', format!("{}:{}", m.rdev().0, m.rdev().1)),
            FileKind::BlockDevice => ('b', format!("{}:{}", m.rdev().0, m.rdev().1)),
            FileKind::Directory => ('d', "-".to_owned()),
            FileKind::Fifo => ('p', "-".to_owned()),
            FileKind::Socket => ('s', "-".to_owned()),
            FileKind::Unknown => ('?', "-".to_owned()),
        };
        let mut record =
            format!("{kind} {:04o} {} {} {value}\0", m.mode() & 0o7777, m.uid(), m.gid()).into_bytes();
        record.extend_from_slice(relative(target.path.as_os_str().as_bytes(), visit));
        record.push(0);
        match target.mount.xattrs_ino(m.ino()) {
            Ok(xattrs) => {
                for (name, value) in xattrs {
                    record.extend_from_slice(&name);
                    record.push(0);
                    record.extend_from_slice(hex(&Sha256::digest(&value)).as_bytes());
                    record.push(0);
                }
            }
            Err(e) => session.fail(visit.path, &e),
        }
        record.push(b'\n');
        Ok(Some(record))
    }

    fn inode(&mut self, session: &mut Session, target: &Target, visit: &Visit<'_>) -> Run<Option<[u8; 32]>> {
        match target.mount.open_ino(visit.metadata.ino()) {
            Ok(file) => self.content(session, &file, visit.path),
            Err(e) => {
                session.fail(visit.path, &e);
                Ok(None)
            }
        }
    }

    fn content(
        &mut self,
        session: &mut Session,
        file: &rumpcap::File,
        path: &std::path::Path,
    ) -> Run<Option<[u8; 32]>> {
        let mut digest = Sha256::new();
        let progress = &mut self.progress;
        progress.file();
        let read = each_chunk(file, 0..u64::MAX, &mut self.buffer, &mut |bytes| {
            digest.update(bytes);
            progress.bytes(bytes.len() as u64);
            Ok(())
        })?;
        match read {
            Ok(()) => Ok(Some(digest.finalize().into())),
            Err(e) => {
                session.fail(path, &e);
                Ok(None)
            }
        }
    }
}

/// A link on the command line stands for what it points to.
fn follow(session: &mut Session, target: &mut Target) {
    match target.mount.canonicalize(&target.path) {
        Ok(path) => target.path = path,
        Err(e) => session.fail(&target.path, &e),
    }
}

/// The visited path below the start.
fn relative<'a>(start: &[u8], visit: &Visit<'a>) -> &'a [u8] {
    let path = visit.path.as_os_str().as_bytes();
    let below = path.get(start.len()..).unwrap_or_default();
    below.strip_prefix(b"/").unwrap_or(below)
}
