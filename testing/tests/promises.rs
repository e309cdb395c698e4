//! The images hold what their names promise: otherwise a comparison with an oracle compares nothing.

use rumpcap_testing::images::matrix;
use rumpcap_testing::oracle::{self, Description};
use rumpcap_testing::tools::{DebugfsMode, debugfs};
use rumpcap_testing::{loop_mount, skip};

fn described(name: &str) -> Description {
    oracle::describe(&matrix::named(name).image()).0
}

fn asked(name: &str, line: &str) -> String {
    let answer = debugfs(&matrix::named(name).image(), DebugfsMode::Read, &[line.to_owned()]);
    String::from_utf8_lossy(&answer).into_owned()
}

/// What only root can make, through a loop mount.
fn filled_by_a_kernel() -> bool {
    if !loop_mount::available() {
        skip::skip("no loop mounts: images hold less");
    }
    loop_mount::available()
}

fn with_flag(description: &Description, flag: u32) -> usize {
    description.entries.values().filter(|entry| entry.flags.is_some_and(|flags| flags & flag != 0)).count()
}

#[test]
fn extent_trees_are_deep() {
    if filled_by_a_kernel() {
        assert!(asked("three-levels", "ex /extents").contains(" 3/ 3 "), "not three levels");
        assert!(asked("ext4-default", "ex /fragmented/two-levels").contains(" 2/ 2 "), "not two levels");
    }
}

#[test]
fn indexes_are_deep() {
    if filled_by_a_kernel() {
        assert!(
            asked("large-dir", "htree_dump /long").contains("Indirect levels: 2"),
            "not two levels of nodes"
        );
        assert!(asked("hash-tea", "htree_dump /names").contains("Hash Version: 2"), "not hashed by TEA");
        assert!(asked("hash-legacy", "htree_dump /names").contains("Hash Version: 0"), "not the legacy hash");
        assert!(with_flag(&described("ext4-default"), 0x1000) > 0, "no directory has an index");
        assert_eq!(with_flag(&described("no-dir-index"), 0x1000), 0);
    }
}

#[test]
fn block_maps_reach_the_triple_indirect_block() {
    for name in ["ext2-1k", "no-extents-1k"] {
        let stat = asked(name, "stat /holes/boundary-2");
        assert!(stat.contains("(TIND)"), "{name}: {stat}");
    }
    assert_eq!(with_flag(&described("ext2-1k"), 0x8_0000), 0);
}

#[test]
fn names_and_attributes_are_of_every_sort() {
    let description = described("ext4-default");
    let any = |what: &str, is: &dyn Fn(&[u8], &oracle::Entry) -> bool| {
        assert!(description.entries.iter().any(|(path, entry)| is(path, entry)), "no {what}");
    };
    any("name of 255 bytes", &|path, _| path.rsplit(|b| *b == b'/').next().is_some_and(|n| n.len() == 255));
    any("name that is no text", &|path, _| std::str::from_utf8(path).is_err());
    any("name with a new line", &|path, _| path.contains(&b'\n'));
    any("large inode attribute", &|_, e| e.xattrs.iter().flatten().any(|(_, value)| value.len() >= 60));
    any("access list", &|_, e| e.xattrs.iter().flatten().any(|(name, _)| name == b"system.posix_acl_access"));
    any("default list", &|_, e| {
        e.xattrs.iter().flatten().any(|(name, _)| name == b"system.posix_acl_default")
    });
    any("fifo", &|_, e| e.mode & 0o170_000 == 0o010_000);
    any("socket", &|_, e| e.mode & 0o170_000 == 0o140_000);
    any("setuid", &|_, e| e.mode & 0o4000 != 0 && e.mode & 0o170_000 == 0o100_000);
    any("three links", &|_, e| e.nlink > 2 && e.mode & 0o170_000 == 0o100_000);
    any("long target", &|_, e| e.target.as_ref().is_some_and(|target| target.len() > 1000));
    if !filled_by_a_kernel() {
        return;
    }
    any("2446", &|_, e| e.mtime == (0x3_7fff_ffff, 0));
    any("1901", &|_, e| e.mtime.0 == -0x8000_0000);
    any("nanoseconds", &|_, e| e.mtime.1 == 999_999_999);
    any("owner beyond 16 bits", &|_, e| e.uid == 0xffff_fffe && e.gid == 0xffff_fffe);
    any("large minor", &|_, e| e.rdev == (4095, 0xf_ffff));
    any("immutable", &|_, e| e.flags.is_some_and(|flags| flags & 0x10 != 0));
    any("16 TiB", &|_, e| e.size > 1 << 43);
    any("trusted", &|_, e| e.xattrs.iter().flatten().any(|(name, _)| name.starts_with(b"trusted.")));
    any("security", &|_, e| e.xattrs.iter().flatten().any(|(name, _)| name.starts_with(b"security.")));
}

#[test]
fn features_are_used_and_not_only_set() {
    if !filled_by_a_kernel() {
        return;
    }
    let inline = described("inline-data");
    assert!(with_flag(&inline, 0x1000_0000) > 100, "hardly any inline data");
    let inline_directory =
        |e: &oracle::Entry| e.mode & 0o170_000 == 0o040_000 && e.flags.unwrap_or(0) & 0x1000_0000 != 0;
    assert!(inline.entries.values().any(inline_directory), "no directory is inline");
    let large = |e: &oracle::Entry| e.xattrs.iter().flatten().any(|(_, value)| value.len() >= 60_000);
    assert!(described("ea-inode").entries.values().any(large), "no attribute has an inode of its own");
    assert!(!described("ext4-default").entries.values().any(large));
    assert!(with_flag(&described("casefold"), 0x4000_0000) >= 3, "no directory is casefolded");
    assert!(described("encrypted").entries.values().any(|e| e.encrypted), "nothing is encrypted");
}
