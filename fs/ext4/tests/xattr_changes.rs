//! Extended attributes and attributes set and removed: against a model, e2fsck, debugfs, and the kernel of this host.
// A step that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod directory;
mod support;

use core::ops::ControlFlow;
use directory::{KernelMount, walk};
use rumpcap_block::{BlockDevice, FileDevice};
use rumpcap_ext4::{Ext4, Options};
use rumpcap_host::file::OpenOptions;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{Access, Change, FileSystem, InodeNo, Node, SetAttributes, SetXattr, Timestamp};
use rumpcap_vm::{BootOptions, Vm};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::{Image, Mounted, have_tools, noise};

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 };

/// Mounts an image to be changed, in the smallest memory.
fn mount(image: &Image) -> Mounted {
    let options = OpenOptions { write: true, direct: false };
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open_with(&image.path(), options).unwrap());
    let vm = Vm::boot(BootOptions { limit_bytes: Some(256 << 10), ..BootOptions::default() }).unwrap();
    let options = Options { access: Access::Write, now: NOW, ..Options::default() };
    let fs = Ext4::mount(&vm, device, &options).unwrap();
    assert_eq!(fs.read_only_reason(), None);
    let device = Arc::clone(fs.device().device());
    Mounted { vm, device, fs }
}

fn unmount(mounted: &Mounted) {
    mounted.fs.unmount(&mounted.reserve(), NOW).unwrap();
}

fn check(image: &Image, what: &str) {
    let output = Command::new("e2fsck").arg("-fn").arg(image.path()).output().unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stdout));
}

fn set(mounted: &Mounted, ino: u64, name: &[u8], value: Option<&[u8]>, how: SetXattr) -> Result<Node> {
    mounted.fs.set_xattr(&mounted.reserve(), InodeNo(ino), name, value, how, NOW)
}

/// All attributes of an inode, as this file system gives them.
fn all(mounted: &Mounted, ino: u64) -> Attributes {
    let node = mounted.node(ino).unwrap();
    let r = mounted.reserve();
    let mut found = Vec::new();
    let mut sink = |name: &[u8], len: u64| {
        found.push((name.to_vec(), len));
        ControlFlow::Continue(())
    };
    mounted.fs.list_xattr(&r, &node, &mut sink).unwrap();
    let value = |name: &[u8], len: u64| {
        let mut value = vec![0; len as usize];
        assert_eq!(mounted.fs.get_xattr(&r, &node, name, &mut value), Ok(value.len()));
        value
    };
    let attributes: Attributes = found.iter().map(|(name, len)| (name.clone(), value(name, *len))).collect();
    assert_eq!(attributes.len(), found.len(), "a name is listed twice");
    attributes
}

fn of_kernel(path: &Path) -> Attributes {
    let names = xattr::list(path).expect("the kernel lists");
    names.map(|name| (name.as_bytes().to_vec(), xattr::get(path, &name).unwrap().unwrap())).collect()
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}

/// An image with files `f0` to `f5`, short ones and long ones, and a directory `d`.
fn image(arguments: &[&str], size: &str) -> Image {
    let tree = tempfile::TempDir::new().unwrap();
    for (i, len) in [0, 10, 70, 100, 5000, 20_000].into_iter().enumerate() {
        std::fs::write(tree.path().join(format!("f{i}")), noise(i as u64 + 1, len)).unwrap();
    }
    std::fs::create_dir(tree.path().join("d")).unwrap();
    std::fs::write(tree.path().join("d/inside"), "x").unwrap();
    Image::make(arguments, size, Some(tree.path()))
}

const FILES: [&str; 7] = ["f0", "f1", "f2", "f3", "f4", "f5", "d"];

/// Images of all forms that attributes have.
const KINDS: &[&[&str]] = &[
    &["-t", "ext2", "-b", "1024", "-I", "128"],
    &["-t", "ext2", "-b", "4096", "-I", "256"],
    &["-t", "ext3", "-b", "1024", "-I", "128"],
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"],
    &["-t", "ext4", "-b", "2048", "-I", "1024"],
    &["-t", "ext4", "-b", "4096", "-I", "4096", "-N", "200"],
    &["-t", "ext4", "-b", "4096", "-O", "inline_data"],
    &["-t", "ext4", "-b", "1024", "-I", "512", "-O", "inline_data,^has_journal"],
];

/// With values in inodes.
const LARGE_KINDS: &[&[&str]] = &[
    &["-t", "ext4", "-b", "1024", "-O", "ea_inode"],
    &["-t", "ext4", "-b", "4096", "-O", "ea_inode"],
    &["-t", "ext4", "-b", "1024", "-I", "128", "-O", "ea_inode,^metadata_csum"],
    &["-t", "ext4", "-b", "4096", "-I", "1024", "-O", "ea_inode,inline_data,^has_journal"],
    &["-t", "ext4", "-b", "1024", "-O", "ea_inode,^extent,^64bit"],
];

struct Run<'a> {
    image: &'a Image,
    mounted: Mounted,
    dice: Dice,
    inodes: Vec<u64>,
    model: BTreeMap<u64, Attributes>,
    max_len: u64,
    refused: u32,
}

