//! `rumpcap tar`: writes a directory tree as a tar archive; reading one: `extract`.
//!
//! Memory: one buffer, one member's records, and the hard links that are not complete ([`LinkMap`]). The map of a file with holes is
//! gone through twice and never held.

pub mod extract;
mod members;
mod sparse;

use crate::accounts::Accounts;
use crate::args::{OwnerArgs, WriteArgs};
use crate::content::{buffer, each_chunk};
use crate::links::LinkMap;
use crate::outcome::{Run, Stop, plain};
use crate::pax::{Archive, Content, Kind, Member};
use crate::progress::{Place, Progress};
use crate::session::{Session, Target};
use crate::target_dir::safe_name;
use crate::traverse::{Order, Visit, traverse};
use clap::Args;
use rumpcap::{File, FileKind, Metadata};
use sparse::SparseMap;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

const EXAMPLES: &str = "\
The archive is in the pax format: long names, times to the nanosecond, extended attributes \
(SCHILY.xattr), access control lists (SCHILY.acl), hard links, devices, files with holes (GNU sparse 1.0). Member \
names are relative: those of / begin with ./ and those of /a/b with b/. Sockets have no place in an \
archive: each is named, and the command exits with 1.

With -x an archive is read, in any format of GNU tar and pax, and extracted into the directory IMAGE:PATH. Owners are numbers, times \
exact; extended attributes, lists, hard links, devices and holes are made. Members whose name has .. in it are refused, a leading / \
is left out, no link is followed: nothing outside of the directory is touched. A file that has the name of a member is replaced.

Examples:
  rumpcap tar disk.img:/ -o disk.tar
  rumpcap tar disk.img:/home | zstd > home.tar.zst
  rumpcap tar disk.img@2:/etc | tar -xpf - --acls --xattrs --xattrs-include='*' -C there
  rumpcap tar --sorted disk.img:/srv | sha256sum       the same tree gives the same archive
  zstdcat rootfs.tar.zst | rumpcap tar -x disk.img:/
  rumpcap tar -x -f home.tar --strip-components 1 disk.img:/home";

/// Options of `tar`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct TarArgs {
    /// Extract an archive into the image
    #[arg(short = 'x', long)]
    extract: bool,
    /// With -x: so many directories are taken off the names of members
    #[arg(long, value_name = "COUNT", default_value = "0", requires = "extract")]
    strip_components: usize,
    /// With -x: keep files that are there; that they were kept is said and counts as failure
    #[arg(short = 'k', long, requires = "extract")]
    keep_old_files: bool,
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// Write to this file instead of standard output; with -x read from it instead of standard input
    #[arg(short = 'o', short_alias = 'f', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Members in the order of their names, so that the archive depends on the tree alone
    #[arg(long)]
    sorted: bool,
    /// Write holes as zeros, for programs that do not know GNU's sparse format
    #[arg(long)]
    no_sparse: bool,
    /// Numbers of users and groups only, no names
    #[arg(long)]
    numeric_owner: bool,
    /// Leave out extended attributes
    #[arg(long)]
    no_xattrs: bool,
    /// What goes in; with -x the directory that the members go into
    #[arg(required = true, value_name = "IMAGE[:PATH]")]
    sources: Vec<OsString>,
}

/// Bytes that are collected before they are written.
const OUTPUT_BUFFER_BYTES: usize = 128 << 10;

struct Tar<'a> {
    args: &'a TarArgs,
    archive: Archive<Box<dyn Write>>,
    accounts: Accounts,
    links: LinkMap,
    buffer: Vec<u8>,
    progress: Progress,
}

