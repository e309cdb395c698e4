//! Extended attributes and attributes set and removed: against a model, e2fsck, debugfs, and the kernel of this host.
// A step that fails is a test that fails.
#![allow(clippy::unwrap_used)]

mod directory;
mod support;

use core::ops::ControlFlow;
use directory::{KernelMount, walk};
use rumpcap_block::{BlockDevice, Effect, Fault, FaultInjector, FileDevice, Operation};
use rumpcap_ext4::{Ext4, Options};
use rumpcap_host::file::OpenOptions;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{
    Access, Change, EntryName, FileKind, FileSystem, InodeNo, NewFile, Node, Remove, SetAttributes, SetXattr,
    Timestamp,
};
use rumpcap_vm::{BootOptions, Vm};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use support::{Image, Mounted, have_tools, noise};

type Attributes = BTreeMap<Vec<u8>, Vec<u8>>;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 };

fn device(image: &Image) -> Arc<dyn BlockDevice> {
    let options = OpenOptions { write: true, direct: false };
    Arc::new(FileDevice::open_with(&image.path(), options).unwrap())
}

/// Mounts an image to be changed, in the smallest memory.
fn mount(image: &Image) -> Mounted {
    mount_device(device(image))
}

fn mount_device(device: Arc<dyn BlockDevice>) -> Mounted {
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
        let name = existing.filter(|_| at.is_multiple_of(2)).unwrap_or_else(|| self.name());
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
        let free = free(&mounted);
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
        assert_eq!(remove_all(&image, &run, arguments), free, "{arguments:?}");
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

/// Free blocks and inodes.
fn free(mounted: &Mounted) -> (u64, u64) {
    let stat = mounted.fs.stat_fs(&mounted.reserve()).unwrap();
    (stat.blocks_free, stat.inodes_free)
}

/// Nothing is left of attributes that are removed; gives what is free then.
fn remove_all(image: &Image, run: &Run<'_>, arguments: &[&str]) -> (u64, u64) {
    let mounted = mount(image);
    for (&ino, attributes) in &run.model {
        for name in attributes.keys() {
            set(&mounted, ino, name, None, SetXattr::Any).unwrap();
        }
        assert_eq!(all(&mounted, ino), Attributes::new());
    }
    let free = free(&mounted);
    unmount(&mounted);
    check(image, &format!("{arguments:?}: removed"));
    let stat = image.debugfs(&["stats".to_owned(), "stat f0".to_owned()]);
    assert!(stat.contains("File ACL: 0"), "{stat}");
    free
}

#[test]
fn any_order_against_a_model() {
    random(KINDS, 5000);
}

#[test]
fn large_values_against_a_model() {
    random(LARGE_KINDS, 65_536);
}

fn ino(mounted: &Mounted, path: &str) -> u64 {
    walk(mounted, path).attributes.ino.0
}

/// The blocks of attributes of files, as debugfs says.
fn blocks(image: &Image, files: &[&str]) -> Vec<u64> {
    let commands: Vec<String> = files.iter().map(|file| format!("stat {file}")).collect();
    let output = image.debugfs(&commands);
    let numbers = output.split("File ACL: ").skip(1);
    numbers.map(|rest| rest.split_whitespace().next().unwrap().parse().unwrap()).collect()
}

/// Blocks that the kernel has several inodes share: a change of one is not one of the others.
#[test]
fn shared_blocks_are_copied() {
    if !have_tools() {
        return;
    }
    for arguments in [
        &["-t", "ext4", "-b", "4096"][..],
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"],
        &["-t", "ext3", "-b", "1024", "-I", "128"],
    ] {
        let image = image(arguments, "16M");
        let Some(kernel) = KernelMount::new(&image) else { return };
        let shared = noise(5, 600);
        for file in &FILES[..4] {
            xattr::set(kernel.path().join(file), "user.shared", &shared).unwrap();
        }
        drop(kernel);
        let before = blocks(&image, &FILES[..4]);
        assert!(before[0] != 0 && before.iter().all(|&block| block == before[0]), "{before:?}");
        let mounted = mount(&image);
        let inodes: Vec<u64> = FILES.iter().map(|file| ino(&mounted, file)).collect();
        // Changed, removed, moved away, one left.
        let own = noise(6, 500);
        set(&mounted, inodes[0], b"user.shared", Some(&own), SetXattr::Replace).unwrap();
        set(&mounted, inodes[1], b"user.shared", None, SetXattr::Any).unwrap();
        set(&mounted, inodes[2], b"user.other", Some(&own[..200]), SetXattr::Create).unwrap();
        unmount(&mounted);
        check(&image, "shared");
        let after = blocks(&image, &FILES[..4]);
        assert_eq!((after[1], after[3]), (0, before[0]), "{after:?}");
        assert!(after[0] != before[0] && after[2] != before[0], "{after:?}");
        let kernel = KernelMount::new(&image).unwrap();
        let value = |file: &str, name: &str| xattr::get(kernel.path().join(file), name).unwrap();
        assert_eq!(value("f0", "user.shared"), Some(own.clone()));
        assert_eq!(value("f1", "user.shared"), None);
        assert_eq!(value("f2", "user.shared"), Some(shared.clone()));
        assert_eq!(value("f2", "user.other"), Some(own[..200].to_vec()));
        assert_eq!(value("f3", "user.shared"), Some(shared.clone()));
        drop(kernel);
        let mounted = mount(&image);
        set(&mounted, inodes[3], b"user.shared", None, SetXattr::Any).unwrap();
        unmount(&mounted);
        check(&image, "the last share");
    }
}

#[test]
fn a_full_device_changes_nothing() {
    if !have_tools() {
        return;
    }
    for arguments in [
        &["-t", "ext4", "-b", "1024", "-m", "0", "-O", "^has_journal"][..],
        &["-t", "ext2", "-b", "1024", "-I", "128", "-m", "0"],
        &["-t", "ext4", "-b", "1024", "-m", "0", "-O", "ea_inode,^has_journal"],
    ] {
        let image = image(arguments, "1M");
        // Room for a first step of a large value, and not for all of it.
        leave_free(&image, "filler", 18);
        let mounted = mount(&image);
        let inodes: Vec<u64> = FILES.iter().map(|file| ino(&mounted, file)).collect();
        let before = free(&mounted);
        for &ino in &inodes {
            let done = set(&mounted, ino, b"trusted.large", Some(&noise(3, 20_000)), SetXattr::Any);
            assert!(matches!(done, Err(Error::NoSpace { .. })), "{done:?}");
            assert_eq!((all(&mounted, ino), free(&mounted)), (Attributes::new(), before));
        }
        unmount(&mounted);
        check(&image, "not large enough");
        leave_free(&image, "more", 3);
        let mounted = mount(&image);
        for (n, &ino) in inodes.iter().enumerate() {
            let before = free(&mounted);
            let done = set(&mounted, ino, b"user.block", Some(&noise(ino, 700)), SetXattr::Any);
            let expected = if n < 3 { Ok(before.0 - 1) } else { Err(Error::NoSpace { what: "blocks" }) };
            assert_eq!(done.map(|_| free(&mounted).0), expected, "{n}");
            assert_eq!(all(&mounted, ino).len(), usize::from(n < 3));
            // What has its place already can be changed.
            let again = set(&mounted, ino, b"user.block", Some(&noise(ino, 650)), SetXattr::Replace);
            assert_eq!(again.is_ok(), n < 3);
        }
        assert_eq!(free(&mounted).0, 0);
        unmount(&mounted);
        check(&image, "full");
    }
}

/// Fills a device of blocks of 1 KiB.
fn leave_free(image: &Image, name: &str, blocks: u64) {
    let len = free(&image.mount()).0 - blocks;
    let filler = tempfile::NamedTempFile::new().unwrap();
    // With its map, where it has one.
    for len in [len, len - len.div_ceil(256) - 1] {
        std::fs::write(filler.path(), noise(1, len as usize * 1024)).unwrap();
        image.debugfs(&[format!("rm {name}"), format!("write {} {name}", filler.path().display())]);
        let left = free(&image.mount()).0;
        if left >= blocks {
            let rest = noise(2, (left - blocks) as usize * 1024);
            for (n, block) in rest.chunks(1024).enumerate() {
                std::fs::write(filler.path(), block).unwrap();
                image.debugfs(&[format!("write {} {name}{n}", filler.path().display())]);
            }
            break;
        }
    }
    assert_eq!(free(&image.mount()).0, blocks);
}

#[test]
fn what_cannot_be_set() {
    if !have_tools() {
        return;
    }
    let tree = tempfile::TempDir::new().unwrap();
    std::fs::write(tree.path().join("f"), "x").unwrap();
    std::os::unix::fs::symlink("f", tree.path().join("link")).unwrap();
    let image = Image::make(&["-t", "ext4", "-O", "inline_data"], "16M", Some(tree.path()));
    image.debugfs(&["write /dev/null frozen".to_owned()]);
    let mounted = mount(&image);
    let (file, link) = (ino(&mounted, "f"), walk(&mounted, "/"));
    let link = directory::lookup(&mounted, &link, b"link").unwrap();
    let frozen = ino(&mounted, "frozen");
    let immutable = SetAttributes { flags: Some(0x10), ..SetAttributes::default() };
    mounted.fs.set_attributes(&mounted.reserve(), InodeNo(frozen), &immutable, NOW).unwrap();
    let put = |ino, name: &[u8], value: &[u8]| set(&mounted, ino, name, Some(value), SetXattr::Any).err();
    let long = [&b"user."[..], &[b'n'; 251]].concat();
    assert_eq!(put(file, b"system.data", b"x").map(Error::errno), Some(95));
    assert_eq!(put(file, b"other.name", b"x").map(Error::errno), Some(95));
    assert_eq!(put(file, b"user.", b"x").map(Error::errno), Some(95));
    assert_eq!(put(file, &long, b"x"), Some(Error::Range { need: 256 }));
    assert_eq!(put(file, b"user.a\0b", b"x").map(Error::errno), Some(22));
    assert_eq!(put(file, b"user.large", &vec![1; 5000]).map(Error::errno), Some(28));
    assert_eq!(put(file, b"system.posix_acl_access", b"nonsense").map(Error::errno), Some(22));
    assert_eq!(put(file, b"system.posix_acl_default", &acl(2)).map(Error::errno), Some(22));
    assert_eq!(put(link, b"user.name", b"x"), Some(Error::NotPermitted));
    assert_eq!(put(link, b"trusted.name", b"x"), None);
    assert_eq!(put(frozen, b"user.name", b"x"), Some(Error::NotPermitted));
    let absent = set(&mounted, file, b"user.absent", None, SetXattr::Any);
    assert_eq!(absent.err(), Some(Error::NoAttribute));
    unmount(&mounted);
    check(&image, "refused");
}

/// An ACL as `setxattr` takes it, with `users` users.
fn acl(users: u32) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let mut add = |tag: u16, permissions: u16, id: u32| {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    };
    add(0x01, 6, u32::MAX);
    (0..users).for_each(|user| add(0x02, 4, 1000 + user * 7));
    add(0x04, 5, u32::MAX);
    if users > 0 {
        add(0x08, 1, 77);
        add(0x10, 7, u32::MAX);
    }
    add(0x20, 0, u32::MAX);
    bytes
}

