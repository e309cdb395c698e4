//! Keeps images: each is made once and found by a hash of everything that it is made from.
//!
//! Who calls it: [`crate::images::Spec::image`] and the makers of journals. Any number of threads and processes may
//! ask at once: a lock file per image lets one make it and the others wait. The directory is that of
//! [`CACHE_VARIABLE`], else a folder beside the test binaries, so that `cargo clean` removes it.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Names the environment variable that says where images are kept.
pub const CACHE_VARIABLE: &str = "RUMPCAP_IMAGE_CACHE";

/// What the content of every image depends on besides its description: the source of the makers.
const MAKERS: &[&str] = &[
    include_str!("build.rs"),
    include_str!("journal.rs"),
    include_str!("../tree/mod.rs"),
    include_str!("../tree/attributes.rs"),
    include_str!("../tree/crowd.rs"),
    include_str!("../tree/directories.rs"),
    include_str!("../tree/files.rs"),
    include_str!("../tree/links.rs"),
    include_str!("../tree/special.rs"),
];

/// The directory where images are kept.
pub fn directory() -> PathBuf {
    if let Some(directory) = std::env::var_os(CACHE_VARIABLE) {
        return PathBuf::from(directory);
    }
    // target/<profile>/deps/<test binary>: three up is the target directory.
    let executable = std::env::current_exe().unwrap_or_default();
    let target = executable.ancestors().nth(3).filter(|_| executable.iter().any(|part| part == "deps"));
    target.map_or_else(std::env::temp_dir, Path::to_path_buf).join("test-images")
}

/// The path of the image that `key` describes; `make` makes it at the path that it is given, if it is not there.
///
/// # Panics
/// When `make` does, or the directory cannot be used.
pub fn get(name: &str, key: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let directory = directory();
    std::fs::create_dir_all(&directory).expect("the directory for images");
    let path = directory.join(format!("{name}-{}.img", fingerprint(key)));
    let lock = std::fs::File::create(path.with_extension("lock")).expect("a lock file");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).expect("locking");
    if !path.exists() {
        let unfinished = path.with_extension("new");
        let _ = std::fs::remove_file(&unfinished);
        make(&unfinished);
        std::fs::rename(&unfinished, &path).expect("naming a finished image");
    }
    path
}

fn fingerprint(key: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(key);
    // Root fills images by other means than ordinary users.
    hash.update([u8::from(crate::loop_mount::available())]);
    for source in MAKERS {
        hash.update(source);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Copies `from` to `to`, keeping holes.
///
/// # Panics
/// When that fails.
pub fn copy_sparse(from: &Path, to: &Path) {
    let mut copy = crate::tools::command("cp");
    crate::tools::run(copy.args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to));
}
