//! [`Page`]: the page of `--report`: what a run did to memory, as plots over time, in one file without any reference to another.
//!
//! Who calls it: `session`. `charts` says what is drawn, `chart` draws it, `html` writes the page around.
//!
//! Failure: the file is written beside its place and renamed, so that there is the old page or the new one. What would fail
//! at the end of a long run is tried before it begins. What is there and is no page is not replaced: so never an image.

mod chart;
mod charts;
mod html;

use crate::args::Policy;
use crate::outcome::{Run, Stop, plain};
use crate::quote::for_message;
use crate::units::MemoryLimit;
use crate::watch::History;
use jiff::Zoned;
use rumpcap::Mount;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A page that is to be written.
pub struct Page {
    path: PathBuf,
    arguments: Vec<OsString>,
    began: Instant,
    began_at: Zoned,
}

/// What the page says of a run beside its pictures.
pub struct Ran {
    /// `--memory-limit`.
    pub limit: MemoryLimit,
    /// `--policy`.
    pub policy: Policy,
    /// The images that were mounted.
    pub images: Vec<Image>,
    /// Exit code.
    pub code: u8,
    /// Paths that failed.
    pub failures: u64,
    /// Why it ended early.
    pub message: Option<String>,
}

/// A mounted image.
pub struct Image {
    /// Its path and partition.
    pub name: String,
    /// What is known of its file system: names and values.
    pub facts: Vec<(&'static str, String)>,
}

impl Image {
    /// What `mount` says of itself; nothing, where it cannot be read.
    pub fn of(path: &Path, partition: Option<u32>, mount: &Mount) -> Image {
        let partition = partition.map(|number| format!("@{number}")).unwrap_or_default();
        let name = format!("{}{partition}", show(path));
        let mut facts = Vec::new();
        if let Ok(info) = mount.info() {
            facts.push(("file system", info.kind.to_owned()));
            facts.push(("label", info.label));
            facts.push(("uuid", info.uuid));
            facts.push(("features", info.features.join(" ")));
            facts.extend(info.warnings.into_iter().map(|warning| ("warning", warning)));
        }
        if let Ok(sizes) = mount.stat_fs() {
            let blocks =
                format!("{} of {} bytes, {} free", sizes.blocks, sizes.block_size, sizes.blocks_free);
            facts.push(("blocks", blocks));
            facts.push(("inodes", format!("{}, {} free", sizes.inodes, sizes.inodes_free)));
        }
        Image { name, facts }
    }
}

impl Page {
    /// A page that can be written to `path` when the run that begins now has ended.
    ///
    /// # Errors
    /// `Fatal` when there is something else than a page, or no directory to write into.
    pub fn begin(path: &Path) -> Run<Page> {
        // A link stays one: what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let tried = may_replace(&path).and_then(|()| temporary(&path));
        drop(tried.map_err(|e| failed(&path, &e))?);
        let arguments = std::env::args_os().skip(1).collect();
        Ok(Page { path, arguments, began: Instant::now(), began_at: Zoned::now() })
    }

    /// Writes it.
    ///
    /// # Errors
    /// `Fatal` with the host's reason.
    pub fn write(&self, run: &Ran, history: &History) -> Run {
        let text = html::page(self, run, history);
        let written = temporary(&self.path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            may_replace(&self.path)?;
            file.persist(&self.path).map_err(|e| e.error)
        });
        written.map(drop).map_err(|e| failed(&self.path, &e))
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Whether there is nothing, or a page. Whatever else there is, an image above all, is not replaced.
fn may_replace(path: &Path) -> io::Result<()> {
    let not = |why| Err(io::Error::other(why));
    match fs::metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(there) if there.is_file() => {}
        Ok(_) => return not("not a regular file"),
        Err(e) => return Err(e),
    }
    let mut begin = [0; html::BEGIN.len()];
    let len = fs::File::open(path)?.read(&mut begin)?;
    if len > 0 && begin != *html::BEGIN.as_bytes() {
        not("something else than a page is there")
    } else {
        Ok(())
    }
}

fn failed(path: &Path, error: &io::Error) -> Stop {
    Stop::Fatal(format!("--report {}: {}", show(path), plain(error)))
}

/// A file beside `path`, with the permissions of any new one; gone unless it is renamed.
fn temporary(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    tempfile::Builder::new().prefix(&name).permissions(Permissions::from_mode(0o666)).tempfile_in(directory)
}

fn show(path: &Path) -> String {
    for_message(path.as_os_str().as_bytes())
}
