//! Where the images and programs are, and one run from a fresh image to its check.
//!
//! Who calls it: `bench_write`. Whom it calls: cargo, `runs`, e2fsck.

use super::host::{become_quiet, command};
use super::subjects::{Outcome, Subject};
use super::{Args, Case};
use crate::Result;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the images and programs are.
pub(crate) struct Place {
    pub(super) folder: PathBuf,
    pub(super) example: PathBuf,
    pub(super) command: PathBuf,
    /// None where it could not be built.
    pub(super) lwext4: Option<PathBuf>,
    tree: PathBuf,
    sample: PathBuf,
}

impl Place {
    pub(crate) fn build(root: &Path, target: &Path, args: &Args) -> Result<Place> {
        let cargo = |arguments: &[&str], target: &Path| -> Result {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo
                .args(["build", "--quiet", "--release", "--locked", "--target-dir"])
                .arg(target)
                .args(arguments);
            let status = cargo.current_dir(root).status().map_err(|e| format!("cargo: {e}"))?;
            if status.success() { Ok(()) } else { Err(format!("cargo build {arguments:?}: {status}").into()) }
        };
        cargo(&["--package", "rumpcap", "--example", "bench_write"], target)?;
        cargo(&["--package", "rumpcap-cli"], target)?;
        // Where `cargo xtask bench` has the peers too.
        let peers_target = target.join("bench").join("peers");
        let peer = ["--manifest-path", "bench/peers/Cargo.toml", "--bin", "lwext4"];
        let lwext4 = match args.no_peers {
            true => None,
            false => match cargo(&peer, &peers_target) {
                Ok(()) => Some(peers_target.join("release/lwext4")),
                Err(e) => {
                    eprintln!("no lwext4: {e}");
                    None
                }
            },
        };
        let folder = target.join("bench").join("write");
        std::fs::create_dir_all(folder.join("mounted"))?;
        let (example, command) =
            (target.join("release/examples/bench_write"), target.join("release/rumpcap"));
        Ok(Place { folder, example, command, lwext4, tree: args.tree.clone(), sample: args.sample.clone() })
    }

    pub(crate) fn template(&self) -> PathBuf {
        self.folder.join("template.img")
    }

    pub(super) fn image(&self) -> PathBuf {
        self.folder.join("image.img")
    }

    pub(super) fn mounted(&self) -> PathBuf {
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

    /// One run, on a fresh copy of the template that is durable, when the host has nothing else to write.
    pub(crate) fn run(&self, case: Case, subject: Subject) -> Outcome {
        let _ = std::fs::remove_file(self.image());
        if case != Case::Mkfs {
            let copied = command("cp", &["--sparse=always"]).arg(self.template()).arg(self.image()).status();
            if !copied.is_ok_and(|status| status.success()) {
                return Outcome::failed("the image cannot be copied");
            }
        }
        become_quiet(&self.folder);
        let outcome = match (subject, case) {
            (Subject::Library(limit), Case::Tree | Case::Sample) => self.library_tree(case, limit),
            (Subject::Library(0), _) => self.example(case.name(), &self.image(), &[]),
            (Subject::Library(kib), _) => {
                self.example(case.name(), &self.image(), &[format!("--limit={}", u64::from(kib) << 10)])
            }
            (Subject::Mkfs, _) => self.mkfs(&self.command, &["mkfs", "-q", "-t", "ext4", "-d"]),
            (Subject::Mke2fs, _) => self.mkfs(Path::new("mke2fs"), &["-q", "-F", "-t", "ext4", "-d"]),
            (Subject::Kernel, _) => self.kernel(case),
            (Subject::Fuse2fs, _) => self.fuse2fs(case),
            (Subject::Debugfs, _) => self.debugfs(case),
            (Subject::Lwext4, _) => self.lwext4(case),
        };
        match self.check() {
            Err(why) if outcome.error.is_none() => Outcome::failed(why),
            _ => outcome,
        }
    }

    /// What is copied.
    pub(super) fn tree(&self, case: Case) -> &Path {
        if case == Case::Sample { &self.sample } else { &self.tree }
    }

    pub(super) fn sync_image(&self) {
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

    /// The program that does all but trees.
    pub(super) fn example(&self, workload: &str, place: &Path, more: &[String]) -> Outcome {
        let output = command(&self.example, &[workload]).arg(place).args(more).stdin(Stdio::null()).output();
        let Ok(output) = output else { return Outcome::failed("the program does not run") };
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| Outcome::failed(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}
