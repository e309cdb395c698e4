//! [`Image`]: what is on a disk, and the truth to compare with: the bytes that were given to the tools.
//!
//! Made by mke2fs and filled by debugfs, one file after the other, so that where everything lies does not depend on the order
//! in which a directory of the host lists its entries. Times differ from making to making; nothing is decided by them.

use rumpcap_testing::images::{Kind, Spec, Tree};
use rumpcap_testing::seed::Random;
use rumpcap_testing::tools::{DebugfsMode, command, debugfs, run, run_allowing};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names in the large directory: several blocks of an index where blocks are of 1 KiB.
const NAMES: u64 = 150;

/// What the journal holds of a file, in bytes: eight blocks.
const JOURNALLED_BYTES: usize = 8 << 10;

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A directory.
    Directory,
    /// A regular file, and its content.
    File(Arc<[u8]>),
    /// A symbolic link, and its target.
    Link(PathBuf),
}

/// An image and the truth of it.
#[derive(Clone)]
pub struct Image {
    /// Its name, for people.
    pub name: &'static str,
    /// All of it.
    pub bytes: Arc<[u8]>,
    /// All that is in it, by absolute path; a map in the order of the paths, for which no hash decides (SIM-1).
    pub tree: BTreeMap<PathBuf, Entry>,
    /// The paths of the regular files with more than nothing in them.
    pub files: Vec<PathBuf>,
    /// The paths of the directories.
    pub directories: Vec<PathBuf>,
}

/// The images that a world may have.
///
/// # Panics
/// When they cannot be made.
pub fn all() -> Vec<Image> {
    let empty = |name, kind| Spec::new(name, kind).tree(Tree::Empty).by_mke2fs().size(6);
    vec![
        make("ext4", &empty("sim-ext4", Kind::Ext4).features("^has_journal")),
        make(
            "ext4-1k-inline",
            &empty("sim-inline", Kind::Ext4).block(1024).features("inline_data,^has_journal"),
        ),
        make("ext2-1k", &empty("sim-ext2", Kind::Ext2).block(1024).inode(128)),
        with_journal(&empty("sim-journal", Kind::Ext4).block(1024).arguments("-J size=1")),
    ]
}

/// The content of a file, in pieces that are no multiples of anything.
fn content(random: &mut Random, len: usize) -> Arc<[u8]> {
    random.bytes(len).into()
}

fn tree() -> BTreeMap<PathBuf, Entry> {
    let mut random = Random::new(1);
    let mut tree = BTreeMap::from([
        ("/".into(), Entry::Directory),
        ("/lost+found".into(), Entry::Directory),
        ("/names".into(), Entry::Directory),
        ("/deep".into(), Entry::Directory),
        ("/deep/deeper".into(), Entry::Directory),
        ("/deep/deeper/deepest".into(), Entry::Directory),
        ("/deep/up".into(), Entry::Link("../medium".into())),
        // As large as a small kernel's memory several times over.
        ("/large".into(), Entry::File(content(&mut random, 1_300_000))),
        ("/medium".into(), Entry::File(content(&mut random, 70_001))),
        ("/small".into(), Entry::File(content(&mut random, 3000))),
        ("/empty".into(), Entry::File(Arc::new([]))),
        ("/deep/deeper/deepest/file".into(), Entry::File(content(&mut random, 12_345))),
    ]);
    let mut sparse = vec![0; 300_000];
    random.fill(&mut sparse[..5000]);
    random.fill(&mut sparse[200_000..210_000]);
    // debugfs loses a hole at the end.
    random.fill(&mut sparse[299_000..]);
    tree.insert("/sparse".into(), Entry::File(sparse.into()));
    for n in 0..NAMES {
        let len = random.below(90) as usize;
        let path = format!("/names/a name of some length {n:03}");
        tree.insert(path.into(), Entry::File(content(&mut random, len)));
    }
    tree
}

fn make(name: &'static str, spec: &Spec) -> Image {
    let tree = tree();
    let folder = tempfile::tempdir().expect("a folder for the files");
    let image = fill(spec, &tree, folder.path());
    finish(name, &image, tree)
}