impl Run<'_> {
    fn name(&mut self) -> Vec<u8> {
        let prefix = ["user.", "trusted.", "security."][self.dice.below(3) as usize];
        let len = match self.dice.below(8) {
            0 => 1 + self.dice.below(245),
            _ => 1 + self.dice.below(12),
        };
        let which = self.dice.below(4) as u8;
        let mut name = prefix.as_bytes().to_vec();
        // Bytes above 127 too: their hash was once computed as of signed characters.
        name.extend(core::iter::repeat_n(if which == 3 { 0xE4 } else { b'a' + which }, len as usize));
        name
    }

    fn len(&mut self) -> usize {
        let most = match self.dice.below(10) {
            0 => self.max_len,
            1 | 2 => 700,
            3..=5 => 100,
            _ => 24,
        };
        self.dice.below(most + 1) as usize
    }

    fn step(&mut self, at: u64) {
        let ino = self.inodes[self.dice.below(self.inodes.len() as u64) as usize];
        let attributes = self.model.entry(ino).or_default();
        let existing = attributes.keys().nth(self.dice.below(6) as usize).cloned();
        let name = existing.filter(|_| at % 2 == 0).unwrap_or_else(|| self.name());
        let value = (self.dice.below(4) > 0).then(|| noise(at + 1, self.len()));
        let how =
            [SetXattr::Any, SetXattr::Any, SetXattr::Create, SetXattr::Replace][self.dice.below(4) as usize];
        let attributes = self.model.entry(ino).or_default();
        let is_there = attributes.contains_key(&name);
        let done = set(&self.mounted, ino, &name, value.as_deref(), how);
        let expected = match how {
            SetXattr::Create if is_there => Some(Error::Exists),
            SetXattr::Replace if !is_there => Some(Error::NoAttribute),
            _ if value.is_none() && !is_there => Some(Error::NoAttribute),
            _ => None,
        };
        match (done, expected) {
            (Err(error), Some(expected)) => assert_eq!(error, expected),
            (Err(Error::NoSpace { .. }), None) if value.is_some() => self.refused += 1,
            (Ok(node), None) => {
                assert_eq!(node.attributes.ctime.seconds, NOW.seconds);
                match value {
                    Some(value) => attributes.insert(name, value),
                    None => attributes.remove(&name),
                };
            }
            (done, expected) => panic!("{done:?} and not {expected:?}"),
        }
        let found = all(&self.mounted, ino);
        assert!(found == self.model[&ino], "step {at}: {:?}", found.keys());
    }

    fn check(&mut self, what: &str) {
        unmount(&self.mounted);
        check(self.image, what);
        self.mounted = mount(self.image);
        for (&ino, attributes) in &self.model {
            assert!(all(&self.mounted, ino) == *attributes, "{what}");
        }
    }
}

fn random(kinds: &[&[&str]], max_len: u64) {
    if !have_tools() {
        return;
    }
    let rounds: u64 = std::env::var("RUMPCAP_XATTR_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap());
    for (seed, arguments) in (1..).zip(kinds) {
        let image = image(arguments, "16M");
        let mounted = mount(&image);
        let inodes = FILES.iter().map(|name| walk(&mounted, name).attributes.ino.0).collect();
        let dice = Dice(0x9E37_79B9_7F4A_7C15 ^ seed);
        let mut run =
            Run { image: &image, mounted, dice, inodes, model: BTreeMap::new(), max_len, refused: 0 };
        for round in 0..rounds {
            (0..150).for_each(|at| run.step(round * 150 + at));
            run.check(&format!("{arguments:?} round {round}"));
        }
        assert!(run.model.values().map(BTreeMap::len).sum::<usize>() > 20, "{arguments:?}");
        unmount(&run.mounted);
        compare(&image, &run, arguments);
        remove_all(&image, &run, arguments);
    }
}

/// What the kernel sees is what the model has.
fn compare(image: &Image, run: &Run<'_>, arguments: &[&str]) {
    let Some(kernel) = KernelMount::new(image) else { return };
    for (name, ino) in FILES.iter().zip(&run.inodes) {
        let expected = run.model.get(ino).cloned().unwrap_or_default();
        assert!(of_kernel(&kernel.path().join(name)) == expected, "{arguments:?} {name}");
    }
}

/// Nothing is left of attributes that are removed.
fn remove_all(image: &Image, run: &Run<'_>, arguments: &[&str]) {
    let mounted = mount(image);
    for (&ino, attributes) in &run.model {
        for name in attributes.keys() {
            set(&mounted, ino, name, None, SetXattr::Any).unwrap();
        }
        assert_eq!(all(&mounted, ino), Attributes::new());
    }
    unmount(&mounted);
    check(image, &format!("{arguments:?}: removed"));
    let stat = image.debugfs(&["stats".to_owned(), "stat f0".to_owned()]);
    assert!(stat.contains("File ACL: 0"), "{stat}");
}

#[test]
fn any_order_against_a_model() {
    random(KINDS, 5000);
}

#[test]
fn large_values_against_a_model() {
    random(LARGE_KINDS, 65_536);
}
