//! Makes an image from its [`Spec`]: mke2fs, the steps before, the files, the steps after, and e2fsck as a judge.

use crate::images::{Filling, Spec, Step};
use crate::loop_mount::{self, LoopMount};
use crate::tools::{self, DebugfsMode, command, debugfs, run, run_allowing};
use crate::tree::{self, Room};
use std::path::Path;

/// Fixed, so that hashed directories and checksums do not change from run to run.
const UUID: &str = "6d6b0a4f-9c2e-4d61-8f0b-0a1b2c3d4e5f";
const HASH_SEED: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// Makes the image of `spec` at `path`.
///
/// # Panics
/// When a tool fails, or e2fsck is not content.
pub fn build(spec: &Spec, path: &Path) {
    let by_mount = spec.filling == Filling::Mount && loop_mount::available();
    if by_mount {
        make(spec, path, None);
        apply(&spec.before, path);
        fill_by_mount(spec, path);
    } else {
        let source = tempfile::tempdir().expect("a directory to copy from");
        tree::fill(spec.tree, source.path(), &Room::host(spec));
        make(spec, path, Some(source.path()));
        if spec.features.contains("ea_inode") {
            // Some versions of `mke2fs -d` leave counts behind that e2fsck mends.
            apply(&[Step::Fsck("")], path);
        }
        apply(&spec.before, path);
    }
    apply(&spec.after, path);
    if spec.clean {
        run(command("e2fsck").args(["-f", "-n"]).arg(path));
    }
}

pub(crate) fn make(spec: &Spec, path: &Path, source: Option<&Path>) {
    let mut mke2fs = command("mke2fs");
    mke2fs.args(["-q", "-F", "-t", spec.kind.name(), "-U", UUID, "-L", "rumpcap test"]);
    mke2fs.args(["-b", &spec.block_bytes.to_string()]);
    if spec.inode_bytes != 0 {
        mke2fs.args(["-I", &spec.inode_bytes.to_string()]);
    }
    if !spec.features.is_empty() {
        mke2fs.args(["-O", spec.features]);
    }
    let seed = format!("hash_seed={HASH_SEED}");
    let extended = if spec.extended.is_empty() { seed } else { format!("{seed},{}", spec.extended) };
    mke2fs.args(["-E", &extended]);
    mke2fs.args(spec.arguments.split_whitespace());
    if let Some(source) = source {
        mke2fs.arg("-d").arg(source);
    }
    // Blocks above 4 KiB are allowed and warned about; mke2fs asks nothing as it has no terminal.
    run(mke2fs.arg(path).arg(format!("{}M", spec.size_mib)));
}

fn fill_by_mount(spec: &Spec, path: &Path) {
    let mounted = LoopMount::new(path, spec.mount_options);
    let mounted = mounted.unwrap_or_else(|e| panic!("{}: cannot be filled: {e}", spec.name));
    tree::fill(spec.tree, mounted.path(), &Room::mounted(spec));
}

/// Applies `steps` to the image at `path`.
///
/// # Panics
/// When a tool fails.
pub fn apply(steps: &[Step], path: &Path) {
    for step in steps {
        match step {
            Step::Tune(arguments) => {
                run(command("tune2fs").args(arguments.split_whitespace()).arg(path));
            }
            Step::Fsck(arguments) => {
                let mut fsck = command("e2fsck");
                fsck.args(["-f", "-y"]).args(arguments.split_whitespace()).arg(path);
                run_allowing(&mut fsck, &[0, 1]);
            }
            Step::Debugfs(line) => {
                debugfs(path, DebugfsMode::Write, &[(*line).to_owned()]);
            }
        }
    }
}

/// What the tools need to be there for any image.
pub fn tools_exist() -> bool {
    ["mke2fs", "debugfs", "tune2fs", "e2fsck"].iter().all(|tool| tools::exists(tool))
}