/// An image whose journal must be replayed: the beginning of a file is in the journal, and something else in its place.
fn with_journal(spec: &Spec) -> Image {
    let (path, tree) = (Path::new("/medium"), tree());
    let mut before = tree.clone();
    let (Some(Entry::File(truth)), Some(Entry::File(wrong))) = (tree.get(path), before.get_mut(path)) else {
        unreachable!("a file of the tree");
    };
    *wrong = [&[0xEE; JOURNALLED_BYTES], &truth[JOURNALLED_BYTES..]].concat().into();
    let folder = tempfile::tempdir().expect("a folder for the files");
    let image = fill(spec, &before, folder.path());
    let source = folder.path().join("journalled");
    std::fs::write(&source, &truth[..JOURNALLED_BYTES]).expect("what the journal is to hold");
    let told = debugfs(&image, DebugfsMode::Read, &[format!("blocks {}", path.display())]);
    let told = String::from_utf8_lossy(&told).into_owned();
    let numbers = told.split_whitespace().filter(|word| word.bytes().all(|b| b.is_ascii_digit()));
    let blocks: Vec<&str> = numbers.take(JOURNALLED_BYTES / 1024).collect();
    let write = format!("jw -b {} {}", blocks.join(","), source.display());
    debugfs(&image, DebugfsMode::Write, &["jo".into(), write, "jc".into()]);
    // That it must be replayed, and that this makes the file true, others say of a copy.
    let copy = folder.path().join("copy");
    std::fs::copy(&image, &copy).expect("a copy");
    run_allowing(command("e2fsck").args(["-f", "-y"]).arg(&copy), &[0, 1]);
    let replayed = |image| debugfs(image, DebugfsMode::Read, &[format!("cat {}", path.display())]);
    let holds = |content: Vec<u8>| content.windows(64).any(|window| *window == truth[..64]);
    assert!(!holds(replayed(&image)) && holds(replayed(&copy)), "no journal to be replayed was made");
    finish("ext4-journal", &image, tree)
}

/// The image of `spec`, in `folder` and filled with `tree`.
fn fill(spec: &Spec, tree: &BTreeMap<PathBuf, Entry>, folder: &Path) -> PathBuf {
    let image = folder.join("image");
    std::fs::copy(spec.image(), &image).expect("a copy of the empty image");
    debugfs(&image, DebugfsMode::Write, &script(tree, folder));
    // Indexes the directories.
    run_allowing(command("e2fsck").args(["-f", "-y", "-D"]).arg(&image), &[0, 1]);
    run(command("e2fsck").args(["-f", "-n"]).arg(&image));
    image
}

fn finish(name: &'static str, image: &Path, tree: BTreeMap<PathBuf, Entry>) -> Image {
    let bytes = std::fs::read(image).expect("the image that was made");
    let paths = |wanted: fn(&Entry) -> bool| {
        tree.iter().filter(|(_, entry)| wanted(entry)).map(|(path, _)| path.clone()).collect()
    };
    Image {
        name,
        bytes: bytes.into(),
        files: paths(|entry| matches!(entry, Entry::File(content) if !content.is_empty())),
        directories: paths(|entry| *entry == Entry::Directory),
        tree,
    }
}

/// What debugfs is told to make `tree`, whose files it finds in `folder`.
fn script(tree: &BTreeMap<PathBuf, Entry>, folder: &Path) -> Vec<String> {
    let made_already = |path: &Path| path == Path::new("/") || path == Path::new("/lost+found");
    let mut lines = Vec::new();
    for (number, (path, entry)) in tree.iter().filter(|(path, _)| !made_already(path)).enumerate() {
        let quoted = format!("\"{}\"", path.display());
        lines.push(match entry {
            Entry::Directory => format!("mkdir {quoted}"),
            Entry::Link(target) => format!("symlink {quoted} {}", target.display()),
            Entry::File(content) => {
                let source = folder.join(number.to_string());
                std::fs::write(&source, content).expect("a file to be copied");
                format!("write {} {quoted}", source.display())
            }
        });
    }
    lines
}
