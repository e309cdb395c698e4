//! [`Spec`]: the description that an image is made from. Two equal descriptions are one image.

use crate::images::{build, cache};
use std::path::PathBuf;

/// The file system that `mke2fs -t` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No journal, block maps.
    Ext2,
    /// A journal, block maps.
    Ext3,
    /// Extents and the rest.
    Ext4,
}

impl Kind {
    /// Its name as the tools spell it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ext2 => "ext2",
            Kind::Ext3 => "ext3",
            Kind::Ext4 => "ext4",
        }
    }
}

/// What an image is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Everything that [`crate::tree::rich`] knows.
    Rich,
    /// Some of each, in a few hundred KiB: for corruption and failing reads.
    Small,
    /// Fewer still: for as many walks as there are reads in one.
    Tiny,
    /// These, and a file larger than small kernels: to evict everything else.
    TinyAndLarge,
    /// One directory with that many empty files and names of all bytes.
    Names(u32),
    /// One directory with that many hard links of 255-byte names: a deep index.
    LongNames(u32),
    /// A file with that many extents, each followed by a hole.
    Extents(u32),
    /// Names that differ by case and normalisation, in directories to be marked casefold.
    Casefold,
    /// An encrypted directory beside plain ones.
    Encrypted,
    /// A sparse file of 1 GiB and a thousand small ones, of which every byte is known: [`crate::tree::crowd`].
    Crowd,
    /// Nothing but what mke2fs makes.
    Empty,
}

/// How the files get into the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filling {
    /// By the host's kernel, through a loop mount; by `mke2fs -d` where the host cannot do that.
    Mount,
    /// By `mke2fs -d`.
    Mke2fs,
}

/// A change by a tool, before or after the image is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `tune2fs` with these arguments, separated by spaces.
    Tune(&'static str),
    /// A line for `debugfs -w`.
    Debugfs(&'static str),
    /// `e2fsck -f -y` with these arguments more, separated by spaces.
    Fsck(&'static str),
}

/// The description of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its name in tests.
    pub name: &'static str,
    /// `-t`.
    pub kind: Kind,
    /// `-b`.
    pub block_bytes: u32,
    /// `-I`; 0 for what mke2fs chooses.
    pub inode_bytes: u32,
    /// `-O`.
    pub features: &'static str,
    /// `-E`.
    pub extended: &'static str,
    /// Further arguments of mke2fs, separated by spaces.
    pub arguments: &'static str,
    /// Size of the device.
    pub size_mib: u32,
    /// What it is filled with.
    pub tree: Tree,
    /// How.
    pub filling: Filling,
    /// Options of the mount that fills it.
    pub mount_options: &'static str,
    /// Done before it is filled.
    pub before: Vec<Step>,
    /// Done after it is filled.
    pub after: Vec<Step>,
    /// Whether `e2fsck -fn` must find nothing wrong at the end.
    pub clean: bool,
}

impl Spec {
    /// An image of `kind` with 4 KiB blocks and the features that mke2fs chooses, filled with everything.
    pub fn new(name: &'static str, kind: Kind) -> Spec {
        Spec {
            name,
            kind,
            block_bytes: 4096,
            inode_bytes: 0,
            features: "",
            extended: "",
            arguments: "",
            size_mib: 64,
            tree: Tree::Rich,
            filling: Filling::Mount,
            mount_options: "",
            before: Vec::new(),
            after: Vec::new(),
            clean: true,
        }
    }

    /// With blocks of that many bytes.
    pub fn block(mut self, bytes: u32) -> Spec {
        self.block_bytes = bytes;
        self
    }

    /// With inodes of that many bytes.
    pub fn inode(mut self, bytes: u32) -> Spec {
        self.inode_bytes = bytes;
        self
    }

    /// With (`x`) and without (`^x`) these features.
    pub fn features(mut self, features: &'static str) -> Spec {
        self.features = features;
        self
    }

    /// With these extended options.
    pub fn extended(mut self, extended: &'static str) -> Spec {
        self.extended = extended;
        self
    }

    /// With further arguments for mke2fs.
    pub fn arguments(mut self, arguments: &'static str) -> Spec {
        self.arguments = arguments;
        self
    }

    /// On a device of that many MiB.
    pub fn size(mut self, mib: u32) -> Spec {
        self.size_mib = mib;
        self
    }

    /// Filled with `tree`.
    pub fn tree(mut self, tree: Tree) -> Spec {
        self.tree = tree;
        self
    }

    /// Filled by `mke2fs -d`.
    pub fn by_mke2fs(mut self) -> Spec {
        self.filling = Filling::Mke2fs;
        self
    }

    /// Filled through a mount with these options.
    pub fn mounted_with(mut self, options: &'static str) -> Spec {
        self.mount_options = options;
        self
    }

    /// Changed by `step` before it is filled.
    pub fn before(mut self, step: Step) -> Spec {
        self.before.push(step);
        self
    }

    /// Changed by `step` after it is filled.
    pub fn after(mut self, step: Step) -> Spec {
        self.after.push(step);
        self
    }

    /// Not expected to please e2fsck.
    pub fn unclean(mut self) -> Spec {
        self.clean = false;
        self
    }

    /// The path of the image: made now if it is not there yet.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn image(&self) -> PathBuf {
        cache::get(self.name, &format!("{self:?}"), |path| build::build(self, path))
    }
}