/// Runs `tar`.
pub fn run(session: &mut Session, args: &TarArgs) -> Run {
    if args.extract {
        return extract::run(session, args);
    }
    if args.owner.owner.is_some() {
        return Stop::usage("tar: --owner is for -x");
    }
    if args.output.is_none() && session.out.is_terminal() {
        return Stop::usage("tar: an archive is not for a terminal; name a file with -o or use a pipe");
    }
    let targets = session.targets(&args.sources)?;
    let progress = session.progress(Place::Free)?;
    let mut tar = Tar {
        args,
        archive: Archive::new(output(session, args)?),
        accounts: Accounts::default(),
        links: LinkMap::default(),
        buffer: buffer(),
        progress,
    };
    let order = if args.sorted { Order::Sorted } else { Order::Nested };
    let mut image = None;
    for target in &targets {
        if image != Some(target.image) {
            tar.links = LinkMap::default();
            tar.accounts = if args.numeric_owner { Accounts::default() } else { Accounts::of(&target.mount) };
            image = Some(target.image);
        }
        traverse(session, target, order, usize::MAX, &mut |session: &mut Session, visit: &Visit<'_>| {
            tar.visit(session, target, visit)
        })?;
    }
    Ok(tar.archive.finish()?)
}

fn output(session: &Session, args: &TarArgs) -> Run<Box<dyn Write>> {
    let file = match &args.output {
        Some(path) => std::fs::File::create(path)
            .map_err(|e| Stop::Fatal(format!("{}: {}", path.display(), plain(&e))))?,
        None => session.out.file()?,
    };
    Ok(Box::new(std::io::BufWriter::with_capacity(OUTPUT_BUFFER_BYTES, file)))
}