/// What `getfacl` says of files, by number.
fn getfacl(kernel: &KernelMount, files: &[&str]) -> String {
    let paths = files.iter().map(|file| kernel.path().join(file));
    let output = Command::new("getfacl").args(["-n", "-p", "--omit-header"]).args(paths).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The same lists and modes set by the kernel on one image and here on another.
#[test]
fn access_control_lists_as_the_kernel_sets_them() {
    if !have_tools() || Command::new("getfacl").arg("--version").output().is_err() {
        return;
    }
    for arguments in [&["-t", "ext4"][..], &["-t", "ext4", "-I", "128", "-b", "1024"], &["-t", "ext2"]] {
        let (ours, theirs) = (image(arguments, "16M"), image(arguments, "16M"));
        let Some(kernel) = KernelMount::new(&theirs) else { return };
        let mounted = mount(&ours);
        let r = mounted.reserve();
        let steps: [(&str, &str, u32); 8] = [
            ("f0", "system.posix_acl_access", 3),
            ("f1", "system.posix_acl_access", 0),
            ("f2", "system.posix_acl_access", 20),
            ("f2", "system.posix_acl_access", 0),
            ("f3", "system.posix_acl_access", 1),
            ("d", "system.posix_acl_access", 2),
            ("d", "system.posix_acl_default", 5),
            ("f4", "system.posix_acl_access", 7),
        ];
        for (file, name, users) in steps {
            xattr::set(kernel.path().join(file), name, &acl(users)).unwrap();
            set(&mounted, ino(&mounted, file), name.as_bytes(), Some(&acl(users)), SetXattr::Any).unwrap();
        }
        // A mode goes into the list, too.
        for (file, mode) in [("f0", 0o4751), ("f3", 0o600), ("d", 0o1777), ("f5", 0o640)] {
            use std::os::unix::fs::PermissionsExt;
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(kernel.path().join(file), permissions).unwrap();
            let change = SetAttributes { mode: Some(mode), ..SetAttributes::default() };
            mounted.fs.set_attributes(&r, InodeNo(ino(&mounted, file)), &change, NOW).unwrap();
        }
        xattr::remove(kernel.path().join("f4"), "system.posix_acl_access").unwrap();
        set(&mounted, ino(&mounted, "f4"), b"system.posix_acl_access", None, SetXattr::Any).unwrap();
        drop(r);
        unmount(&mounted);
        check(&ours, "lists");
        let expected = (getfacl(&kernel, &FILES), modes(&kernel));
        drop(kernel);
        let kernel = KernelMount::new(&ours).unwrap();
        assert_eq!((getfacl(&kernel, &FILES), modes(&kernel)), expected, "{arguments:?}");
    }
}

fn modes(kernel: &KernelMount) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt;
    FILES.iter().map(|file| kernel.path().join(file).metadata().unwrap().mode()).collect()
}

