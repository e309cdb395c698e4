//! `rumpcap cp` into an image: from the host, from another image, from the same one.
//!
//! What is on the command line is looked at here: which side each source is on, and where it goes ([`choose`]). `copier` does the rest.

use super::CpArgs;
use super::copier::{Copier, Found, To};
use super::destination::source_name;
use super::source::{Failure, Host, Image, Name};
use crate::estimate::Tree;
use crate::host_tree;
use crate::outcome::{Run, Stop};
use crate::progress::Place;
use crate::quote::for_message;
use crate::session::{Links, Session, Target};
use rumpcap::{Error, FileKind, Metadata, Owner};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Runs `cp` into the image that `args.target` names.
pub fn run(session: &mut Session, args: &CpArgs) -> Run {
    let target = session.writable(&args.target, args.write)?;
    let mut sources = Vec::new();
    for text in &args.sources {
        match session.is_in_image(text) {
            true => sources.extend(session.matching(text)?.into_iter().map(From::Image)),
            false => sources.push(From::Host(PathBuf::from(text))),
        }
    }
    host_tree::raise_open_files();
    let progress = session.progress(Place::Free)?;
    let mut copier = Copier::new(session, args, &target, progress);
    copier.progress.expect_trees(sources.iter().map(|source| match source {
        From::Host(path) => Tree::Host(path.clone()),
        From::Image(target) => Tree::Image(target.clone()),
    }));
    let mut run = Into { copier, target, sources: sources.len() };
    let links = if args.recursive || args.archive { Links::Keep } else { Links::Follow };
    let end = sources.iter().try_for_each(|source| match source {
        From::Host(path) => run.host_source(session, path, links),
        From::Image(source) => run.image_source(session, source, links),
    });
    if let Err(Stop::Code(_)) = end {
        run.copier.progress.say_interrupted(session, "cp");
    }
    end
}

/// Where a source is.
enum From {
    Host(PathBuf),
    Image(Target),
}

/// One run of `cp` into an image.
struct Into {
    copier: Copier,
    target: Target,
    /// How many there are.
    sources: usize,
}

/// Where a source goes.
struct Placed {
    /// The directory.
    dir: u64,
    /// Its path.
    dir_path: PathBuf,
    /// The name that it gets; `None` when the source's content goes into the directory itself.
    name: Option<Vec<u8>>,
}

impl Into {
    fn host_source(&mut self, session: &mut Session, path: &Path, links: Links) -> Run {
        let stat = match links {
            Links::Keep => rustix::fs::lstat(path),
            Links::Follow => rustix::fs::stat(path),
        };
        let kind = match stat {
            Ok(stat) => host_tree::kind_of(&stat),
            Err(e) => return self.copier.done(session, path, Err(Failure::Host(e))),
        };
        let mut source = Host::default();
        let Some(placed) = self.place(session, path, kind, links)? else { return Ok(()) };
        if kind == FileKind::Directory {
            return match Host::named_directory(path) {
                Ok(top) => {
                    let to = (placed.dir, placed.name.as_deref());
                    self.copier.tree(session, &mut source, top, to, path)
                }
                Err(failure) => self.copier.done(session, path, Err(failure)),
            };
        }
        let name = placed.name.unwrap_or_default();
        let to = To { dir: placed.dir, name: &name, inherits: self.copier.inherits(placed.dir) };
        let copied = match kind {
            // Behind a link that is followed there is something else than the name says.
            FileKind::Regular => Host::named_file(path).and_then(|(file, attributes)| {
                self.copier.regular(session, &mut source, &file, &attributes, to, path).map(drop)
            }),
            // As cp(1): `cp <(program) disk.img:/file`.
            FileKind::Fifo if links == Links::Follow => Host::named_file(path)
                .and_then(|(file, attributes)| self.copier.stream(session, file, &attributes, to, path)),
            _ => self.special(session, &mut source, path, links, to),
        };
        self.copier.done(session, path, copied)
    }

    /// A link, device, fifo or socket that the user named.
    fn special(
        &mut self,
        session: &mut Session,
        source: &mut Host,
        path: &Path,
        links: Links,
        to: To<'_>,
    ) -> Result<(), Failure> {
        let real = match links {
            Links::Keep => path.to_owned(),
            Links::Follow => path.canonicalize().map_err(Failure::Read)?,
        };
        let (directory, name) = Host::place_of(&real)?;
        let attributes = super::source::Source::look_at(source, &directory, &name)?;
        let found = Found { directory: &directory, name: &name, attributes };
        self.copier.other(session, source, &found, to, path)
    }

