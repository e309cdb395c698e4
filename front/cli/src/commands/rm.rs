//! `rumpcap rm`: removes files, and with `-r` directories with all that is in them.
//!
//! Memory: [`BATCH`] names of each directory on the way down.

use crate::args::WriteArgs;
use crate::outcome::Run;
use crate::session::{Session, Target};
use clap::Args;
use rumpcap::{Error, Mount};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Names that are taken from a directory at once: removing what one is reading would move the place where reading goes on.
const BATCH: usize = 2048;

const EXAMPLES: &str = "\
Symbolic links are removed, and never followed. The root directory is not removed; `rm -r disk.img:/*` is a pattern \
that your shell does not know: see `rumpcap find` for lists.

Examples:
  rumpcap rm disk.img:/etc/hostname
  rumpcap rm -rf disk.img:/var/cache/apt disk.img:/tmp/x";

/// Options of `rm`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct RmArgs {
    /// Directories with all that is in them
    #[arg(short = 'r', short_alias = 'R', long)]
    recursive: bool,
    /// What is not there is no failure
    #[arg(short = 'f', long)]
    force: bool,
    /// Empty directories too
    #[arg(short = 'd', long)]
    dir: bool,
    #[command(flatten)]
    write: WriteArgs,
    /// What is removed
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Runs `rm`.
pub fn run(session: &mut Session, args: &RmArgs) -> Run {
    for target in session.all_writable(&args.paths, args.write)? {
        session.check_interrupt()?;
        if let Err(e) = remove(session, args, &target)? {
            session.fail(&target.path, &e);
        }
    }
    Ok(())
}

fn remove(session: &mut Session, args: &RmArgs, target: &Target) -> Run<rumpcap::Result<()>> {
    let (mount, path) = (&target.mount, &target.path);
    let metadata = match mount.symlink_metadata(path) {
        Err(Error::NotFound) if args.force => return Ok(Ok(())),
        Err(e) => return Ok(Err(e)),
        Ok(metadata) => metadata,
    };
    if !metadata.is_dir() {
        return Ok(mount.remove_file(path));
    }
    if !args.recursive {
        return Ok(if args.dir { mount.remove_dir(path) } else { Err(Error::IsADirectory) });
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(Err(Error::Busy { what: "the root directory, or one that is named by . or .." }));
    };
    // A path that ends with a dot means a directory that has another name.
    if path.as_os_str().as_bytes().ends_with(b"/.") {
        return Ok(Err(Error::InvalidInput { what: "a name that is ." }));
    }
    let parent = match mount.metadata(parent) {
        Ok(parent) => parent.ino(),
        Err(e) => return Ok(Err(e)),
    };
    let level = Level::new(parent, name.as_bytes(), metadata.ino(), path.as_os_str().len());
    tree(session, mount, path, level).map(Ok)
}

/// A directory whose content is being removed.
struct Level {
    parent: u64,
    name: Box<[u8]>,
    ino: u64,
    path_len: usize,
    /// Directories in it that are still to be removed.
    directories: Vec<Box<[u8]>>,
    /// What could not be removed, and has been named.
    failed: HashSet<Box<[u8]>>,
}

impl Level {
    fn new(parent: u64, name: &[u8], ino: u64, path_len: usize) -> Level {
        Level { parent, name: name.into(), ino, path_len, directories: Vec::new(), failed: HashSet::new() }
    }

    /// Removes the files of the next names; whether there were any names.
    fn next_names(
        &mut self,
        session: &mut Session,
        mount: &Mount,
        path: &mut Vec<u8>,
    ) -> Run<rumpcap::Result<bool>> {
        let mut names = Vec::new();
        let listed = mount.read_dir_ino(self.ino).and_then(|entries| {
            for entry in entries {
                let entry = entry?;
                let name = entry.file_name().as_bytes();
                if !self.failed.contains(name) {
                    names.push((entry.ino(), entry.file_type()?.is_dir(), Box::<[u8]>::from(name)));
                }
                if names.len() == BATCH {
                    break;
                }
            }
            Ok(())
        });
        if let Err(e) = listed {
            return Ok(Err(e));
        }
        names.sort_unstable();
        let met = !names.is_empty();
        for (_, is_directory, name) in names {
            session.check_interrupt()?;
            if is_directory {
                self.directories.push(name);
            } else if let Err(e) = mount.remove_file_at(self.ino, OsStr::from_bytes(&name)) {
                path.truncate(self.path_len);
                crate::traverse::join(path, &name);
                session.fail(as_path(path), &e);
                self.failed.insert(name);
            }
        }
        Ok(Ok(met))
    }
}

/// Removes a directory with all that is in it; failures are named.
fn tree(session: &mut Session, mount: &Mount, path: &Path, top: Level) -> Run {
    let mut path = path.as_os_str().as_bytes().to_vec();
    let mut levels = vec![top];
    while let Some(level) = levels.last_mut() {
        session.check_interrupt()?;
        if let Some(name) = level.directories.pop() {
            path.truncate(level.path_len);
            crate::traverse::join(&mut path, &name);
            match mount.metadata_at(level.ino, OsStr::from_bytes(&name)) {
                Ok(m) => {
                    let below = Level::new(level.ino, &name, m.ino(), path.len());
                    levels.push(below);
                }
                Err(e) => {
                    session.fail(as_path(&path), &e);
                    level.failed.insert(name);
                }
            }
            continue;
        }
        let more = level.next_names(session, mount, &mut path)?;
        if matches!(more, Ok(true)) {
            continue;
        }
        path.truncate(level.path_len);
        let removed = more.and_then(|_| match level.failed.is_empty() {
            true => mount.remove_dir_at(level.parent, OsStr::from_bytes(&level.name)),
            // Said already, of what is in it.
            false => Err(Error::NotEmpty),
        });
        if let Err(e) = removed {
            if level.failed.is_empty() {
                session.fail(as_path(&path), &e);
            }
            let name = std::mem::take(&mut level.name);
            levels.pop();
            if let Some(above) = levels.last_mut() {
                above.failed.insert(name);
            }
        } else {
            levels.pop();
        }
    }
    Ok(())
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}