#[test]
fn attributes_as_the_kernel_sees_them() {
    use std::os::unix::fs::MetadataExt;
    if !have_tools() {
        return;
    }
    for arguments in
        [&["-t", "ext4"][..], &["-t", "ext2", "-I", "128"], &["-t", "ext4", "-I", "1024", "-b", "1024"]]
    {
        let has_extra = !arguments.contains(&"128");
        let image = image(arguments, "16M");
        let mounted = mount(&image);
        let r = mounted.reserve();
        let time = |seconds, nanoseconds| Some(Timestamp { seconds, nanoseconds });
        let times = [
            time(-5, 7),
            time(-0x8000_0000, 0),
            time(0x9000_0000, 999_999_999),
            time(0x3_7FFF_FFFF, 1),
            time(1_700_000_000, 5),
            time(i64::MAX, 999_999_999),
        ];
        for (i, file) in FILES[..6].iter().enumerate() {
            let change = SetAttributes {
                mode: Some((0o4000 >> i) | (0o640 + i as u32)),
                uid: Some(0xFFFF_0000 + i as u32),
                gid: Some(70_000 * i as u32),
                atime: times[i],
                mtime: times[(i + 1) % 6],
                ctime: times[(i + 2) % 6],
                flags: Some(0x8_0000 | 0x40 << (i % 2)),
                ..SetAttributes::default()
            };
            let set = mounted.fs.set_attributes(&r, InodeNo(ino(&mounted, file)), &change, NOW).unwrap();
            assert_eq!((set.attributes.uid, set.attributes.gid), (change.uid.unwrap(), change.gid.unwrap()));
            assert_eq!(set.attributes.flags & 0xC0, 0x40 << (i % 2));
        }
        drop(r);
        unmount(&mounted);
        check(&image, "attributes");
        let Some(kernel) = KernelMount::new(&image) else { return };
        let most = if has_extra { 0x3_7FFF_FFFF } else { 0x7FFF_FFFF };
        let clamped = |time: Option<Timestamp>| {
            let Timestamp { seconds, nanoseconds } = time.unwrap();
            let fits = seconds < most;
            (seconds.min(most), if fits && has_extra { i64::from(nanoseconds) } else { 0 })
        };
        for (i, file) in FILES[..6].iter().enumerate() {
            let found = kernel.path().join(file).metadata().unwrap();
            let what = format!("{arguments:?} {file}");
            assert_eq!(found.mode(), 0o100_000 | (0o4000 >> i) | (0o640 + i as u32), "{what}");
            assert_eq!((found.uid(), found.gid()), (0xFFFF_0000 + i as u32, 70_000 * i as u32), "{what}");
            assert_eq!((found.atime(), found.atime_nsec()), clamped(times[i]), "{what}");
            assert_eq!((found.mtime(), found.mtime_nsec()), clamped(times[(i + 1) % 6]), "{what}");
            assert_eq!((found.ctime(), found.ctime_nsec()), clamped(times[(i + 2) % 6]), "{what}");
        }
    }
}

