//! [`Setup`]: the configurations that are written: each kind, block size, inode size and feature.

use super::generator::Capabilities;
use crate::images::{Kind, Spec, Tree, cache};
use crate::tools::run;
use std::path::Path;
use std::sync::Arc;

/// What every byte of a device is before a file system is made on it: it must never be seen in a file.
pub const BEFORE: u8 = 0xE5;

/// A configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How the image is made.
    pub spec: Spec,
    /// What its files can do.
    pub can: Capabilities,
    /// It has a journal.
    pub has_journal: bool,
    /// It can be read only.
    pub read_only: bool,
}

fn setup(spec: Spec) -> Setup {
    let block_bytes = u64::from(spec.block_bytes);
    let has_extents = spec.kind == Kind::Ext4 && !spec.features.contains("^extents");
    let per_block = block_bytes / 4;
    // The last block that an inode with a tree of three levels maps; i_blocks counts 2^32 sectors without huge_file.
    let by_map = (12 + per_block + per_block.pow(2) + per_block.pow(3)) * block_bytes;
    let has_huge_files = has_extents && !spec.features.contains("^huge_file");
    let file_bytes = if has_huge_files { block_bytes << 32 } else { by_map.min((1 << 41) - (4 << 20)) };
    // The first revision cannot say that there are large files.
    let file_bytes = if spec.features == "none" { (1 << 31) - 1 } else { file_bytes };
    let is_old = spec.inode_bytes == 128 || spec.features == "none" || spec.features.contains("^extra_isize");
    let has_ea_inode = spec.features.contains("ea_inode");
    let can = Capabilities {
        block_bytes,
        file_bytes,
        large_times: !is_old,
        xattr_bytes: if has_ea_inode { 65_536 } else { block_bytes as usize },
        ranges: true,
        casefold: spec.features.contains("casefold"),
    };
    let has_journal = spec.kind != Kind::Ext2 && !spec.features.contains("^has_journal");
    Setup { spec, can, has_journal, read_only: false }
}

fn spec(name: &'static str, kind: Kind, block_bytes: u32) -> Spec {
    let spec = Spec::new(name, kind).block(block_bytes).tree(Tree::Empty).size(24);
    spec.extended("nodiscard,lazy_itable_init=0,lazy_journal_init=0")
}

