//! The library as its users see it, writing images made by mke2fs: against vectors, and e2fsck finds nothing.
#![allow(clippy::unwrap_used)]

use rumpcap::block::MemoryDevice;
use rumpcap::{Access, Allocate, Daemon, Error, File, Kernel, Mount, MountOptions, Owner, Rename, Timestamp};
use rumpcap_testing::skip::skip;
use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";

/// An empty file system in memory.
fn image(arguments: &[&str]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let made =
        Command::new("mke2fs").args(arguments).arg("-q").arg(&path).arg("16M").env("PATH", PATH).status();
    let Ok(status) = made else {
        skip("mke2fs is not installed");
        return None;
    };
    assert!(status.success());
    Some(std::fs::read(path).unwrap())
}

fn assert_clean(image: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image).unwrap();
    let checked = Command::new("e2fsck").arg("-fn").arg(&path).env("PATH", PATH).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

fn mount(device: &Arc<MemoryDevice>, limit: u64, access: Access) -> Mount {
    let kernel = Kernel::builder().memory_limit(limit).daemon(Daemon::Inline).boot().unwrap();
    let time = Some(Timestamp { seconds: 1_700_000_000, nanoseconds: 0 });
    kernel.mount(device.clone(), &MountOptions { access, time, ..MountOptions::default() }).unwrap()
}

fn read_all(file: &File) -> Vec<u8> {
    let len = file.metadata().unwrap().len() as usize;
    let mut bytes = vec![0x55; len + 1];
    let n = file.read_at(&mut bytes, 0).unwrap();
    bytes.truncate(n);
    bytes
}

/// A small generator: the test is the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// Often at an edge.
    fn offset(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(40) * 4096,
            1 => self.below(100) * 1024,
            2 => self.below(200),
            _ => self.below(150_000),
        }
    }
}

fn overwrite(model: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    model.resize(model.len().max(offset + bytes.len()), 0);
    model[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn one_step(random: &mut Random, file: &File, model: &mut Vec<u8>) {
    let (offset, len) = (random.offset(), 1 + random.offset() / 3);
    let range = offset..offset + len;
    match random.below(12) {
        0..6 => {
            let byte = random.below(256) as u8;
            let bytes: Vec<u8> = (0..len).map(|at| byte.wrapping_add((at / 5) as u8)).collect();
            assert_eq!(file.write_at(&bytes, offset), Ok(bytes.len()));
            overwrite(model, offset as usize, &bytes);
        }
        6 => {
            file.set_len(offset).unwrap();
            model.resize(offset as usize, 0);
        }
        7 | 8 => {
            let zeroed = if random.below(2) == 0 { file.punch_hole(range) } else { file.zero_range(range) };
            match zeroed {
                Ok(()) => {
                    let end = model.len().min((offset + len) as usize);
                    model.get_mut(offset as usize..end).into_iter().for_each(|bytes| bytes.fill(0));
                }
                Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error:?}"),
            }
        }
        9 => match file.allocate(range, Allocate::Extend) {
            Ok(()) => model.resize(model.len().max((offset + len) as usize), 0),
            Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error:?}"),
        },
        10 => file.sync().unwrap(),
        _ => {}
    }
    let mut bytes = vec![0x55; len as usize];
    let n = file.read_at(&mut bytes, offset).unwrap();
    let end = model.len().min((offset + len) as usize);
    assert!(bytes[..n] == *model.get(offset as usize..end).unwrap_or_default(), "at {offset}, {len} bytes");
}

#[test]
fn files_behave_like_vectors_and_the_image_is_in_order() {
    let kinds: [&[&str]; 6] = [
        &["-t", "ext4", "-b", "4096"],
        &["-t", "ext4", "-b", "1024"],
        &["-t", "ext4", "-b", "2048", "-O", "inline_data", "-I", "256"],
        &["-t", "ext2", "-b", "1024"],
        &["-t", "ext3", "-b", "4096"],
        &["-t", "ext4", "-b", "4096", "-O", "^has_journal"],
    ];
    // More of them for a night.
    let seeds = std::env::var("RUMPCAP_WRITING_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for (seed, arguments) in (0..seeds).flat_map(|_| kinds).enumerate() {
        let Some(image) = image(arguments) else { return };
        let device = Arc::new(MemoryDevice::from_bytes(&image));
        let limit = [1 << 20, 700 << 10, 512 << 10][seed / kinds.len() % 3];
        let mount = mount(&device, limit, Access::Write);
        assert_eq!((mount.is_writable(), mount.read_only_reason()), (true, None), "{arguments:?}");
        println!("seed {seed}, {limit} bytes, {arguments:?}");
        let mut random = Random(seed as u64 + 1);
        let names = ["a", "b", "c"];
        let files = names.map(|name| mount.create(name, &Owner::default()).unwrap());
        let mut models = names.map(|_| Vec::new());
        for _ in 0..250 {
            let which = random.below(3) as usize;
            one_step(&mut random, &files[which], &mut models[which]);
        }
        for (file, model) in files.iter().zip(&models) {
            assert!(read_all(file) == *model, "{arguments:?}");
        }
        let report = mount.kernel().memory_report();
        assert!(report.stuck == 0 && report.peak_bytes <= report.limit_bytes, "{report:?}");
        drop(files);
        mount.unmount().unwrap();
        assert_clean(&device.to_bytes());
        let again = self::mount(&device, 300 << 10, Access::Read);
        for (name, model) in names.iter().zip(&models) {
            assert!(read_all(&again.open(name).unwrap()) == *model, "{arguments:?}: on the device");
        }
    }
}

