//! [`Driver`]: who mounts.

use crate::tools::command;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Says which [`Driver`] mounts: `rumpcap`, `kernel` or `fuse2fs`.
pub const DRIVER_VARIABLE: &str = "RUMPCAP_MOUNTED_BY";

/// Names the command `rumpcap` that is to be judged. Without it, cargo is asked to build it.
const PROGRAM_VARIABLE: &str = "RUMPCAP_PROGRAM";

/// Who mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The host's kernel, by a loop device: what a suite must do on ext4.
    Kernel,
    /// e2fsprogs' fuse2fs: what a suite does behind FUSE.
    Fuse2fs,
    /// `rumpcap mount`: what is judged.
    Rumpcap,
}

impl Driver {
    /// The one that the environment wants.
    ///
    /// # Panics
    /// When it names one that does not exist.
    pub fn chosen() -> Driver {
        match std::env::var(DRIVER_VARIABLE).as_deref() {
            Err(_) | Ok("" | "rumpcap") => Driver::Rumpcap,
            Ok("kernel") => Driver::Kernel,
            Ok("fuse2fs") => Driver::Fuse2fs,
            Ok(other) => panic!("{DRIVER_VARIABLE}: kernel, fuse2fs or rumpcap, and not {other}"),
        }
    }

    /// Whether requests go through FUSE.
    pub fn is_fuse(self) -> bool {
        self != Driver::Kernel
    }

    /// Whether all that ext4 keeps is seen through the mount.
    pub fn shows_everything(self) -> bool {
        self != Driver::Fuse2fs
    }
}

/// The command `rumpcap`.
///
/// # Panics
/// When it cannot be built.
pub fn rumpcap() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| match std::env::var_os(PROGRAM_VARIABLE) {
        Some(program) => program.into(),
        None => build(),
    });
    command(program.to_str().expect("the path of rumpcap is UTF-8"))
}

/// Asks cargo for it, so that what is judged is never older than the source.
fn build() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    let folder = this.ancestors().nth(2).expect("<target>/<profile>/deps/<this program>");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "--package", "rumpcap-cli", "--bin", "rumpcap"]);
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    cargo.arg("--target-dir").arg(folder.parent().unwrap_or(Path::new("target")));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = cargo.status().expect("running cargo");
    assert!(status.success(), "rumpcap cannot be built");
    folder.join("rumpcap")
}
