//! Who writes, and how one run is done.
//!
//! Who calls it: `bench_write`. Whom it calls: cargo, the example program, `rumpcap cp`, mount, fuse2fs, debugfs.

use super::Case;
use crate::Result;
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Time for fuse2fs to be ready, or gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// One that does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The library, or its command for a tree, under a limit in KiB; 0 is none.
    Library(u32),
    /// The kernel's ext4.
    Kernel,
    /// fuse2fs, of e2fsprogs.
    Fuse2fs,
    /// debugfs -w, of e2fsprogs.
    Debugfs,
}

impl Subject {
    /// Who does `case`.
    pub(crate) fn of(case: Case, no_peers: bool) -> Vec<Subject> {
        let mut all = vec![Subject::Library(512), Subject::Library(1024), Subject::Library(0)];
        if !no_peers {
            all.extend([Subject::Kernel, Subject::Fuse2fs]);
            // It has no command that keeps what a copy of a tree must keep.
            if case != Case::Tree {
                all.push(Subject::Debugfs);
            }
        }
        all
    }

    pub(crate) fn name(self) -> String {
        match self {
            Subject::Library(0) => "rumpcap, no limit".to_owned(),
            Subject::Library(kib) if kib % 1024 == 0 => format!("rumpcap, {} MiB", kib / 1024),
            Subject::Library(kib) => format!("rumpcap, {kib} KiB"),
            Subject::Kernel => "kernel ext4, loop mount".to_owned(),
            Subject::Fuse2fs => "fuse2fs".to_owned(),
            Subject::Debugfs => "debugfs -w".to_owned(),
        }
    }
}

/// What one run came to.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// Bytes that were written to the image.
    pub(crate) image_bytes: Option<u64>,
    pub(crate) flushes: Option<u64>,
    pub(crate) error: Option<String>,
}

impl Outcome {
    fn failed(why: impl Into<String>) -> Outcome {
        Outcome { error: Some(why.into()), ..Outcome::default() }
    }
}

/// Where the images and programs are.
pub(crate) struct Place {
    folder: PathBuf,
    example: PathBuf,
    command: PathBuf,
    tree: PathBuf,
}