/// The configurations.
pub fn setups() -> Vec<Setup> {
    let ext2 = |name, block| spec(name, Kind::Ext2, block);
    let ext3 = |name, block| spec(name, Kind::Ext3, block);
    let ext4 = |name| spec(name, Kind::Ext4, 4096);
    let ext4_1k = |name| spec(name, Kind::Ext4, 1024);
    let specs = vec![
        ext2("w-ext2-1k", 1024).inode(128),
        ext2("w-ext2-2k", 2048),
        ext2("w-ext2-4k", 4096),
        ext2("w-ext2-revision-0", 1024).arguments("-r 0").features("none"),
        ext2("w-ext2-no-sparse-super", 1024).features("^sparse_super,^resize_inode").arguments("-g 1024"),
        ext3("w-ext3-1k", 1024).inode(128),
        ext3("w-ext3-2k", 2048),
        ext3("w-ext3-4k", 4096),
        ext4("w-ext4-4k"),
        spec("w-ext4-2k", Kind::Ext4, 2048),
        ext4_1k("w-ext4-1k"),
        ext4("w-inode-128").inode(128),
        ext4_1k("w-inode-128-no-csum").inode(128).features("^metadata_csum"),
        ext4("w-inode-512").inode(512),
        ext4_1k("w-inode-1024").inode(1024),
        ext4("w-no-64bit").features("^64bit"),
        ext4_1k("w-many-groups").features("64bit").arguments("-g 1024"),
        ext4("w-no-flex-bg").features("^flex_bg"),
        ext4_1k("w-meta-bg").features("meta_bg,^resize_inode").arguments("-g 1024"),
        ext4("w-sparse-super2").features("sparse_super2"),
        ext4_1k("w-uninit-bg").features("uninit_bg,^metadata_csum").arguments("-g 2048"),
        ext4("w-no-checksums").features("^metadata_csum,^uninit_bg"),
        ext4("w-checksum-seed").features("metadata_csum_seed"),
        ext4_1k("w-flex-size").arguments("-g 1024 -G 4"),
        ext4("w-no-extents").features("^extents,^64bit"),
        ext4_1k("w-no-extents-1k").features("^extents,^64bit"),
        ext4("w-no-huge-file").features("^huge_file"),
        ext4("w-inline-data").features("inline_data"),
        ext4_1k("w-inline-data-512").features("inline_data").inode(512),
        ext4("w-inline-data-no-csum").features("inline_data,^metadata_csum"),
        ext4("w-ea-inode").features("ea_inode"),
        ext4_1k("w-ea-inode-1k").features("ea_inode"),
        ext4("w-inline-and-ea-inode").features("inline_data,ea_inode"),
        ext4("w-no-extra-isize").features("^extra_isize"),
        ext4("w-no-filetype").features("^filetype"),
        ext4_1k("w-no-dir-index").features("^dir_index"),
        ext4_1k("w-large-dir").features("large_dir"),
        ext4_1k("w-orphan-file").features("orphan_file"),
        ext4("w-stable-inodes").features("stable_inodes"),
        ext4_1k("w-casefold").features("casefold,encrypt,project,verity"),
        ext4("w-casefold-inline").features("casefold,inline_data"),
        ext4("w-no-journal").features("^has_journal"),
        ext4_1k("w-small-journal").arguments("-J size=1"),
        ext4("w-bigalloc").features("bigalloc").arguments("-C 16384 -J size=4 -N 8192").size(32),
        ext4("w-bigalloc-64k").features("bigalloc").arguments("-C 65536 -J size=4 -N 8192").size(96),
        ext4_1k("w-bigalloc-1k").features("bigalloc").arguments("-C 8192 -J size=1 -N 8192"),
        ext4("w-bigalloc-inline-data")
            .features("bigalloc,inline_data")
            .arguments("-C 16384 -J size=4 -N 8192")
            .size(32),
    ];
    let mut setups: Vec<Setup> = specs.into_iter().map(setup).collect();
    let refused = [
        ext4("w-mmp").features("mmp"),
        ext4("w-quota").features("quota"),
        spec("w-ext4-8k", Kind::Ext4, 8192).size(64),
    ];
    setups.extend(refused.into_iter().map(|spec| Setup { read_only: true, ..setup(spec) }));
    setups
}

impl Setup {
    /// The one called `name`.
    ///
    /// # Panics
    /// When there is none.
    pub fn named(name: &str) -> Setup {
        let found = setups().into_iter().find(|setup| setup.spec.name == name);
        found.unwrap_or_else(|| panic!("no configuration is called {name}"))
    }

    /// Whether any kernel of Linux can be expected to mount it: names without case are an option of its build.
    pub fn is_known_to_kernel(&self) -> bool {
        !self.can.casefold
    }

    /// On a device of that many MiB.
    pub fn size(mut self, mib: u32) -> Setup {
        self.spec = self.spec.size(mib);
        self
    }

    /// On a small device, with the smallest journal: 1,024 blocks.
    pub fn small(mut self) -> Setup {
        let (size_mib, journal) = match self.spec.block_bytes {
            1024 => (4, "-J size=1"),
            2048 => (8, "-J size=2"),
            _ => (12, "-J size=4"),
        };
        if self.has_journal && self.spec.arguments.is_empty() {
            self.spec = self.spec.arguments(journal);
        }
        self.size(size_mib)
    }

    /// An image of it, made on a device full of [`BEFORE`].
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn image(&self) -> Arc<Vec<u8>> {
        let key = format!("filled with {BEFORE:#x}: {:?}", self.spec);
        let path = cache::get(self.spec.name, &key, |path| make(&self.spec, path));
        Arc::new(std::fs::read(path).expect("an image"))
    }
}

fn make(spec: &Spec, path: &Path) {
    std::fs::write(path, vec![BEFORE; (spec.size_mib as usize) << 20]).expect("a device");
    crate::images::build::make(spec, path, None);
    run(crate::tools::command("e2fsck").args(["-f", "-n"]).arg(path));
}
