//! How each subject does a case: the command, mount, fuse2fs, debugfs, lwext4, mke2fs.
//!
//! Who calls it: `place`, on an image that is ready.

use super::Case;
use super::host::{command, field, is_mounted, observe, sectors_written, wait_until, written_by_children};
use super::place::Place;
use super::subjects::Outcome;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

impl Place {
    /// The command, as a user has it; its start and mount are in the time.
    pub(super) fn library_tree(&self, case: Case, limit_kib: u32) -> Outcome {
        let mut copy = command(&self.command, &[]);
        if limit_kib > 0 {
            copy.arg("--memory-limit").arg(format!("{limit_kib}k"));
        } else {
            copy.args(["--memory-limit", "1g"]);
        }
        copy.args(["cp", "-a"]).arg(self.tree(case)).arg(format!("{}:/", self.image().display()));
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
        if !matches!(case, Case::Tree | Case::Sample) {
            return self.example(case.name(), &self.mounted(), &[]);
        }
        let began = Instant::now();
        let copied = command("cp", &["-a"]).arg(self.tree(case)).arg(self.mounted()).status();
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
    pub(super) fn kernel(&self, case: Case) -> Outcome {
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
    pub(super) fn fuse2fs(&self, case: Case) -> Outcome {
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

    pub(super) fn debugfs(&self, case: Case) -> Outcome {
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

    /// lwext4 has no owners, times, attributes and hard links of a tree to copy: less work than the others'.
    pub(super) fn lwext4(&self, case: Case) -> Outcome {
        let Some(program) = &self.lwext4 else { return Outcome::failed("it could not be built") };
        let mut lwext4 = command(program, &[case.name()]);
        lwext4.arg(self.image());
        if matches!(case, Case::Tree | Case::Sample) {
            lwext4.arg(self.tree(case));
        }
        let written = written_by_children();
        let Ok(output) = lwext4.stdin(Stdio::null()).output() else {
            return Outcome::failed("it does not run");
        };
        let image_bytes = written_by_children().zip(written).map(|(now, before)| now - before);
        match serde_json::from_slice(&output.stdout) {
            Ok(outcome) => Outcome { image_bytes, ..outcome },
            Err(_) => Outcome::failed(format!("it ended without a result: {}", output.status)),
        }
    }

    /// A new file system with the whole tree; durable at the end, whether it sees to that itself or not.
    pub(super) fn mkfs(&self, program: &Path, arguments: &[&str]) -> Outcome {
        let mut mkfs = command(program, arguments);
        mkfs.arg(self.tree(Case::Mkfs)).arg(self.image()).arg(Case::Mkfs.image_size());
        let began = Instant::now();
        let done = mkfs.stdout(Stdio::null()).spawn().and_then(observe);
        self.sync_image();
        let seconds = began.elapsed().as_secs_f64();
        match done {
            Ok((status, anonymous_bytes)) if status.success() => {
                Outcome { seconds, anonymous_bytes: Some(anonymous_bytes), ..Outcome::default() }
            }
            Ok((status, _)) => Outcome::failed(status.to_string()),
            Err(e) => Outcome::failed(e.to_string()),
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
            Case::Many | Case::Tree | Case::Sample | Case::Mkfs => {
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