#[test]
fn immutable_until_the_flag_goes() {
    if !have_tools() {
        return;
    }
    let image = image(&["-t", "ext4"], "16M");
    let mounted = mount(&image);
    let r = mounted.reserve();
    let file = InodeNo(ino(&mounted, "f4"));
    let apply = |change: SetAttributes| mounted.fs.set_attributes(&r, file, &change, NOW);
    let flags = |flags| SetAttributes { flags: Some(flags), ..SetAttributes::default() };
    let chmod = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
    let old = mounted.node(file.0).unwrap().attributes.flags;
    // What says how the inode is stored stays, whatever is asked for.
    assert_eq!(apply(flags(0x10)).unwrap().attributes.flags, old | 0x10);
    assert_eq!(apply(chmod).err(), Some(Error::NotPermitted));
    assert_eq!(apply(flags(0x10 | 0x40)).err(), Some(Error::NotPermitted));
    assert_eq!(
        apply(SetAttributes { mode: Some(0o604), ..flags(0) }).unwrap().attributes.mode & 0o777,
        0o604
    );
    assert_eq!(apply(flags(0x20)).unwrap().attributes.flags, old | 0x20);
    assert_eq!(apply(chmod).err(), Some(Error::NotPermitted));
    assert_eq!(apply(flags(0)).unwrap().attributes.flags, old);
    // Flags of directories; casefold, which the file system does not have; a project, likewise.
    assert_eq!(apply(flags(0x2_0000)).err().map(Error::errno), Some(22));
    assert_eq!(
        apply(SetAttributes { project: Some(7), ..SetAttributes::default() }).err().map(Error::errno),
        Some(95)
    );
    let dir = InodeNo(ino(&mounted, "d"));
    let casefold = mounted.fs.set_attributes(&r, dir, &flags(0x4000_0000), NOW);
    assert_eq!(casefold.err().map(Error::errno), Some(22));
    mounted.fs.set_attributes(&r, dir, &flags(0x2_0000), NOW).unwrap();
    drop(r);
    unmount(&mounted);
    check(&image, "flags");
}

