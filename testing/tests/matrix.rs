//! Every image of the matrix, read within 256 KiB and without limit, equals what the oracle says; every path is found
//! by name.

use rumpcap_testing::images::{build, matrix};
use rumpcap_testing::oracle::{self, Description, Library};
use rumpcap_testing::{SMALLEST_LIMIT_BYTES, loop_mount, skip};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

fn check(name: &str) {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    if !loop_mount::available() {
        skip::skip("no loop mounts: filled by mke2fs -d and read by debugfs");
    }
    let image = matrix::named(name).image();
    let (expected, teller) = oracle::describe(&image);
    assert!(expected.entries.len() > 1, "{name}: an image with nothing in it");
    for limit in [Some(SMALLEST_LIMIT_BYTES), None] {
        let found = oracle::by_library(&image, limit)
            .unwrap_or_else(|e| panic!("{name}, limit {limit:?}: {e} ({})", image.display()));
        if let Some(difference) = oracle::diff(&expected, &found) {
            panic!("{name}, limit {limit:?}, against {teller}, {}: {difference}", image.display());
        }
        look_up_all(name, &image, limit, &expected);
    }
}

/// Every path is found by its name and no path is found by a name that is nearly the same.
fn look_up_all(name: &str, image: &std::path::Path, limit: Option<u64>, expected: &Description) {
    let library = Library::open(image, limit).expect("mounted before");
    let inside_encrypted = |path: &[u8]| {
        expected.entries.iter().any(|(d, e)| e.encrypted && path.len() > d.len() && path.starts_with(d))
    };
    for (path, entry) in &expected.entries {
        let full = PathBuf::from(OsStr::from_bytes(&[b"/", &path[..]].concat()));
        let found = library.mount.symlink_metadata(&full);
        let found = found.unwrap_or_else(|e| panic!("{name}, limit {limit:?}: {}: {e}", full.display()));
        assert_eq!(found.ino(), entry.ino, "{name}: inode of {}", full.display());
        assert_eq!(found.mode(), entry.mode, "{name}: mode of {}", full.display());
        let mut wrong = path.clone();
        wrong.push(b'~');
        if path.is_empty() || inside_encrypted(path) || expected.entries.contains_key(&wrong) {
            continue;
        }
        let missing = library.mount.symlink_metadata(OsStr::from_bytes(&wrong));
        let last = wrong.rsplit(|byte| *byte == b'/').next().map_or(0, <[u8]>::len);
        let refused = if last > 255 { rumpcap::Error::NameTooLong } else { rumpcap::Error::NotFound };
        assert_eq!(missing.map(|m| m.ino()), Err(refused), "{name}: a name that is not there: {wrong:?}");
    }
    library.assert_bounded(limit);
}

macro_rules! matrix {
    ($($test:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            check(&stringify!($test).trim_start_matches("r#").trim_start_matches('_').replace('_', "-"));
        })*

        #[test]
        fn the_matrix_is_complete() {
            let tested = [$(stringify!($test).trim_start_matches('_').replace('_', "-")),*];
            for spec in matrix::all() {
                assert!(tested.iter().any(|test| test == spec.name), "no test for {}", spec.name);
            }
        }
    };
}

matrix! {
    ext2_1k, ext2_2k, ext2_4k, ext2_revision_0, ext3_1k, ext3_4k, ext4_default, ext4_1k, ext4_2k,
    ext4_8k, ext4_16k, ext4_32k, ext4_64k, ext4_64k_inline, ext2_8k, ext2_64k, ext4_4k_by_mke2fs,
    inode_128, inode_128_no_csum, inode_512, inode_1024, inode_4096, inode_1k_in_1k,
    no_64bit, _64bit_1k_many_groups, no_flex_bg, meta_bg, meta_bg_32, sparse_super2, no_sparse_super, uninit_bg,
    uninit_bg_32, no_checksums, checksum_seed, lazy_tables, flex_size, large,
    no_extents, no_extents_1k, bigalloc, bigalloc_1k, no_huge_file, huge_file_flag, three_levels,
    inline_data, inline_data_512, inline_data_1k, inline_data_no_csum, ea_inode, ea_inode_1k, ea_inode_no_csum,
    inline_and_ea_inode, no_extra_isize,
    no_filetype, no_dir_index, dir_nlink, names_20000, names_linear, large_dir, hash_legacy, hash_half_md4, hash_tea,
    hash_legacy_unsigned, hash_half_md4_unsigned, hash_tea_unsigned, rehashed, casefold, casefold_4k, casefold_indexed,
    encrypted,
    quota, project, verity, orphan_file, stable_inodes, fast_commit_clean, mmp, no_journal, everything, small, small_4k,
    empty,
}
