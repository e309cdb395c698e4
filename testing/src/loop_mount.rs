//! [`LoopMount`]: an image mounted by the host's kernel, until dropped.
//!
//! Who calls it: the image builders (to fill an image) and the kernel oracle (to read it). Needs root and loop
//! devices: [`available`]. Failure to mount is an ordinary result, as the host's kernel does not know every feature.

use crate::tools::{command, is_root, output};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A mounted image. Unmounted when dropped.
pub struct LoopMount {
    directory: tempfile::TempDir,
}

impl LoopMount {
    /// Mounts `image` with `options` (as `mount -o` takes them; `loop` is added).
    ///
    /// # Errors
    /// What `mount` said.
    pub fn new(image: &Path, options: &str) -> Result<LoopMount, String> {
        let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
        let options = if options.is_empty() { "loop".to_owned() } else { format!("loop,{options}") };
        let mut mount = command("mount");
        mount.args(["-t", "ext4", "-o", &options]).arg(image).arg(directory.path());
        let result = output(&mut mount);
        if result.status.success() {
            Ok(LoopMount { directory })
        } else {
            Err(String::from_utf8_lossy(&result.stderr).trim().to_owned())
        }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }
}

impl Drop for LoopMount {
    fn drop(&mut self) {
        for _ in 0..100 {
            let result = output(command("umount").arg(self.directory.path()));
            if result.status.success() {
                return;
            }
            // Somebody (an indexer, say) looks at it right now.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        eprintln!("cannot unmount {}", self.directory.path().display());
    }
}

/// Whether this host lets us mount images at all. Tried once, with a real image.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| is_root() && try_mount().is_ok())
}

fn try_mount() -> Result<(), String> {
    let image = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
    image.as_file().set_len(2 << 20).map_err(|e| e.to_string())?;
    let made = output(command("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(image.path()));
    if !made.status.success() {
        return Err("mke2fs does not work".to_owned());
    }
    LoopMount::new(image.path(), "ro").map(drop)
}