impl Place {
    pub(crate) fn build(root: &Path, target: &Path, tree: &Path) -> Result<Place> {
        for arguments in
            [&["--package", "rumpcap", "--example", "bench_write"][..], &["--package", "rumpcap-cli"][..]]
        {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["build", "--quiet", "--release", "--target-dir"]).arg(target).args(arguments);
            let status = cargo.current_dir(root).status().map_err(|e| format!("cargo: {e}"))?;
            if !status.success() {
                return Err(format!("cargo build {arguments:?}: {status}").into());
            }
        }
        let folder = target.join("bench").join("write");
        std::fs::create_dir_all(folder.join("mounted"))?;
        let (example, command) =
            (target.join("release/examples/bench_write"), target.join("release/rumpcap"));
        Ok(Place { folder, example, command, tree: tree.to_owned() })
    }

    pub(crate) fn template(&self) -> PathBuf {
        self.folder.join("template.img")
    }

    fn image(&self) -> PathBuf {
        self.folder.join("image.img")
    }

    fn mounted(&self) -> PathBuf {
        self.folder.join("mounted")
    }

    pub(crate) fn forget_template(&self) {
        let _ = std::fs::remove_file(self.template());
        let _ = std::fs::remove_file(self.image());
    }

    /// Fills the template of the case that deletes.
    pub(crate) fn fill(&self, image: &Path) -> Result {
        let outcome = self.example("many", image, &[]);
        outcome.error.map_or(Ok(()), |why| Err(why.into()))
    }

    /// One run, on a fresh copy of the template that is durable.
    pub(crate) fn run(&self, case: Case, subject: Subject) -> Outcome {
        let copied = command("cp", &["--sparse=always"]).arg(self.template()).arg(self.image()).status();
        if !copied.is_ok_and(|status| status.success()) {
            return Outcome::failed("the image cannot be copied");
        }
        self.sync_image();
        let outcome = match (subject, case) {
            (Subject::Library(limit), Case::Tree) => self.library_tree(limit),
            (Subject::Library(0), _) => self.example(case.name(), &self.image(), &[]),
            (Subject::Library(kib), _) => {
                self.example(case.name(), &self.image(), &[format!("--limit={}", u64::from(kib) << 10)])
            }
            (Subject::Kernel, _) => self.kernel(case),
            (Subject::Fuse2fs, _) => self.fuse2fs(case),
            (Subject::Debugfs, _) => self.debugfs(case),
        };
        match self.check() {
            Err(why) if outcome.error.is_none() => Outcome::failed(why),
            _ => outcome,
        }
    }

    fn sync_image(&self) {
        let _ = std::fs::File::open(self.image()).and_then(|file| file.sync_all());
    }

    /// What was written must be a sound file system, whoever wrote it.
    fn check(&self) -> std::result::Result<(), String> {
        let output =
            command("e2fsck", &["-fn"]).arg(self.image()).output().map_err(|e| format!("e2fsck: {e}"))?;
        // A loop mount that was synced and then taken down is clean too.
        if output.status.success() {
            Ok(())
        } else {
            Err(format!("e2fsck: {}", String::from_utf8_lossy(&output.stdout)))
        }
    }

    fn example(&self, workload: &str, place: &Path, more: &[String]) -> Outcome {
        let output = command(&self.example, &[workload]).arg(place).args(more).stdin(Stdio::null()).output();
        let Ok(output) = output else { return Outcome::failed("the program does not run") };
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| Outcome::failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// The command, as a user has it; its start and mount are in the time.
    fn library_tree(&self, limit_kib: u32) -> Outcome {
        let mut copy = command(&self.command, &[]);
        if limit_kib > 0 {
            copy.arg("--memory-limit").arg(format!("{limit_kib}k"));
        } else {
            copy.args(["--memory-limit", "1g"]);
        }
        copy.args(["cp", "-a"]).arg(&self.tree).arg(format!("{}:/", self.image().display()));
        let written = written_by_children();
        let began = Instant::now();
        let output = copy.output();
        let seconds = began.elapsed().as_secs_f64();
        match output {
            Ok(output) if output.status.success() => Outcome {
                seconds,
                image_bytes: written_by_children().zip(written).map(|(now, before)| now - before),
                ..Outcome::default()
            },
            Ok(output) => Outcome::failed(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(e) => Outcome::failed(e.to_string()),
        }
    }

    /// Does the work in the directory that something is mounted on.
    fn in_directory(&self, case: Case) -> Outcome {
        if case != Case::Tree {
            return self.example(case.name(), &self.mounted(), &[]);
        }
        let began = Instant::now();
        let copied = command("cp", &["-a"]).arg(&self.tree).arg(self.mounted()).status();
        let synced = command("sync", &["-f"]).arg(self.mounted()).status();
        let seconds = began.elapsed().as_secs_f64();
        match (copied, synced) {
            (Ok(copied), Ok(synced)) if copied.success() && synced.success() => {
                Outcome { seconds, ..Outcome::default() }
            }
            (copied, _) => Outcome::failed(format!("cp: {copied:?}")),
        }
    }

    /// The mount and its end are not in the time.
    fn kernel(&self, case: Case) -> Outcome {
        let attached = command("losetup", &["--find", "--show"]).arg(self.image()).output();
        let device = match attached {
            Ok(output) if output.status.success() => {
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
            }
            _ => return Outcome::failed("no loop device: not root?"),
        };
        let mounted = command("mount", &["-t", "ext4", "-o", "noinit_itable"])
            .arg(&device)
            .arg(self.mounted())
            .status();
        let outcome = if mounted.is_ok_and(|status| status.success()) {
            let before = sectors_written(&device);
            let outcome = self.in_directory(case);
            let sectors = sectors_written(&device).zip(before).map(|(now, before)| now - before);
            let _ = command("umount", &[]).arg(self.mounted()).status();
            Outcome { image_bytes: sectors.map(|sectors| sectors * 512), ..outcome }
        } else {
            Outcome::failed("not mounted")
        };
        let _ = command("losetup", &["--detach", &device]).status();
        outcome
    }

    /// It has no sync of its own that is known to reach the image, so its end and a sync of the image are in the time.
    fn fuse2fs(&self, case: Case) -> Outcome {
        let child = command("fuse2fs", &["-f", "-o", "fakeroot,rw"])
            .arg(self.image())
            .arg(self.mounted())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return Outcome::failed("fuse2fs is not installed") };
        let io = format!("/proc/{}/io", child.id());
        let outcome = if wait_until(|| is_mounted(&self.mounted())) {
            let began = Instant::now();
            let mut outcome = self.in_directory(case);
            let read_io = || std::fs::read_to_string(&io).unwrap_or_default();
            outcome.image_bytes = field(&read_io(), "wchar:");
            // Not everybody has fusermount3; root needs it not.
            let unmounted = command("fusermount3", &["-u"]).arg(self.mounted()).status();
            if !unmounted.is_ok_and(|status| status.success()) {
                let _ = command("umount", &[]).arg(self.mounted()).status();
            }
            let _ = child.wait();
            self.sync_image();
            outcome.seconds = began.elapsed().as_secs_f64();
            outcome
        } else {
            Outcome::failed("fuse2fs does not mount")
        };
        let _ = child.kill();
        let _ = child.wait();
        outcome
    }

    fn debugfs(&self, case: Case) -> Outcome {
        let script = match self.debugfs_script(case) {
            Ok(script) => script,
            Err(e) => return Outcome::failed(e.to_string()),
        };
        let began = Instant::now();
        let done = command("debugfs", &["-w", "-f"])
            .arg(&script)
            .arg(self.image())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        self.sync_image();
        let seconds = began.elapsed().as_secs_f64();
        match done {
            Ok(status) if status.success() => Outcome { seconds, ..Outcome::default() },
            _ => Outcome::failed("debugfs does not run"),
        }
    }

    /// The same work as commands: the files' content comes from files of the host.
    fn debugfs_script(&self, case: Case) -> std::io::Result<PathBuf> {
        let (script, content) = (self.folder.join("script"), self.folder.join("content"));
        std::fs::create_dir_all(&content)?;
        let mut out = std::io::BufWriter::new(std::fs::File::create(&script)?);
        match case {
            Case::Big => {
                std::fs::write(content.join("big"), vec![7; 256 << 20])?;
                writeln!(out, "write {} big", content.join("big").display())?;
            }
            Case::DeleteHalf => {
                for (directory, file) in (0..200).flat_map(|d| (0..100).step_by(2).map(move |f| (d, f))) {
                    writeln!(out, "rm d{directory:03}/file-{file:04}")?;
                }
            }
            Case::Many | Case::Tree => {
                // Files of the mean length, since it copies whole files.
                std::fs::write(content.join("small"), vec![7; 3700])?;
                for directory in 0..200 {
                    writeln!(out, "mkdir d{directory:03}")?;
                    for file in 0..100 {
                        writeln!(
                            out,
                            "write {} d{directory:03}/file-{file:04}",
                            content.join("small").display()
                        )?;
                    }
                }
            }
        }
        out.flush()?;
        Ok(script)
    }
}

fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

fn wait_until(done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

fn is_mounted(place: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == place.to_str())
}

/// Sectors of 512 bytes that were written to a block device.
fn sectors_written(device: &str) -> Option<u64> {
    let name = device.rsplit('/').next()?;
    let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).ok()?;
    stat.split_whitespace().nth(6)?.parse().ok()
}

/// Bytes that children of this process which have ended asked to be written.
fn written_by_children() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/io").ok()?, "wchar:")
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
