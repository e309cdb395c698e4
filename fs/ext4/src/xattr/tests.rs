//! What other modules ask of attributes: inherited lists, freed attributes, the rest of inline content. On images of mke2fs, judged by
//! e2fsck and the kernel.
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::free::Freed;
use super::*;
use crate::inode_edit::Inode;
use crate::layout::inode_flags;
use crate::transaction::Handle;
use crate::{MAX_PINS, Options};
use rumpcap_block::{BlockDevice, FileDevice};
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{Access, Change, FileSystem, InodeNo, SetXattr, Timestamp};
use rumpcap_vm::{BootOptions, Vm};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };

/// An image with a file of 100 bytes, an empty one and two directories.
struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn make(arguments: &[&str]) -> Option<World> {
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        std::fs::create_dir_all(tree.join("parent/dir")).unwrap();
        std::fs::write(tree.join("parent/file"), [b'x'; 100]).unwrap();
        std::fs::write(tree.join("parent/plain"), "").unwrap();
        let world = World { directory };
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F", "-d"]).arg(&tree).args(arguments).arg(world.image()).arg("16M");
        match mke2fs.output() {
            Ok(made) => assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr)),
            Err(_) => {
                skip("mke2fs is not installed");
                return None;
            }
        }
        Some(world)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn check(&self) {
        let output = Command::new("e2fsck").arg("-fn").arg(self.image()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// What `look` finds in the image that the kernel mounts; `None` where it cannot.
    fn in_kernel<T>(&self, look: impl FnOnce(&Path) -> T) -> Option<T> {
        let at = self.directory.path().join("mount");
        std::fs::create_dir_all(&at).unwrap();
        let mounted = Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(&at).output().unwrap();
        if !mounted.status.success() {
            skip("no loop mounts");
            return None;
        }
        let found = look(&at);
        assert!(Command::new("umount").arg(&at).status().unwrap().success());
        Some(found)
    }
}

/// A mount that is written.
struct Mount {
    vm: Arc<Vm>,
    fs: Ext4,
}

impl Mount {
    fn of(world: &World) -> Mount {
        let options = rumpcap_host::file::OpenOptions { write: true, direct: false };
        let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open_with(&world.image(), options).unwrap());
        let vm = Vm::boot(BootOptions { limit_bytes: Some(256 << 10), ..Default::default() }).unwrap();
        let options = Options { access: Access::Write, now: NOW, ..Options::default() };
        let fs = Ext4::mount(&vm, device, &options).unwrap();
        Mount { vm, fs }
    }

    fn ino(&self, path: &str) -> InodeNo {
        let r = self.vm.reserve(MAX_PINS);
        path.split('/').fold(self.fs.root(), |dir, name| {
            let dir = self.fs.read_node(&r, dir, 0).unwrap();
            self.fs.lookup(&r, &dir, name.as_bytes()).unwrap()
        })
    }

    fn set(&self, path: &str, name: &str, value: &[u8]) {
        let r = self.vm.reserve(MAX_PINS);
        self.fs.set_xattr(&r, self.ino(path), name.as_bytes(), Some(value), SetXattr::Any, NOW).unwrap();
    }

    /// An operation on the inode of a path.
    fn change<T>(
        &self,
        path: &str,
        mut operate: impl FnMut(&mut Handle<'_>, &mut Inode) -> Result<T>,
    ) -> Result<T> {
        let ino = self.ino(path);
        self.fs.change(&self.vm.reserve(MAX_PINS), NOW, |h| {
            let mut inode = h.inode(ino)?;
            operate(h, &mut inode)
        })
    }

    fn end(self) {
        self.fs.unmount(&self.vm.reserve(MAX_PINS), NOW).unwrap();
    }
}

/// A list as `setxattr` takes it: a user, a group, and a mask.
fn acl(mask: u16) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    let entries = [
        (1, 7, u32::MAX),
        (2, 6, 1000),
        (4, 5, u32::MAX),
        (8, 3, 77),
        (0x10, mask, u32::MAX),
        (0x20, 4, u32::MAX),
    ];
    for (tag, permissions, id) in entries {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(u32::to_le_bytes(id));
    }
    bytes
}

