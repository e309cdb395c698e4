//! The matrix: one image per line, each with what makes it different.
//!
//! Who calls it: `testing/tests/matrix_*.rs`, one test per name. Adding a line here and there is all that a new feature needs.

use crate::images::{Kind, Spec, Step, Tree};

fn ext2(name: &'static str) -> Spec {
    Spec::new(name, Kind::Ext2)
}

fn ext3(name: &'static str) -> Spec {
    Spec::new(name, Kind::Ext3)
}

fn ext4(name: &'static str) -> Spec {
    Spec::new(name, Kind::Ext4)
}

/// Every image of the matrix.
pub fn all() -> Vec<Spec> {
    [kinds(), block_sizes(), inode_sizes(), groups(), mapping(), inode_features(), directories(), others()]
        .concat()
}

/// The image called `name`.
///
/// # Panics
/// When there is none.
pub fn named(name: &str) -> Spec {
    all().into_iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("no image is called {name}"))
}

fn kinds() -> Vec<Spec> {
    vec![
        ext2("ext2-1k").block(1024).inode(128),
        ext2("ext2-2k").block(2048),
        ext2("ext2-4k"),
        ext2("ext2-revision-0").block(1024).arguments("-r 0").features("none"),
        ext3("ext3-1k").block(1024).inode(128),
        ext3("ext3-4k"),
        ext4("ext4-default"),
        ext4("ext4-1k").block(1024),
        ext4("ext4-2k").block(2048),
    ]
}

/// Larger blocks than the host's kernel mounts.
fn block_sizes() -> Vec<Spec> {
    vec![
        ext4("ext4-8k").block(8192).by_mke2fs(),
        ext4("ext4-16k").block(16_384).size(128).by_mke2fs(),
        ext4("ext4-32k").block(32_768).size(256).by_mke2fs(),
        ext4("ext4-64k").block(65_536).size(512).by_mke2fs(),
        ext4("ext4-64k-inline").block(65_536).size(512).features("inline_data,ea_inode").by_mke2fs(),
        ext2("ext2-8k").block(8192).by_mke2fs(),
        ext2("ext2-64k").block(65_536).size(512).by_mke2fs(),
        ext4("ext4-4k-by-mke2fs").by_mke2fs(),
    ]
}

fn inode_sizes() -> Vec<Spec> {
    vec![
        ext4("inode-128").inode(128),
        ext4("inode-128-no-csum").inode(128).features("^metadata_csum"),
        ext4("inode-512").inode(512),
        ext4("inode-1024").inode(1024),
        ext4("inode-4096").inode(4096).arguments("-N 4000"),
        ext4("inode-1k-in-1k").inode(1024).block(1024),
    ]
}

fn groups() -> Vec<Spec> {
    vec![
        ext4("no-64bit").features("^64bit"),
        ext4("64bit-1k-many-groups").block(1024).features("64bit").arguments("-g 1024"),
        ext4("no-flex-bg").features("^flex_bg"),
        ext4("meta-bg").block(1024).features("meta_bg,^resize_inode").arguments("-g 1024"),
        ext4("meta-bg-32").block(1024).features("meta_bg,^resize_inode,^64bit").arguments("-g 1024"),
        ext4("sparse-super2").features("sparse_super2"),
        ext2("no-sparse-super").features("^sparse_super,^resize_inode").block(1024).arguments("-g 1024"),
        ext4("uninit-bg").features("uninit_bg,^metadata_csum").extended("lazy_itable_init=1"),
        ext4("uninit-bg-32").features("uninit_bg,^metadata_csum,^64bit"),
        ext4("no-checksums").features("^metadata_csum,^uninit_bg"),
        ext4("checksum-seed").features("metadata_csum_seed").after(Step::Tune("-U random")),
        ext4("lazy-tables").extended("lazy_itable_init=1,lazy_journal_init=1").size(256),
        ext4("flex-size").block(1024).arguments("-g 1024 -G 4"),
        ext4("large").size(1 << 20).tree(Tree::Small).extended("lazy_itable_init=1"),
    ]
}

