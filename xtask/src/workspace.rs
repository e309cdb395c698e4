//! The workspace as cargo sees it: where it is, its packages, what depends on what.
//!
//! Who calls it: every task. It runs `cargo` itself (the one that runs us) and reads `cargo metadata`.

use crate::Result;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `cargo metadata` tells, as far as the tasks read it.
#[derive(Deserialize)]
pub(crate) struct Metadata {
    /// Every package of the graph; of the workspace alone when asked for without dependencies.
    pub packages: Vec<Package>,
    /// Ids of the packages of the workspace.
    pub workspace_members: Vec<String>,
    /// Where cargo puts what it builds.
    pub target_directory: PathBuf,
}

/// One package.
#[derive(Deserialize)]
pub(crate) struct Package {
    pub id: String,
    pub name: String,
    pub version: String,
    /// SPDX expression, if the package gives one.
    pub license: Option<String>,
    /// File with a licence of the package's own, if it names one.
    pub license_file: Option<PathBuf>,
    pub manifest_path: PathBuf,
    #[serde(default)]
    pub dependencies: Vec<Dependency>,
}

/// One dependency, as the manifest declares it.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    pub name: String,
    /// `None` normal, else `dev` or `build`.
    pub kind: Option<String>,
}

impl Package {
    /// The package's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("/"))
    }
}

/// The root of the repository: the folder above this package.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// `cargo`, to be run in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    // Set by the `cargo run` above us for us alone; a nested cargo must not take it for the user's wish.
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(name);
    }
    command
}

/// `cargo metadata` with `arguments`.
///
/// # Errors
/// What cargo says when it fails.
pub(crate) fn metadata(arguments: &[&str]) -> Result<Metadata> {
    let output = cargo().args(["metadata", "--format-version", "1"]).args(arguments).output()?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Runs `command` to its end.
///
/// # Errors
/// When it cannot be started or does not exit with 0; `what` names it.
pub(crate) fn run(command: &mut Command, what: &str) -> Result {
    let status = command.status().map_err(|e| format!("{what}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what}: {status}").into()) }
}