/// A list that says no more than a mode.
fn plain_acl() -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions) in [(1, 7), (4, 5), (0x20, 1)] {
        bytes.extend(u16::to_le_bytes(tag));
        bytes.extend(u16::to_le_bytes(permissions));
        bytes.extend(u32::MAX.to_le_bytes());
    }
    bytes
}

/// What `getfacl` says of a file, but for its name.
fn getfacl(path: &Path) -> String {
    let output = Command::new("getfacl").args(["-n", "-p", "--omit-header"]).arg(path).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn new_files_inherit_what_the_kernel_gives_its_own() {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
    if Command::new("getfacl").arg("--version").output().is_err() {
        return skip("getfacl is not installed");
    }
    for (arguments, list) in [
        (&["-t", "ext4"][..], acl(7)),
        (&["-t", "ext4"], plain_acl()),
        (&["-t", "ext4", "-I", "128", "-b", "1024"], acl(6)),
        (&["-t", "ext4", "-I", "1024"], acl(5)),
    ] {
        let Some(world) = World::make(arguments) else { return };
        let mount = Mount::of(&world);
        mount.set("parent", "system.posix_acl_default", &list);
        let parent = mount.ino("parent");
        for (path, mode) in [("parent/plain", 0o640), ("parent/dir", 0o750)] {
            let inherited = mount.change(path, |h, inode| {
                inode.raw.mode = (inode.raw.mode.get() & !0o7777 | mode).into();
                let parent = h.inode(parent)?;
                h.inherit_acl(&parent, inode)?;
                h.put_inode(inode)
            });
            assert_eq!(inherited, Ok(()));
        }
        mount.end();
        world.check();
        let same = world.in_kernel(|at| {
            let new = |name: &str| at.join("parent").join(name);
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o640).open(new("theirs")).unwrap();
            std::fs::DirBuilder::new().mode(0o750).create(new("their-dir")).unwrap();
            assert_eq!(getfacl(&new("plain")), getfacl(&new("theirs")), "{arguments:?}");
            assert_eq!(getfacl(&new("dir")), getfacl(&new("their-dir")), "{arguments:?}");
        });
        if same.is_none() {
            return;
        }
    }
}

#[test]
fn all_that_a_file_has_outside_is_freed() {
    for arguments in [
        &["-t", "ext4", "-b", "1024", "-O", "ea_inode"][..],
        &["-t", "ext4", "-b", "4096", "-I", "1024", "-O", "ea_inode,^has_journal"],
        &["-t", "ext4", "-b", "1024", "-I", "128", "-O", "ea_inode"],
        &["-t", "ext3", "-b", "1024"],
    ] {
        let Some(world) = World::make(arguments) else { return };
        let mount = Mount::of(&world);
        let before = mount.fs.counts_now();
        let has_inodes = mount.fs.sb.features.has_ea_inode();
        for n in 0..8 {
            let len = if has_inodes { n * 9000 } else { n * 20 };
            mount.set("parent/file", &format!("user.{n}"), &vec![n as u8; len]);
        }
        assert!(mount.fs.counts_now() != before);
        let mut steps = 1;
        while mount.change("parent/file", |h, inode| h.free_attributes(inode)) == Ok(Freed::Part) {
            steps += 1;
        }
        assert!(steps >= if has_inodes { 7 } else { 1 }, "{steps}");
        assert_eq!(mount.fs.counts_now(), before);
        mount.end();
        world.check();
    }
}