#[test]
fn names_come_and_go() {
    let Some(image) = image(&["-t", "ext4"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount(&device, 700 << 10, Access::Write);
    let owner = Owner { mode: 0o750, uid: 1, gid: 2 };
    let dir = mount.create_dir("dir", &owner).unwrap();
    assert_eq!((dir.mode(), dir.uid(), dir.gid(), dir.modified().seconds), (0o040_750, 1, 2, 1_700_000_000));
    let mut file = mount.create_at(dir.ino(), OsStr::new("file"), &owner).unwrap();
    file.write_all(b"hello").unwrap();
    assert_eq!(mount.create("dir/file", &owner).err(), Some(Error::Exists));
    mount.symlink("dir/made", "link", &owner).unwrap();
    let made = mount.open_or_create("link", &owner).unwrap();
    assert_eq!(mount.metadata("dir/made").unwrap().ino(), made.ino());
    mount.hard_link("dir/file", "second").unwrap();
    mount.rename("dir/file", "moved", Rename::Replace).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 2);
    mount.remove_file("moved").unwrap();
    mount.remove_file_at(mount.metadata("/").unwrap().ino(), OsStr::new("second")).unwrap();
    // It lives until it is closed.
    assert_eq!((read_all(&file), file.metadata().unwrap().nlink()), (b"hello".to_vec(), 0));
    let free = mount.stat_fs().unwrap().inodes_free;
    assert_eq!(mount.open("second").err(), Some(Error::NotFound));
    assert!(matches!(mount.clone().unmount(), Err(Error::Busy { .. })));
    drop(file);
    assert_eq!(mount.stat_fs().unwrap().inodes_free, free + 1);
    assert_eq!(mount.remove_dir("dir"), Err(Error::NotEmpty));
    drop(made);
    mount.remove_file("dir/made").unwrap();
    mount.remove_dir("dir").unwrap();
    assert_eq!(mount.metadata(Path::new("link")).err(), Some(Error::NotFound));
    mount.unmount().unwrap();
    assert_clean(&device.to_bytes());
}

#[test]
fn what_is_mounted_to_be_read_is_not_written() {
    let Some(image) = image(&["-t", "ext4"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount(&device, 400 << 10, Access::Read);
    assert_eq!((mount.is_writable(), mount.read_only_reason()), (false, None));
    assert_eq!(mount.create("a", &Owner::default()).err(), Some(Error::ReadOnly));
    let root = mount.open("/").unwrap();
    assert_eq!((root.write_at(b"x", 0), root.set_len(0)), (Err(Error::ReadOnly), Err(Error::ReadOnly)));
    assert_eq!((mount.sync(), root.sync()), (Ok(()), Ok(())));
    drop(root);
    mount.unmount().unwrap();
    assert!(device.to_bytes() == image);
}

/// Threads with files and directories of their own, and one that walks.
#[test]
fn many_threads_write_at_once() {
    let Some(image) = image(&["-t", "ext4"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let kernel = Kernel::builder().memory_limit(700 << 10).boot().unwrap();
    let options = MountOptions { access: Access::Write, ..MountOptions::default() };
    let mount = kernel.mount(device.clone(), &options).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6u64 {
            let mount = &mount;
            scope.spawn(move || {
                let dir = mount.create_dir(format!("dir {thread}"), &Owner::with_mode(0o755)).unwrap();
                let mut random = Random(thread);
                for round in 0..6 {
                    let name = format!("file {round}");
                    let file = mount.create_at(dir.ino(), OsStr::new(&name), &Owner::default()).unwrap();
                    let mut model = Vec::new();
                    (0..15).for_each(|_| one_step(&mut random, &file, &mut model));
                    mount
                        .rename(format!("dir {thread}/{name}"), format!("{thread} {round}"), Rename::Refuse)
                        .unwrap();
                    assert!(read_all(&file) == model);
                    if round % 2 == 0 {
                        mount.remove_file(format!("{thread} {round}")).unwrap();
                        assert!(read_all(&file) == model);
                    }
                }
                mount.remove_dir(format!("dir {thread}")).unwrap();
            });
        }
        let mount = &mount;
        scope.spawn(move || {
            for _ in 0..20 {
                let mut walk = mount.walk("/").unwrap();
                // A file that goes while it is walked to is told as an error of its path.
                while !matches!(walk.next_entry(), Ok(None)) {}
            }
        });
    });
    assert_eq!(mount.read_dir("/").unwrap().count(), 6 * 3 + 1);
    let report = kernel.memory_report();
    assert!(report.stuck == 0 && report.peak_bytes <= report.limit_bytes, "{report:?}");
    mount.unmount().unwrap();
    assert_clean(&device.to_bytes());
}

#[test]
fn an_old_inode_number_gets_no_name() {
    let Some(image) = image(&["-t", "ext4"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount(&device, 1 << 20, Access::Write);
    let ino = mount.create("/gone", &Owner::default()).unwrap().ino();
    mount.remove_file("/gone").unwrap();
    let linked = mount.hard_link_at(ino, 2, OsStr::new("back"));
    assert!(matches!(linked, Err(Error::NotFound)), "{:?}", linked.err());
    assert!(mount.set_xattr_ino(ino, b"user.large", &[7; 3000], rumpcap::SetXattr::Any).is_err());
    mount.unmount().unwrap();
    assert_clean(&device.to_bytes());
}

#[test]
fn the_parent_of_a_directory_is_not_that_of_one_before() {
    let Some(image) = image(&["-t", "ext4"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount(&device, 1 << 20, Access::Write);
    for parent in ["/a", "/b"] {
        mount.create_dir(parent, &Owner::with_mode(0o755)).unwrap();
    }
    let parents = ["/a", "/b"].map(|path| mount.metadata(path).unwrap().ino());
    let old = mount.create_dir("/a/d", &Owner::with_mode(0o755)).unwrap().ino();
    let open = mount.open("/a/d").unwrap();
    mount.remove_dir("/a/d").unwrap();
    // Somebody looks through the handle, and what was found is remembered.
    let _ = mount.metadata_at(old, OsStr::new(".."));
    drop(open);
    let new = mount.create_dir("/b/d", &Owner::with_mode(0o755)).unwrap().ino();
    assert_eq!(new, old, "the number is used again");
    assert_eq!(mount.metadata_at(new, OsStr::new("..")).unwrap().ino(), parents[1]);
}

#[test]
fn who_mounts_by_a_backup_of_the_super_block_reads() {
    let Some(mut image) = image(&["-t", "ext2", "-b", "1024"]) else { return };
    image[1024..2048].fill(0);
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let kernel = Kernel::builder().memory_limit(1 << 20).daemon(Daemon::Inline).boot().unwrap();
    let super_block_offset = Some(8193 << 10);
    let options = MountOptions { access: Access::Write, super_block_offset, ..MountOptions::default() };
    let mount = kernel.mount(device.clone(), &options).unwrap();
    assert!(!mount.is_writable() && mount.read_only_reason().is_some());
    drop(mount);
    assert!(device.to_bytes() == image);
}

#[test]
fn a_server_names_an_inode_and_not_the_next_of_its_number() {
    let Some(image) = image(&["-t", "ext4"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount(&device, 400 << 10, Access::Write);
    let root = mount.root_id().unwrap();
    let named = OsStr::new("file");
    let first = mount.create_at(root.ino, named, &Owner::default()).unwrap();
    first.write_at(b"first", 0).unwrap();
    // Kept in use by nothing but its name, it outlives its entry ...
    let id = first.keep();
    mount.remove_file_at(root.ino, named).unwrap();
    assert_eq!(mount.metadata_id(id).unwrap().nlink(), 0);
    assert_eq!(read_all(&mount.open_id(id).unwrap()), b"first");
    let second = mount.create_at(root.ino, named, &Owner::default()).unwrap().metadata().unwrap();
    assert_ne!(second.ino(), id.ino);
    // ... until it is released. Then the number is given again, with another generation.
    mount.release(id);
    assert_eq!(mount.metadata_id(id).err(), Some(Error::Stale));
    mount.remove_file_at(root.ino, named).unwrap();
    let third = mount.create_at(root.ino, named, &Owner::default()).unwrap().metadata().unwrap();
    assert_eq!(third.ino(), id.ino);
    assert_eq!(mount.open_id(id).err(), Some(Error::Stale));
    assert_eq!(mount.open_id(third.id()).unwrap().metadata().unwrap(), third);
    let mut names = Vec::new();
    let listed = mount.read_dir_id(root, 0, &mut |entry| {
        names.push((entry.name.to_vec(), entry.ino));
        std::ops::ControlFlow::Continue(())
    });
    listed.unwrap();
    assert!(names.contains(&(b"file".to_vec(), third.ino())) && names.contains(&(b"..".to_vec(), root.ino)));
    mount.unmount().unwrap();
    assert_clean(&device.to_bytes());
}