/// Whatever the places of attributes hold: an error, or attributes that can be read.
#[test]
fn damage_gives_errors() {
    if !have_tools() {
        return;
    }
    let tree = tempfile::TempDir::new().unwrap();
    std::fs::write(tree.path().join("file"), "x").unwrap();
    let image = Image::make(
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal,ea_inode"],
        "2M",
        Some(tree.path()),
    );
    let mounted = mount(&image);
    let file = ino(&mounted, "file");
    for (name, len) in [("user.a", 20), ("user.b", 600), ("trusted.c", 5), ("user.dd", 60), ("security.e", 0)]
    {
        set(&mounted, file, name.as_bytes(), Some(&noise(1, len)), SetXattr::Any).unwrap();
    }
    unmount(&mounted);
    check(&image, "before the damage");
    let block = blocks(&image, &["file"])[0];
    let imap = image.debugfs(&["imap file".to_owned()]);
    let (_, place) = imap.split_once("located at block ").unwrap();
    let (number, offset) = place.split_once(", offset 0x").unwrap();
    let offset = u64::from_str_radix(offset.split_whitespace().next().unwrap(), 16).unwrap();
    let inode = number.parse::<u64>().unwrap() * 1024 + offset;
    let good = std::fs::read(image.path()).unwrap();
    let mut errors = 0;
    for seed in 0..400_u64 {
        std::fs::write(image.path(), &good).unwrap();
        for bytes in noise(seed, 24).chunks_exact(8) {
            let within = u64::from(u16::from_le_bytes([bytes[1], bytes[2]]));
            let at = match bytes[0] % 3 {
                0 => inode + 128 + within % 128,
                1 => block * 1024 + within % 128,
                _ => block * 1024 + within % 1024,
            };
            image.patch(at, &bytes[4..5]);
        }
        let mounted = mount(&image);
        let mut dice = Dice(seed + 99);
        for step in 0..12 {
            let names: [&[u8]; 6] =
                [b"user.a", b"user.b", b"trusted.c", b"user.dd", b"security.e", b"user.new"];
            let name = names[dice.below(6) as usize];
            let value = (dice.below(3) > 0).then(|| noise(step, dice.below(120) as usize));
            errors += u32::from(set(&mounted, file, name, value.as_deref(), SetXattr::Any).is_err());
        }
    }
    assert!(errors > 100, "{errors}");
}