#[test]
fn the_rest_of_inline_content() {
    for arguments in [
        &["-t", "ext4", "-b", "1024", "-O", "inline_data"][..],
        &["-t", "ext4", "-I", "1024", "-O", "inline_data,^has_journal"],
    ] {
        let Some(world) = World::make(arguments) else { return };
        let mount = Mount::of(&world);
        let path = "parent/file";
        mount.set(path, "user.small", b"beside");
        let room = mount.change(path, |h, inode| h.inline_space(inode)).unwrap().unwrap();
        assert!(room >= 40, "{room}");
        let too_much = mount.change(path, |h, inode| h.set_inline_attribute(inode, room + 1, |_| ()));
        assert!(matches!(too_much, Err(Error::NoSpace { .. })));
        let mut last = 0;
        for len in [room, 10, 1, usize::MAX] {
            let room = mount.change(path, |h, inode| h.inline_space(inode)).unwrap().unwrap();
            let len = len.min(room);
            last = len;
            let set = mount.change(path, |h, inode| {
                inode.set_size_bytes(60 + len as u64);
                h.set_inline_attribute(inode, len, |bytes| {
                    assert_eq!((bytes.len(), bytes[0]), (len, b'x'), "the beginning stays");
                    bytes[len - 1] = b'x';
                })
            });
            assert_eq!(set, Ok(()));
            mount.set(path, "user.small", &vec![b'y'; len % 20 / 4]);
            mount.set(path, "user.other", &vec![b'z'; len]);
        }
        // What is not to be inline any more.
        mount
            .change("parent/plain", |h, inode| {
                h.remove_inline_attribute(inode)?;
                inode.set_flags(0, inode_flags::INLINE_DATA);
                h.begin_map(inode);
                assert_eq!(h.inline_space(inode)?, h.inline_space(inode)?);
                h.put_inode(inode)
            })
            .unwrap();
        mount.end();
        world.check();
        let content = world.in_kernel(|at| std::fs::read(at.join(path)).unwrap());
        let Some(content) = content else { return };
        assert!(last > 1);
        assert_eq!(content.len(), 60 + last);
        assert_eq!(
            (content[..60].to_vec(), content[60], content.last()),
            (vec![b'x'; 60], b'x', Some(&b'x'))
        );
    }
}

/// A power cut between the steps of a large value: the inode that was being filled is an orphan, which e2fsck and the kernel delete.
#[test]
fn a_value_that_nobody_refers_to_yet_is_an_orphan() {
    for arguments in [
        &["-t", "ext4", "-b", "1024", "-O", "ea_inode,^orphan_file"][..],
        &["-t", "ext4", "-b", "4096", "-O", "ea_inode,orphan_file"],
    ] {
        let Some(world) = World::make(arguments) else { return };
        let mount = Mount::of(&world);
        let (r, before) = (mount.vm.reserve(MAX_PINS), mount.fs.counts_now());
        let made = value_inode::create(&mount.fs, &r, mount.ino("parent/file"), &[7; 30_000], NOW);
        assert!(made.is_ok() && mount.fs.counts_now() != before);
        mount.fs.sync(&r, NOW).unwrap();
        drop(r);
        drop(mount);
        let cut = std::fs::read(world.image()).unwrap();
        let repair = |world: &World| {
            let output = Command::new("e2fsck").arg("-fy").arg(world.image()).output().unwrap();
            assert!(
                matches!(output.status.code(), Some(0 | 1)),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let said = repair(&world);
        assert!(said.contains("orphaned inode"), "{said}");
        world.check();
        let mount = Mount::of(&world);
        assert_eq!(mount.fs.counts_now(), before, "as many are free as before");
        drop(mount);
        std::fs::write(world.image(), &cut).unwrap();
        let mount = Mount::of(&world);
        assert_eq!(mount.fs.counts_now(), before, "the next mount deletes it");
        mount.end();
        world.check();
        std::fs::write(world.image(), &cut).unwrap();
        if world.in_kernel(|_| ()).is_some() {
            world.check();
        }
    }
}
