//! Who mounts, and how: mounted until dropped.
//!
//! Who calls it: `work`, `memory`.

use super::{Case, Place};
use crate::bench_write::host::{command, is_mounted, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Memory of our own mounts.
pub(crate) const LIMIT_BYTES: u64 = 1 << 20;
/// Threads and bytes of a request of our own mounts: what the command has by itself.
pub(crate) const THREADS: u64 = 2;
pub(crate) const REQUEST_BYTES: u64 = 256 << 10;

/// One that mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// `rumpcap mount`, in 1 MiB.
    Rumpcap,
    /// The same, mounted to be written although nothing is: directories are then listed by hashes.
    RumpcapWritable,
    /// fuse2fs, of e2fsprogs.
    Fuse2fs,
    /// The kernel's ext4.
    Kernel,
}

impl Subject {
    /// Who does `case`.
    pub(crate) fn of(case: Case, no_peers: bool) -> Vec<Subject> {
        let mut all = vec![Subject::Rumpcap];
        if matches!(case, Case::Walk | Case::One) {
            all.push(Subject::RumpcapWritable);
        }
        if !no_peers {
            all.extend([Subject::Fuse2fs, Subject::Kernel]);
        }
        all
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Rumpcap => "rumpcap mount, 1 MiB",
            Subject::RumpcapWritable => "rumpcap mount --rw, 1 MiB",
            Subject::Fuse2fs => "fuse2fs",
            Subject::Kernel => "kernel ext4, loop mount",
        }
    }
}

/// A mounted image.
pub(super) struct Mounted {
    directory: PathBuf,
    server: Option<Child>,
}

impl Mounted {
    /// Mounts `image`.
    pub(super) fn new(
        place: &Place,
        subject: Subject,
        image: &Path,
        writes: bool,
    ) -> std::result::Result<Mounted, String> {
        let directory = place.folder.join("mounted");
        let mut mount = match subject {
            Subject::Rumpcap | Subject::RumpcapWritable => {
                let mut mount = command(&place.command, &["--memory-limit", "1m", "mount", "-f"]);
                if writes || subject == Subject::RumpcapWritable {
                    mount.arg("--rw");
                }
                mount
            }
            Subject::Fuse2fs => {
                command("fuse2fs", &["-f", "-o", if writes { "fakeroot,rw" } else { "fakeroot,ro" }])
            }
            Subject::Kernel => {
                command("mount", &["-t", "ext4", "-o", if writes { "loop,noinit_itable" } else { "loop,ro" }])
            }
        };
        mount.arg(image).arg(&directory);
        if subject == Subject::Kernel {
            let status = mount.status().map_err(|e| format!("mount: {e}"))?;
            return match status.success() {
                true => Ok(Mounted { directory, server: None }),
                false => Err("not mounted: not root, or no loop device".to_owned()),
            };
        }
        let server = mount.stdout(Stdio::null()).stdin(Stdio::null()).spawn();
        let mounted =
            Mounted { server: Some(server.map_err(|e| format!("{}: {e}", subject.name()))?), directory };
        if wait_until(|| is_mounted(&mounted.directory)) {
            Ok(mounted)
        } else {
            Err("it does not mount".to_owned())
        }
    }

    /// Where it is mounted.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The server's process.
    pub(super) fn server(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Unmounts it; waits for the server's end, but not for one that does not answer.
    pub(super) fn end(&mut self, is_stuck: bool) {
        if let Some(server) = self.server.as_mut().filter(|_| is_stuck) {
            let _ = server.kill();
        }
        let tried = wait_until(|| {
            !is_mounted(&self.directory) || {
                let _ = command("umount", if is_stuck { &["-l"] } else { &[] })
                    .arg(&self.directory)
                    .stderr(Stdio::null())
                    .status();
                !is_mounted(&self.directory)
            }
        });
        if !tried {
            eprintln!("{} stays mounted", self.directory.display());
        }
        if let Some(mut server) = self.server.take() {
            let _ = server.wait();
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.server.is_some() || is_mounted(&self.directory) {
            self.end(false);
        }
    }
}