/// Values in inodes that the kernel has several entries refer to, and blocks of such entries that several inodes share.
#[test]
fn shared_values_are_counted() {
    if !have_tools() {
        return;
    }
    for arguments in [
        &["-t", "ext4", "-b", "1024", "-I", "128", "-O", "ea_inode"][..],
        &["-t", "ext4", "-b", "4096", "-O", "ea_inode"],
    ] {
        let image = image(arguments, "16M");
        let before = free(&image.mount());
        let Some(kernel) = KernelMount::new(&image) else { return };
        let shared = noise(5, 30_000);
        for file in &FILES[..4] {
            xattr::set(kernel.path().join(file), "user.shared", &shared).unwrap();
        }
        drop(kernel);
        // The kernel leaves a reference for each inode that shares a block of it; e2fsck counts one for the block.
        directory::fsck(&image, &["-fy"]);
        assert_eq!(before.1 - free(&image.mount()).1, 1, "the kernel shares the value");
        let mounted = mount(&image);
        let inodes: Vec<u64> = FILES.iter().map(|file| ino(&mounted, file)).collect();
        set(&mounted, inodes[0], b"user.shared", Some(&shared[..20_000]), SetXattr::Replace).unwrap();
        set(&mounted, inodes[1], b"user.shared", None, SetXattr::Any).unwrap();
        set(&mounted, inodes[2], b"user.other", Some(&shared[..200]), SetXattr::Create).unwrap();
        unmount(&mounted);
        check(&image, "shared values");
        let kernel = KernelMount::new(&image).unwrap();
        let value = |file: &str, name: &str| xattr::get(kernel.path().join(file), name).unwrap();
        assert_eq!(value("f0", "user.shared"), Some(shared[..20_000].to_vec()));
        assert_eq!(value("f1", "user.shared"), None);
        assert_eq!(value("f2", "user.shared"), Some(shared.clone()));
        assert_eq!(value("f3", "user.shared"), Some(shared.clone()));
        drop(kernel);
        let mounted = mount(&image);
        for file in [0, 2, 3] {
            set(&mounted, inodes[file], b"user.shared", None, SetXattr::Any).unwrap();
        }
        set(&mounted, inodes[2], b"user.other", None, SetXattr::Any).unwrap();
        unmount(&mounted);
        check(&image, "no shared values");
        assert_eq!(free(&image.mount()), before);
    }
}