impl Tar<'_> {
    fn visit(&mut self, session: &mut Session, target: &Target, visit: &Visit<'_>) -> Run {
        self.progress.file();
        let name = match member_name(target, visit) {
            Ok(name) => name,
            Err(reason) => {
                session.fail(visit.path, &reason);
                return Ok(());
            }
        };
        let m = visit.metadata;
        if m.nlink() > 1
            && !m.is_dir()
            && let Some(first) = self.links.meet(m.ino(), m.nlink(), &name)
        {
            let member = Self::describe(&self.accounts, m, &name, Kind::HardLink(&first), &[]);
            return Ok(self.archive.member(&member, &Content::None)?);
        }
        let xattrs = self.xattrs(session, target, visit);
        self.member(session, target, visit, &name, &xattrs)
    }

    fn xattrs(&self, session: &mut Session, target: &Target, visit: &Visit<'_>) -> Vec<(Vec<u8>, Vec<u8>)> {
        if self.args.no_xattrs {
            return Vec::new();
        }
        match target.mount.xattrs_ino(visit.metadata.ino()) {
            Ok(xattrs) => xattrs,
            Err(e) => {
                session.fail(visit.path, &format_args!("extended attributes: {e}"));
                Vec::new()
            }
        }
    }

    fn describe<'b>(
        accounts: &'b Accounts,
        m: &Metadata,
        name: &'b [u8],
        kind: Kind<'b>,
        xattrs: &'b [(Vec<u8>, Vec<u8>)],
    ) -> Member<'b> {
        Member {
            name,
            kind,
            mode: m.mode(),
            uid: m.uid(),
            gid: m.gid(),
            user: accounts.user(m.uid()).unwrap_or_default(),
            group: accounts.group(m.gid()).unwrap_or_default(),
            mtime: m.modified(),
            xattrs,
        }
    }

    fn member(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        name: &[u8],
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Run {
        let m = visit.metadata;
        let (major, minor) = m.rdev();
        let link;
        let kind = match m.file_type().kind() {
            FileKind::Regular => return self.file(session, target, visit, name, xattrs),
            FileKind::Directory => Kind::Directory,
            FileKind::Symlink => match target.mount.read_link_ino(m.ino()) {
                Ok(to) => {
                    link = to;
                    Kind::Symlink(link.as_os_str().as_bytes())
                }
                Err(e) => return self.drop_member(session, visit, &e),
            },
            FileKind::CharDevice => Kind::CharDevice(major, minor),
            FileKind::BlockDevice => Kind::BlockDevice(major, minor),
            FileKind::Fifo => Kind::Fifo,
            FileKind::Socket => {
                return self.drop_member(session, visit, &"a socket has no place in an archive");
            }
            FileKind::Unknown => return self.drop_member(session, visit, &"unknown type of file"),
        };
        let member = Self::describe(&self.accounts, m, name, kind, xattrs);
        Ok(self.archive.member(&member, &Content::None)?)
    }

    /// The member is not written: other names of its file are not to refer to it.
    fn drop_member(
        &mut self,
        session: &mut Session,
        visit: &Visit<'_>,
        reason: &dyn std::fmt::Display,
    ) -> Run {
        self.links.forget(visit.metadata.ino());
        session.fail(visit.path, reason);
        Ok(())
    }

    fn file(
        &mut self,
        session: &mut Session,
        target: &Target,
        visit: &Visit<'_>,
        name: &[u8],
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Run {
        let m = visit.metadata;
        let file = match target.mount.open_ino(m.ino()) {
            Ok(file) => file,
            Err(e) => return self.drop_member(session, visit, &e),
        };
        let map = match self.sparse_map(&file, m) {
            Ok(map) => map,
            Err(e) => return self.drop_member(session, visit, &e),
        };
        let content = match &map {
            Some(map) => Content::Sparse { stored: map.stored_bytes(), real: m.len() },
            None => Content::Plain(m.len()),
        };
        self.archive.member(&Self::describe(&self.accounts, m, name, Kind::File, xattrs), &content)?;
        let read = match &map {
            Some(map) => self.sparse_content(&file, map)?,
            None => self.range(&file, 0..m.len())?,
        };
        if let Err(e) = read {
            session.fail(visit.path, &format_args!("{e}; the rest of its content is zeros in the archive"));
        }
        Ok(self.archive.end_member()?)
    }

    /// The map of a file with holes that are worth it; a look at the space that it takes spares most files the question.
    fn sparse_map(&self, file: &File, m: &Metadata) -> rumpcap::Result<Option<SparseMap>> {
        if self.args.no_sparse || m.blocks().saturating_mul(512) >= m.len() {
            return Ok(None);
        }
        let map = SparseMap::of(file, m.len())?;
        Ok(if map.stored_bytes() < m.len() { Some(map) } else { None })
    }

    /// Writes the map, then the data; what cannot be read becomes zeros, so that the archive stays in step.
    fn sparse_content(&mut self, file: &File, map: &SparseMap) -> Run<rumpcap::Result<()>> {
        let archive = &mut self.archive;
        map.write(file, &mut |bytes| Ok(archive.data(bytes)?))?;
        let mut result = Ok(());
        let mut left = map.data_bytes();
        for run in map.runs(file) {
            match run {
                Ok(run) => {
                    left = left.saturating_sub(run.end - run.start);
                    result = result.and(self.range(file, run)?);
                }
                Err(e) => {
                    self.archive.zeros(left)?;
                    return Ok(Err(e));
                }
            }
        }
        Ok(result)
    }

    /// Writes exactly the bytes of `range`, whatever happens.
    fn range(&mut self, file: &File, range: std::ops::Range<u64>) -> Run<rumpcap::Result<()>> {
        let mut left = range.end - range.start;
        let (archive, progress) = (&mut self.archive, &mut self.progress);
        let read = each_chunk(file, range, &mut self.buffer, &mut |bytes| {
            left -= bytes.len() as u64;
            progress.bytes(bytes.len() as u64);
            Ok(archive.data(bytes)?)
        })?;
        self.archive.zeros(left)?;
        Ok(read)
    }
}

/// The name in the archive: the last component of the source and what is below it, or `./` and what is below.
fn member_name(target: &Target, visit: &Visit<'_>) -> Result<Vec<u8>, &'static str> {
    const UNSAFE: &str = "unsafe name in the image; left out";
    let source = target.path.as_os_str().as_bytes();
    let below = visit.path.as_os_str().as_bytes().strip_prefix(source).ok_or(UNSAFE)?;
    let below = below.strip_prefix(b"/").unwrap_or(below);
    let mut depth = 0;
    if !below.is_empty() {
        for name in below.split(|b| *b == b'/') {
            safe_name(name).map_err(|_| UNSAFE)?;
            depth += 1;
        }
    }
    if depth != visit.depth {
        return Err(UNSAFE);
    }
    let trimmed = &source[..source.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1)];
    let base = trimmed.rsplit(|b| *b == b'/').next().unwrap_or_default();
    let mut name = if matches!(base, b"" | b"." | b"..") { b".".to_vec() } else { base.to_vec() };
    if !below.is_empty() {
        name.push(b'/');
        name.extend_from_slice(below);
    }
    if visit.metadata.is_dir() {
        name.push(b'/');
    }
    Ok(name)
}
