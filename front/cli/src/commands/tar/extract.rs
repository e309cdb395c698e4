//! `rumpcap tar -x`: extracts an archive into an image: what is extracted, from where to where. `members` does it.

use super::TarArgs;
use super::members::Extract;
use crate::image_tree::Freed;
use crate::interrupt::Input;
use crate::outcome::{Run, Stop, plain};
use crate::pax::read::Reader;
use crate::progress::{Place, Progress};
use crate::quote::for_message;
use crate::session::Session;
use crate::target_dir::Existing;
use rumpcap::{Error, FileKind, Mount, Timestamp};
use std::cell::Cell;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

/// How members are extracted.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// So many directories are taken off their names.
    pub strip_components: usize,
    /// What becomes of what has the name of a member.
    pub existing: Existing,
    /// When blocks that come free are free.
    pub freed: Freed,
    /// Whose everything is, if not whose the archive says.
    pub owner: Option<(u32, u32)>,
    /// What becomes of extended attributes and lists.
    pub xattrs: Xattrs,
    /// No time of a member is set to a later one.
    pub latest: Option<Timestamp>,
}

/// What becomes of extended attributes and access control lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Xattrs {
    /// They are extracted.
    Keep,
    /// They are not.
    LeaveOut,
}

/// Runs `tar -x`.
pub fn run(session: &mut Session, args: &TarArgs) -> Run {
    let [text] = args.sources.as_slice() else {
        return Stop::usage("tar: -x takes one directory of an image");
    };
    if args.output.is_none() && session.input_is_script() {
        return Stop::usage("tar: standard input is the script; name the archive with -f");
    }
    let target = session.writable(text, args.write)?;
    let top = target
        .mount
        .metadata(&target.path)
        .and_then(|m| if m.is_dir() { Ok(m) } else { Err(Error::NotADirectory) });
    let top = match top {
        Ok(top) => top.ino(),
        Err(e) => {
            session.fail(&target.path, &e);
            return Ok(());
        }
    };
    let how = How {
        strip_components: args.strip_components,
        existing: if args.keep_old_files { Existing::Keep } else { Existing::Replace },
        freed: Freed::Later,
        owner: args.owner.owner,
        xattrs: if args.no_xattrs { Xattrs::LeaveOut } else { Xattrs::Keep },
        latest: args.write.time.map(|seconds| Timestamp { seconds, nanoseconds: 0 }),
    };
    archive(session, args.output.as_deref(), (&target.mount, top), how)
}

/// Extracts the archive `source`, or standard input, into directory `top` of `mount`.
///
/// # Errors
/// What ends it; that members failed is named and counted.
pub fn archive(session: &mut Session, source: Option<&Path>, (mount, top): (&Mount, u64), how: How) -> Run {
    let mut progress = session.progress(Place::Free)?;
    let interrupt = session.interrupt().cloned();
    let (input, len_bytes): (Box<dyn Readable>, _) = match source {
        Some(path) => {
            let failed = |e: std::io::Error| {
                Stop::Fatal(format!("{}: {}", for_message(path.as_os_str().as_bytes()), plain(&e)))
            };
            let file = std::fs::File::open(path).map_err(failed)?;
            let left = bytes_left(&file);
            (Box::new(file), left)
        }
        None => (Box::new(std::io::stdin().lock()), bytes_left(std::io::stdin())),
    };
    if let Some(len_bytes) = len_bytes {
        progress.expect_bytes(len_bytes);
    }
    let consumed = Consumed::default();
    let input = Counted { input: Input::new(input, interrupt), consumed: consumed.clone() };
    let reader = Reader::new(std::io::BufReader::with_capacity(BUFFER_BYTES, input));
    let meter = Meter { progress, consumed, is_sized: len_bytes.is_some() };
    Extract::new((mount, top), how, meter).all(session, reader)
}

/// Bytes of an archive that are read at once; content goes past it.
const BUFFER_BYTES: usize = 64 << 10;

/// An archive that comes from the host.
trait Readable: Read + AsFd {}

impl<T: Read + AsFd> Readable for T {}

/// What there is to read of a regular file.
fn bytes_left(file: impl AsFd) -> Option<u64> {
    let stat = rustix::fs::fstat(&file).ok()?;
    let is_regular = FileKind::from_mode(stat.st_mode) == FileKind::Regular;
    let at = rustix::fs::tell(&file).ok().filter(|_| is_regular)?;
    Some(u64::try_from(stat.st_size).ok()?.saturating_sub(at))
}

/// How much of an archive has been read.
type Consumed = Rc<Cell<u64>>;

struct Counted<R> {
    input: Input<R>,
    consumed: Consumed,
}

impl<R: Read + AsFd> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let got = self.input.read(buffer)?;
        self.consumed.set(self.consumed.get() + got as u64);
        Ok(got)
    }
}

/// Tells of progress: in the archive, where its length is known.
pub struct Meter {
    progress: Progress,
    consumed: Consumed,
    is_sized: bool,
}

impl Meter {
    /// A member begins.
    pub fn begin(&mut self, name: &Path) {
        self.progress.name(name);
    }

    /// A member is done.
    pub fn file(&mut self) {
        self.progress.file();
    }

    /// Content of so many bytes is in the image.
    pub fn content(&mut self, len_bytes: u64) {
        if self.is_sized {
            self.progress.beside(len_bytes);
            self.progress.position(self.consumed.get());
        } else {
            self.progress.bytes(len_bytes);
        }
    }

    /// Says what was done until a signal came.
    pub fn say_interrupted(&self, session: &mut Session) {
        self.progress.say_interrupted(session, "tar");
    }
}
