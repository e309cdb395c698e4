//! Images whose journal needs recovery: a read sees what the host's kernel shows after its own recovery, and the image is not
//! written.

use rumpcap::block::FileDevice;
use rumpcap::{Error, Kernel, MountOptions};
use rumpcap_testing::images::{Kind, Spec, Step, Tree, cache, journal};
use rumpcap_testing::loop_mount::LoopMount;
use rumpcap_testing::tools::{command, run};
use rumpcap_testing::{SMALLEST_LIMIT_BYTES, loop_mount, oracle, skip};
use sha2::{Digest, Sha256};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

fn digest(path: &Path) -> Vec<u8> {
    Sha256::digest(std::fs::read(path).expect("reading an image")).to_vec()
}

fn needs_recovery(path: &Path) -> bool {
    let mut features = [0; 4];
    let file = std::fs::File::open(path).expect("an image");
    file.read_exact_at(&mut features, 1024 + 0x60).expect("a super block");
    features[0] & 4 != 0
}

fn check(name: &str) {
    if !loop_mount::available() {
        return skip::skip("no loop mounts: no kernel to leave a journal behind");
    }
    let image = journal::named(name).image();
    assert!(needs_recovery(&image), "{name}: the journal is clean");
    let before = digest(&image);
    let expected = oracle::by_kernel(&image).expect("the kernel recovers it");
    assert!(expected.entries.len() > 30, "{name}: {} entries", expected.entries.len());
    for limit in [Some(SMALLEST_LIMIT_BYTES), None] {
        let found = oracle::by_library(&image, limit).unwrap_or_else(|e| panic!("{name}, {limit:?}: {e}"));
        if let Some(difference) = oracle::diff(&expected, &found) {
            panic!("{name}, limit {limit:?}, {}: {difference}", image.display());
        }
    }
    assert_eq!(digest(&image), before, "{name}: the image was written");
    assert!(differs_without_journal(&image, &expected), "{name}: its journal makes no difference");
}

/// Without its journal the image shows something else, or nothing that can be read.
fn differs_without_journal(image: &Path, expected: &oracle::Description) -> bool {
    let options = MountOptions { ignore_journal: true, ..MountOptions::default() };
    let kernel = Kernel::builder().memory_limit(SMALLEST_LIMIT_BYTES).boot().expect("booting");
    let Ok(mount) = kernel.mount(Arc::new(FileDevice::open(image).expect("an image")), &options) else {
        return true;
    };
    let (found, errors) = oracle::describe_mount(&mount);
    !errors.is_empty() || oracle::diff(expected, &found).is_some()
}

macro_rules! journals {
    ($($test:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            check(&stringify!($test).replace('_', "-"));
        })*

        #[test]
        fn every_journal_is_tested() {
            let tested = [$(stringify!($test).replace('_', "-")),*];
            for dirty in journal::all() {
                assert!(tested.iter().any(|test| test == dirty.name), "no test for {}", dirty.name);
            }
        }
    };
}

journals! {
    dirty_ext3_1k, dirty_ext3_4k, dirty_ext4, dirty_1k, dirty_no_csum, dirty_v1_csum, dirty_async, dirty_async_v3,
    dirty_32_bit, dirty_data, dirty_data_no_csum, dirty_wrapped, dirty_wrapped_ext3, dirty_bigalloc, dirty_inline,
    dirty_orphan_file,
}

/// A journal on another device cannot be replayed: refused by name.
#[test]
fn an_external_journal_is_refused() {
    let external = |name, steps: &[&'static str]| {
        let mut spec = Spec::new(name, Kind::Ext4).tree(Tree::Empty).size(8).unclean();
        for step in ["ssv journal_inum 0", "ssv journal_dev 0x801"].iter().chain(steps) {
            spec = spec.after(Step::Debugfs(step));
        }
        spec.image()
    };
    let clean = external("external-clean", &[]);
    let dirty = external("external-dirty", &["feature needs_recovery"]);
    if let Err(refused) = oracle::by_library(&clean, Some(SMALLEST_LIMIT_BYTES)) {
        assert!(matches!(refused, Error::Unsupported { what } if what.contains("journal")), "{refused}");
    }
    let refused = oracle::by_library(&dirty, Some(SMALLEST_LIMIT_BYTES)).expect_err("needs its journal");
    assert!(matches!(refused, Error::Unsupported { what } if what.contains("journal")), "{refused}");
}

/// Fast commits are not replayed; whoever looks is told.
#[test]
fn a_fast_commit_area_is_told_of() {
    if !loop_mount::available() {
        return skip::skip("no loop mounts: no kernel to leave a fast commit behind");
    }
    let image = cache::get("dirty-fast-commit", "1", |path| {
        let working = path.with_extension("mounted");
        let mut mke2fs = command("mke2fs");
        run(mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "fast_commit"]).arg(&working).arg("32M"));
        let mounted = LoopMount::new(&working, "commit=300").expect("a kernel that knows fast commits");
        let write = |name: &str| {
            let file = std::fs::File::create(mounted.join(name)).expect("a file");
            file.write_all_at(name.as_bytes(), 0).expect("writing");
            file.sync_all().expect("a commit");
        };
        (0..20).for_each(|n| write(&format!("file-{n}")));
        cache::copy_sparse(&working, path);
        drop(mounted);
        let _ = std::fs::remove_file(&working);
    });
    if !needs_recovery(&image) {
        return skip::skip("the kernel left no journal to recover");
    }
    let kernel = Kernel::builder().memory_limit(SMALLEST_LIMIT_BYTES).boot().expect("booting");
    let mount = kernel.mount(Arc::new(FileDevice::open(&image).expect("an image")), &MountOptions::default());
    let info = mount.expect("mounting").info().expect("info");
    let told = info.warnings.iter().any(|warning| warning.contains("fast"));
    assert!(told, "no word of the fast commits: {:?}", info.warnings);
}