/// A file that is removed, and one that never had a name, give back what their attributes take; a power cut does not change that.
#[test]
fn what_goes_takes_its_attributes_along() {
    if !have_tools() {
        return;
    }
    for arguments in LARGE_KINDS.iter().chain(&KINDS[..4]) {
        let image = image(arguments, "16M");
        let mounted = mount(&image);
        let r = mounted.reserve();
        let root = mounted.fs.root();
        // What the directory and the tables take is taken before.
        let new = NewFile { kind: FileKind::Regular, mode: 0o644, uid: 5, gid: 6, rdev: (0, 0), target: b"" };
        let at = |name| EntryName { dir: root, name };
        let has_inodes = arguments.iter().any(|argument| argument.contains("ea_inode"));
        let before = free(&mounted);
        let fill = |ino: u64| {
            for n in 0..6 {
                let len = if has_inodes { n * 9000 } else { n * 40 };
                set(
                    &mounted,
                    ino,
                    format!("user.{n}").as_bytes(),
                    Some(&noise(n as u64 + 1, len)),
                    SetXattr::Any,
                )
                .unwrap();
            }
        };
        let named = mounted.fs.create(&r, at(b"new"), &new, NOW).unwrap();
        fill(named.attributes.ino.0);
        let nameless = mounted.fs.create_nameless(&r, root, &new, NOW).unwrap();
        fill(nameless.attributes.ino.0);
        assert!(free(&mounted).0 < before.0 - if has_inodes { 40 } else { 0 });
        mounted.fs.delete(&r, nameless.attributes.ino, NOW).unwrap();
        if mounted.fs.remove(&r, at(b"new"), Remove::File, &|_| false, NOW).unwrap().is_left {
            mounted.fs.delete(&r, named.attributes.ino, NOW).unwrap();
        }
        assert_eq!(free(&mounted), before, "{arguments:?}");
        // One that is in use, and is still when the power goes.
        let used = mounted.fs.create(&r, at(b"used"), &new, NOW).unwrap();
        fill(used.attributes.ino.0);
        mounted.fs.remove(&r, at(b"used"), Remove::File, &|_| true, NOW).unwrap();
        let chmod = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
        let node = mounted.fs.set_attributes(&r, used.attributes.ino, &chmod, NOW).unwrap();
        assert_eq!((node.attributes.mode, node.attributes.nlink), (0o100_600, 0));
        mounted.fs.sync(&r, NOW).unwrap();
        let has_journal = mounted.fs.super_block().features.has_journal();
        if !has_journal {
            mounted.fs.delete(&r, used.attributes.ino, NOW).unwrap();
        }
        drop(r);
        if !has_journal {
            unmount(&mounted);
        }
        drop(mounted);
        let mounted = mount(&image);
        assert_eq!(free(&mounted), before, "{arguments:?}: the next mount");
        unmount(&mounted);
        check(&image, &format!("{arguments:?}: gone"));
    }
}

