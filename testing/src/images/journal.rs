//! Images whose journal needs recovery: copied while the host's kernel had them mounted and had just committed.
//!
//! Who calls it: tests of recovery, the corruptor. Needs loop mounts ([`crate::loop_mount::available`]).

use crate::images::cache;
use crate::loop_mount::LoopMount;
use crate::seed::Random;
use crate::tools::{command, run};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The first bytes of every block of a journal's own: content that begins with them must be escaped.
const JOURNAL_MAGIC: [u8; 4] = 0xc03b_3998_u32.to_be_bytes();

/// The description of an image with a journal to be replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirty {
    /// Its name in tests.
    pub name: &'static str,
    /// Arguments of mke2fs, separated by spaces.
    pub mke2fs: &'static str,
    /// Options of the mount that leaves the journal behind.
    pub mount: &'static str,
    /// Rounds of work, each committed; enough of them go round the journal's end.
    pub rounds: u32,
}

/// All of them.
pub fn all() -> Vec<Dirty> {
    let dirty = |name, mke2fs, mount, rounds| Dirty { name, mke2fs, mount, rounds };
    vec![
        dirty("dirty-ext3-1k", "-t ext3 -b 1024 -I 128", "", 6),
        dirty("dirty-ext3-4k", "-t ext3 -b 4096", "", 6),
        dirty("dirty-ext4", "-t ext4 -b 4096", "", 6),
        dirty("dirty-1k", "-t ext4 -b 1024", "", 6),
        dirty("dirty-no-csum", "-t ext4 -b 4096 -O ^metadata_csum", "", 6),
        dirty("dirty-v1-csum", "-t ext4 -b 1024 -O ^metadata_csum,^64bit", "journal_checksum", 6),
        dirty("dirty-async", "-t ext4 -b 4096 -O ^metadata_csum", "journal_async_commit,data=writeback", 6),
        dirty("dirty-async-v3", "-t ext4 -b 1024", "journal_async_commit,data=writeback", 6),
        dirty("dirty-32-bit", "-t ext4 -b 4096 -O ^64bit", "", 6),
        dirty("dirty-data", "-t ext4 -b 1024", "data=journal", 5),
        dirty("dirty-data-no-csum", "-t ext4 -b 4096 -O ^metadata_csum", "data=journal", 4),
        dirty("dirty-wrapped", "-t ext4 -b 1024 -J size=1", "", 40),
        dirty("dirty-wrapped-ext3", "-t ext3 -b 1024 -J size=1", "data=journal", 30),
        dirty("dirty-bigalloc", "-t ext4 -b 4096 -O bigalloc -C 16384", "", 5),
        dirty("dirty-inline", "-t ext4 -b 4096 -O inline_data,ea_inode", "", 5),
        dirty("dirty-orphan-file", "-t ext4 -b 4096 -O orphan_file", "", 5),
    ]
}

/// The one called `name`.
///
/// # Panics
/// When there is none.
pub fn named(name: &str) -> Dirty {
    all().into_iter().find(|dirty| dirty.name == name).unwrap_or_else(|| panic!("no image is called {name}"))
}

impl Dirty {
    /// The path of the image: made now if it is not there yet.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn image(&self) -> PathBuf {
        cache::get(self.name, &format!("{self:?}"), |path| self.make(path))
    }

    fn make(&self, path: &Path) {
        let working = path.with_extension("mounted");
        let mut mke2fs = command("mke2fs");
        mke2fs.args(["-q", "-F", "-E", "lazy_itable_init=0"]).args(self.mke2fs.split_whitespace());
        run(mke2fs.arg(&working).arg("32M"));
        // No checkpoint by time: the flusher of a quiet mount would write everything back.
        let options = ["commit=300", self.mount].join(",");
        let mounted = LoopMount::new(&working, options.trim_end_matches(','));
        let mounted = mounted.unwrap_or_else(|e| panic!("{}: cannot be filled: {e}", self.name));
        for round in 0..self.rounds {
            work(mounted.path(), round);
            commit(mounted.path());
        }
        cache::copy_sparse(&working, path);
        drop(mounted);
        let _ = std::fs::remove_file(&working);
    }
}

/// Commits what was done so far. A sync of the whole would also write everything to its place, and leave the journal nothing
/// to add.
fn commit(top: &Path) {
    let directory = File::open(top).expect("the root of a mount");
    directory.sync_all().expect("a commit");
}

/// A round of everything that makes journals interesting: blocks that are written again, deleted (revoked) and used
/// again for something else, content that looks like the journal's own blocks.
fn work(top: &Path, round: u32) {
    let mut random = Random::new(round.into());
    let directory = top.join(format!("round-{round}"));
    std::fs::create_dir(&directory).expect("a directory");
    for n in 0..30 {
        std::fs::write(directory.join(format!("file-{n}")), random.bytes(100 * n)).expect("a file");
    }
    let escaped = [JOURNAL_MAGIC.to_vec(), random.bytes(4092)].concat();
    std::fs::write(directory.join("escaped"), [&escaped[..], &escaped[..]].concat()).expect("a file");
    std::os::unix::fs::symlink("file-3", directory.join("link")).expect("a link");
    let again = File::options().write(true).create(true).truncate(false).open(top.join("again"));
    again.expect("a file").write_all_at(&random.bytes(5000), u64::from(round) * 3000).expect("writing");
    if round > 0 {
        let before = top.join(format!("round-{}", round - 1));
        // Its directory blocks were journalled and are freed now: revoked.
        std::fs::rename(before.join("file-5"), directory.join("moved")).expect("renaming");
        std::fs::remove_dir_all(&before).expect("deleting");
        std::fs::write(top.join(format!("reuses-{round}")), random.bytes(20_000)).expect("a file");
    }
    if round > 2 {
        let _ = std::fs::remove_file(top.join(format!("reuses-{}", round - 2)));
    }
}