    fn image_source(&mut self, session: &mut Session, from: &Target, links: Links) -> Run {
        let shown = session.address_of(from);
        let metadata = match links {
            Links::Keep => from.mount.symlink_metadata(&from.path),
            Links::Follow => from.mount.metadata(&from.path),
        };
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(e) => return self.copier.done(session, &shown, Err(Failure::Source(e))),
        };
        let kind = metadata.file_type().kind();
        let Some(placed) = self.place(session, &from.path, kind, links)? else { return Ok(()) };
        let mut source = Image::of(from);
        let attributes = source.attributes(&metadata);
        if kind == FileKind::Directory {
            if let Some(itself) = self.leads_into_itself(from, &placed)? {
                session.fail(&shown, &itself);
                return Ok(());
            }
            let to = (placed.dir, placed.name.as_deref());
            return self.copier.tree(session, &mut source, (metadata.ino(), attributes), to, &shown);
        }
        let name = placed.name.unwrap_or_default();
        let to = To { dir: placed.dir, name: &name, inherits: self.copier.inherits(placed.dir) };
        let its_name = Name { name: Box::default(), ino: metadata.ino() };
        let found = Found { directory: &0, name: &its_name, attributes };
        let copied = self.copier.other(session, &mut source, &found, to, &shown);
        self.copier.done(session, &shown, copied)
    }

    /// Where a source goes; `None`, with the reason said, where it cannot.
    fn place(
        &mut self,
        session: &mut Session,
        source: &Path,
        kind: FileKind,
        links: Links,
    ) -> Run<Option<Placed>> {
        let is_dir = kind == FileKind::Directory;
        if is_dir && links == Links::Follow {
            session.fail(source, &"is a directory; -r copies it");
            return Ok(None);
        }
        let placed = choose(source, is_dir, &self.target, self.sources)?;
        if !is_dir && placed.name.is_none() {
            return Stop::usage(format!("cp: {}: not a name", show(source)));
        }
        Ok(Some(placed))
    }

    /// Why a directory of the image that is written cannot be copied to where it would go: that is in it.
    fn leads_into_itself(&self, from: &Target, placed: &Placed) -> Run<Option<String>> {
        if from.image != self.target.image {
            return Ok(None);
        }
        let real = |path: &Path| {
            let real = from.mount.canonicalize(path);
            real.map_err(|e| Stop::Fatal(format!("{}: {e}", show(path))))
        };
        let mut to = real(&placed.dir_path)?;
        to.extend(placed.name.as_deref().map(OsStr::from_bytes));
        let is_inside = to.starts_with(real(&from.path)?);
        Ok(is_inside.then(|| format!("cannot be copied into itself, {}", show(&to))))
    }
}

/// Where `source` goes when the user said `target`: the rules of cp(1).
fn choose(source: &Path, is_dir: bool, target: &Target, sources: usize) -> Run<Placed> {
    let name = source_name(source);
    let there = match target.mount.metadata(&target.path) {
        Ok(metadata) => Some(metadata),
        Err(Error::NotFound) => None,
        Err(e) => return Stop::fatal(format!("{}: {e}", show(&target.path))),
    };
    if let Some(there) = there.filter(Metadata::is_dir) {
        return Ok(Placed { dir: there.ino(), dir_path: target.path.clone(), name });
    }
    if sources > 1 {
        return Stop::usage(format!(
            "cp: {}: not a directory, and there are several sources",
            show(&target.path)
        ));
    }
    if target.path.as_os_str().as_bytes().ends_with(b"/") && !is_dir {
        return Stop::usage(format!("cp: {}: not a directory", show(&target.path)));
    }
    let (Some(parent_path), Some(last)) = (target.path.parent(), target.path.file_name()) else {
        return Stop::usage(format!("cp: {}: not a name for a copy", show(&target.path)));
    };
    let parent =
        target.mount.metadata(parent_path).map_err(|e| Stop::Fatal(format!("{}: {e}", show(parent_path))))?;
    let last = last.as_bytes().to_vec();
    if is_dir && name.is_none() {
        // The content of a directory goes into a directory that is new.
        let made =
            target.mount.create_dir_at(parent.ino(), OsStr::from_bytes(&last), &Owner::with_mode(0o755));
        let made = made.map_err(|e| Stop::Fatal(format!("{}: {e}", show(&target.path))))?;
        return Ok(Placed { dir: made.ino(), dir_path: target.path.clone(), name: None });
    }
    Ok(Placed { dir: parent.ino(), dir_path: parent_path.to_owned(), name: Some(last) })
}

fn show(path: &Path) -> String {
    for_message(path.as_os_str().as_bytes())
}