/// Requests that fail in the middle of a change: it is done, or nothing has changed.
#[test]
fn a_failing_device_changes_nothing() {
    if !have_tools() {
        return;
    }
    for arguments in [LARGE_KINDS[0], LARGE_KINDS[1], KINDS[2]] {
        let image = image(arguments, "16M");
        let injector = Arc::new(FaultInjector::new(device(&image)));
        let mut mounted = mount_device(Arc::clone(&injector) as _);
        let inodes: Vec<u64> = FILES.iter().map(|file| ino(&mounted, file)).collect();
        let mut model: BTreeMap<u64, Attributes> = BTreeMap::new();
        let mut dice = Dice(0x1234_5678_9ABC_DEF1);
        let (mut failed, mut done) = (0, 0);
        for step in 0..80 {
            // A new mount has nothing of what the change needs in memory.
            unmount(&mounted);
            drop(mounted);
            mounted = mount_device(Arc::clone(&injector) as _);
            injector.reset();
            let nth = 1 + dice.below(10);
            injector
                .inject(Fault { operation: Operation::Read, nth, effect: Effect::Fail { errno: 5 } })
                .unwrap();
            let ino = inodes[dice.below(7) as usize];
            let name = format!("user.{}", dice.below(4));
            let value =
                (dice.below(4) > 0).then(|| noise(step + 1, [10, 300, 2000, 20_000][dice.below(4) as usize]));
            let result = set(&mounted, ino, name.as_bytes(), value.as_deref(), SetXattr::Any);
            injector.reset();
            match (result, value) {
                (Ok(_), Some(value)) => drop(model.entry(ino).or_default().insert(name.into_bytes(), value)),
                (Ok(_), None) => drop(model.entry(ino).or_default().remove(name.as_bytes())),
                (Err(Error::Io { .. }), _) => failed += 1,
                (Err(Error::NoAttribute | Error::NoSpace { .. }), _) => {}
                (Err(error), _) => panic!("{arguments:?}: {error}"),
            }
            done += 1;
            assert!(all(&mounted, ino) == model.get(&ino).cloned().unwrap_or_default(), "step {step}");
        }
        assert!(failed > done / 8, "{failed} of {done}");
        unmount(&mounted);
        drop(mounted);
        // What could not be deleted behind a change is at the next mount.
        unmount(&mount(&image));
        check(&image, &format!("{arguments:?}: failing"));
    }
}

#[test]
fn projects_and_directories_without_case() {
    if !have_tools() {
        return;
    }
    let image = image(&["-t", "ext4", "-O", "project,casefold", "-I", "256"], "16M");
    let mounted = mount(&image);
    let r = mounted.reserve();
    let dir = NewFile { kind: FileKind::Directory, mode: 0o755, uid: 0, gid: 0, rdev: (0, 0), target: b"" };
    let empty = EntryName { dir: mounted.fs.root(), name: b"empty" };
    let empty = mounted.fs.create(&r, empty, &dir, NOW).unwrap().attributes.ino;
    let apply = |ino, change: SetAttributes| mounted.fs.set_attributes(&r, ino, &change, NOW);
    let casefold = SetAttributes { flags: Some(0x4000_0000), ..SetAttributes::default() };
    let project = SetAttributes { project: Some(0x8765_4321), ..SetAttributes::default() };
    let full = InodeNo(ino(&mounted, "d"));
    assert_eq!(apply(full, casefold).err(), Some(Error::NotEmpty));
    assert_eq!(apply(empty, casefold).unwrap().attributes.flags & 0x4000_0000, 0x4000_0000);
    let file = InodeNo(ino(&mounted, "f4"));
    assert_eq!(apply(file, casefold).err().map(Error::errno), Some(22));
    assert_eq!(apply(file, project).unwrap().attributes.project, 0x8765_4321);
    drop(r);
    unmount(&mounted);
    check(&image, "project");
    let stat = image.stat(&["/f4".to_owned(), "/empty".to_owned()]);
    assert_eq!(stat["/f4"].project, 0x8765_4321);
    assert_eq!(stat["/empty"].flags & 0x4000_0000, 0x4000_0000);
}