fn mapping() -> Vec<Spec> {
    vec![
        ext4("no-extents").features("^extents,^64bit"),
        ext4("no-extents-1k").block(1024).features("^extents,^64bit"),
        ext4("bigalloc").features("bigalloc").arguments("-C 16384").size(128),
        ext4("bigalloc-1k").features("bigalloc").block(1024).arguments("-C 65536").size(256),
        ext4("no-huge-file").features("^huge_file"),
        ext4("huge-file-flag").after(Step::Debugfs("sif /sizes/65536 flags 0xc0000")).unclean(),
        ext4("three-levels").block(1024).tree(Tree::Extents(29_000)),
    ]
}

fn inode_features() -> Vec<Spec> {
    vec![
        ext4("inline-data").features("inline_data"),
        ext4("inline-data-512").features("inline_data").inode(512),
        ext4("inline-data-1k").features("inline_data").inode(1024).block(1024),
        ext4("inline-data-no-csum").features("inline_data,^metadata_csum"),
        ext4("ea-inode").features("ea_inode"),
        ext4("ea-inode-1k").features("ea_inode").block(1024),
        ext4("ea-inode-no-csum").features("ea_inode,^metadata_csum"),
        ext4("inline-and-ea-inode").features("inline_data,ea_inode"),
        ext4("no-extra-isize").features("^extra_isize"),
    ]
}

fn directories() -> Vec<Spec> {
    vec![
        ext4("no-filetype").features("^filetype"),
        ext4("no-dir-index").features("^dir_index"),
        ext4("dir-nlink").after(Step::Debugfs("sif /directories links_count 1")).unclean(),
        ext4("names-20000").tree(Tree::Names(20_000)),
        ext4("names-linear").block(1024).features("^dir_index").tree(Tree::Names(5000)),
        ext4("large-dir").block(1024).features("large_dir").tree(Tree::LongNames(40_000)).size(128),
        hashed("hash-legacy").before(Step::Tune("-E hash_alg=legacy")),
        hashed("hash-half-md4"),
        hashed("hash-tea").before(Step::Tune("-E hash_alg=tea")),
        unsigned("hash-legacy-unsigned").before(Step::Tune("-E hash_alg=legacy")),
        unsigned("hash-half-md4-unsigned"),
        unsigned("hash-tea-unsigned").before(Step::Tune("-E hash_alg=tea")),
        ext4("rehashed").block(1024).tree(Tree::Names(3000)).after(Step::Fsck("-D")),
        casefold("casefold"),
        casefold("casefold-4k").block(4096),
        casefold("casefold-indexed").after(Step::Fsck("-D")),
        ext4("encrypted").features("encrypt,stable_inodes").tree(Tree::Encrypted),
    ]
}

fn hashed(name: &'static str) -> Spec {
    ext4(name).block(1024).tree(Tree::Names(3000))
}

/// The super block's flags: 1 means that the hash was made with signed characters, 2 with unsigned.
fn unsigned(name: &'static str) -> Spec {
    hashed(name).before(Step::Debugfs("ssv flags 2"))
}

/// Flag 0x4000_0000 marks a casefolded directory.
fn casefold(name: &'static str) -> Spec {
    let mark = |line| Step::Debugfs(line);
    ext4(name)
        .block(1024)
        .features("casefold")
        .extended("encoding=utf8")
        .tree(Tree::Casefold)
        .by_mke2fs()
        .after(mark("sif /fold flags 0x40080000"))
        .after(mark("sif /fold/Inner flags 0x40080000"))
        .after(mark("sif /many flags 0x40080000"))
}

fn others() -> Vec<Spec> {
    vec![
        ext4("quota").after(Step::Tune("-O quota")),
        ext4("project").after(Step::Tune("-O project,quota")).after(Step::Debugfs("sif /sizes/1 projid 4242")).unclean(),
        ext4("verity").features("verity").after(Step::Debugfs("sif /sizes/65536 flags 0x180000")).unclean(),
        ext4("orphan-file").features("orphan_file"),
        ext4("stable-inodes").features("stable_inodes"),
        ext4("fast-commit-clean").features("fast_commit"),
        ext4("mmp").features("mmp"),
        ext4("no-journal").features("^has_journal"),
        ext4("everything")
            .features("inline_data,ea_inode,large_dir,metadata_csum_seed,orphan_file,encrypt,verity,stable_inodes,mmp")
            .after(Step::Tune("-O quota,project"))
            .unclean(),
        ext4("small").block(1024).size(8).tree(Tree::Small),
        ext4("small-4k").size(16).tree(Tree::Small),
        ext4("empty").tree(Tree::Empty).size(16),
    ]
}
