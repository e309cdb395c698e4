//! Writing through the pages, against a model, over a file system whose blocks are scattered and which watches where content goes.
#![allow(clippy::unwrap_used)]

mod heap_fs;

use heap_fs::{HeapFs, ROOT};
use proptest::prelude::*;
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{
    Allocate, At, FileKind, Follow, InodeNo, Mount, NewFile, OpenFile, Remove, Rename, SetAttributes,
    SetXattr, Timestamp, Vfs,
};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{BootOptions, Daemon, Vm};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

const NOW: Timestamp = Timestamp { seconds: 1, nanoseconds: 2 };

struct World {
    vm: Arc<Vm>,
    fs: Arc<HeapFs>,
    mount: Arc<Mount>,
}

impl World {
    fn boot(extra: u64, block: u64, inline: bool, seed: u64) -> World {
        let limit_bytes = Some(Plan::smallest_limit_bytes() + extra);
        let vm = Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..Default::default() }).unwrap();
        let fs = HeapFs::new(&vm, block, inline, seed);
        let mount = Arc::new(Mount::new(Vfs::new(vm.clone()), fs.clone()));
        World { vm, fs, mount }
    }

    fn create(&self, name: &str) -> OpenFile {
        self.mount.create_open(at(name), &new(FileKind::Regular), NOW).unwrap()
    }

    fn read(&self, open: &OpenFile, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0x55; len];
        let n = self.mount.read_at(open, offset, &mut bytes).unwrap();
        bytes.truncate(n);
        bytes
    }

    fn node_of(&self, path: &str) -> Result<InodeNo> {
        let r = self.mount.enter();
        Ok(self.mount.resolve(&r, ROOT, path.as_bytes(), Follow::No)?.attributes.ino)
    }

    fn assert_sound(&self) {
        let report = self.vm.report();
        assert_eq!((report.stuck, report.pages_pinned, report.pages_busy), (0, 0, 0));
        assert!(report.peak_bytes <= report.limit_bytes);
        assert_eq!(self.fs.disk.stray_writes.load(SeqCst), 0, "a write to a block of nobody");
    }
}

fn at(path: &str) -> At<'_> {
    At { start: ROOT, path: path.as_bytes() }
}

fn new(kind: FileKind) -> NewFile<'static> {
    NewFile { kind, mode: 0o644, uid: 0, gid: 0, rdev: (0, 0), target: b"target" }
}

/// What a step does to file `file`.
#[derive(Clone, Debug)]
enum Step {
    Write { file: usize, offset: u64, len: usize, byte: u8 },
    WriteFull { file: usize, offset: u64, len: usize },
    Read { file: usize, offset: u64, len: usize },
    SetLen { file: usize, len: u64 },
    Punch { file: usize, offset: u64, len: u64 },
    Zero { file: usize, offset: u64, len: u64 },
    Allocate { file: usize, offset: u64, len: u64, how: bool },
    Clean,
    Sync,
}

/// Offsets near everything that has an edge.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        0u64..100,
        (0u64..20).prop_map(|n| n * 4096),
        (0u64..80).prop_map(|n| n * 1024),
        (0u64..20, 0u64..8).prop_map(|(n, d)| (n * 4096 + 4).saturating_sub(d)),
        0u64..80_000,
    ]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        1usize..100,
        (1usize..10).prop_map(|n| n * 4096),
        (1usize..20).prop_map(|n| n * 1024),
        1usize..40_000,
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0usize..3;
    prop_oneof![
        6 => (file.clone(), offset(), length(), any::<u8>())
            .prop_map(|(file, offset, len, byte)| Step::Write { file, offset, len, byte }),
        1 => (file.clone(), offset(), length())
            .prop_map(|(file, offset, len)| Step::WriteFull { file, offset, len }),
        6 => (file.clone(), offset(), length()).prop_map(|(file, offset, len)| Step::Read { file, offset, len }),
        2 => (file.clone(), offset()).prop_map(|(file, len)| Step::SetLen { file, len }),
        1 => (file.clone(), offset(), length())
            .prop_map(|(file, offset, len)| Step::Punch { file, offset, len: len as u64 }),
        1 => (file.clone(), offset(), length())
            .prop_map(|(file, offset, len)| Step::Zero { file, offset, len: len as u64 }),
        1 => (file, offset(), length(), any::<bool>())
            .prop_map(|(file, offset, len, how)| Step::Allocate { file, offset, len: len as u64, how }),
        1 => Just(Step::Clean),
        1 => Just(Step::Sync),
    ]
}

/// Bytes that differ along the way.
fn pattern(byte: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| byte.wrapping_add((at / 7) as u8)).collect()
}

fn overwrite(model: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let end = offset as usize + bytes.len();
    if model.len() < end {
        model.resize(end, 0);
    }
    model[offset as usize..end].copy_from_slice(bytes);
}

fn zero(model: &mut [u8], offset: u64, len: u64) {
    let end = (offset + len).min(model.len() as u64) as usize;
    if let Some(bytes) = model.get_mut(offset as usize..end) {
        bytes.fill(0);
    }
}

fn run(world: &World, steps: &[Step]) {
    let files: Vec<OpenFile> = ["a", "b", "c"].into_iter().map(|name| world.create(name)).collect();
    let mut models = vec![Vec::new(); files.len()];
    for step in steps {
        match *step {
            Step::Write { file, offset, len, byte } => {
                let bytes = pattern(byte, len);
                match world.mount.write_at(&files[file], offset, &bytes, NOW) {
                    Ok(n) => {
                        overwrite(&mut models[file], offset, &bytes[..n]);
                        assert!(n == len || world.fs.free_blocks() < 16, "short");
                    }
                    Err(error) => assert_eq!(error, Error::NoSpace { what: "blocks" }),
                }
            }
            Step::WriteFull { file, offset, len } => {
                world.fs.is_full.store(true, SeqCst);
                let bytes = pattern(77, len);
                if let Ok(n) = world.mount.write_at(&files[file], offset, &bytes, NOW) {
                    overwrite(&mut models[file], offset, &bytes[..n]);
                }
                world.fs.is_full.store(false, SeqCst);
            }
            Step::Read { file, offset, len } => {
                let end = models[file].len().min(offset as usize + len);
                let expected = models[file].get(offset as usize..end).unwrap_or_default();
                // The second time from pages, if they are there.
                for _ in 0..2 {
                    let read = world.read(&files[file], offset, len);
                    let differs = read.iter().zip(expected).position(|(a, b)| a != b);
                    assert_eq!((read.len(), differs), (expected.len(), None), "file {file} at {offset}");
                }
            }
            Step::SetLen { file, len } => {
                if world.mount.set_len(&files[file], len, NOW).is_ok() {
                    models[file].resize(len as usize, 0);
                }
            }
            Step::Punch { file, offset, len } => {
                world.mount.punch_hole(&files[file], offset..offset + len, NOW).unwrap();
                zero(&mut models[file], offset, len);
            }
            Step::Zero { file, offset, len } => {
                let zeroed = world.mount.zero_range(&files[file], offset..offset + len, NOW);
                assert!(matches!(zeroed, Ok(()) | Err(Error::NoSpace { .. })), "{zeroed:?}");
                zero(&mut models[file], offset, len);
            }
            Step::Allocate { file, offset, len, how } => {
                let how = if how { Allocate::Extend } else { Allocate::KeepSize };
                let done = world.mount.allocate(&files[file], offset..offset + len, how, NOW);
                if done.is_ok() && how == Allocate::Extend {
                    let len = models[file].len().max((offset + len) as usize);
                    models[file].resize(len, 0);
                }
            }
            Step::Clean => world.mount.write_dirty_pages(),
            Step::Sync => world.mount.sync(NOW).unwrap(),
        }
        world.assert_sound();
    }
    for (file, model) in files.iter().zip(&models) {
        assert!(world.read(file, 0, model.len() + 1) == *model, "at the end");
    }
    world.mount.unmount(NOW).unwrap();
    // Through a mount that has no pages of it.
    let again = Mount::new(Vfs::new(world.vm.clone()), world.fs.clone());
    for (file, model) in files.iter().zip(&models) {
        let node = again.node(&again.enter(), file.node().attributes.ino).unwrap();
        let mut bytes = vec![0; model.len() + 1];
        let n = again.read_at(&OpenFile::new(node), 0, &mut bytes).unwrap();
        assert!(bytes[..n] == model[..], "on the device");
    }
    for (file, name) in files.iter().zip(["a", "b", "c"]) {
        world.mount.remove(at(name), Remove::File, NOW).unwrap();
        world.mount.close(file, NOW);
    }
    assert_eq!((world.fs.free_blocks(), world.fs.inode_count()), (640 - 64, 1));
    world.assert_sound();
}

/// More of them for a night: in the variable RUMPCAP_WRITING_CASES.
fn cases() -> u32 {
    std::env::var("RUMPCAP_WRITING_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(96)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn files_behave_like_vectors(
        block in prop_oneof![Just(1024u64), Just(2048), Just(4096)],
        inline in any::<bool>(),
        extra in 0u64..200_000,
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        run(&World::boot(extra, block, inline, seed), &steps);
    }
}

/// Files of several threads, each with its own bytes, read by all: nobody sees another's bytes, or an old length behind a new one.
#[test]
fn many_threads_write_and_read() {
    for block in [1024, 4096] {
        let world = World::boot(0, block, false, 5);
        std::thread::scope(|scope| {
            for thread in 0..8u8 {
                let world = &world;
                scope.spawn(move || {
                    let file = world.create(&format!("file {thread}"));
                    let mut model = Vec::new();
                    for round in 0..30u64 {
                        let (offset, len) =
                            (round * 397 % 9_000, [50, 1000, 5000, 17_000][round as usize % 4]);
                        let bytes = pattern(thread * 31, len);
                        world.mount.write_at(&file, offset, &bytes, NOW).unwrap();
                        overwrite(&mut model, offset, &bytes);
                        if round % 7 == 6 {
                            world.mount.set_len(&file, offset + 10, NOW).unwrap();
                            model.truncate(offset as usize + 10);
                        }
                        if round % 11 == 3 {
                            world.mount.sync(NOW).unwrap();
                        }
                        let from = offset.saturating_sub(500);
                        let expected = &model[from as usize..model.len().min(from as usize + 3000)];
                        assert!(world.read(&file, from, expected.len()) == expected, "thread {thread}");
                        assert!(world.read(&file, 0, model.len() + 1) == model);
                    }
                    world.mount.remove(at(&format!("file {thread}")), Remove::File, NOW).unwrap();
                    assert!(world.read(&file, 0, model.len() + 1) == model, "lives as long as it is open");
                    world.mount.close(&file, NOW);
                });
            }
        });
        world.mount.unmount(NOW).unwrap();
        assert_eq!((world.fs.free_blocks(), world.fs.inode_count()), (640 - 64, 1));
        world.assert_sound();
    }
}

/// One writes and cuts a file that others read: what they see is the file at one moment.
#[test]
fn readers_see_whole_changes() {
    let world = World::boot(100_000, 4096, false, 3);
    let file = world.create("file");
    world.mount.write_at(&file, 0, &[1; 3000], NOW).unwrap();
    std::thread::scope(|scope| {
        let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
        for _ in 0..3 {
            let (world, file, done) = (&world, &file, done.clone());
            scope.spawn(move || {
                while !done.load(SeqCst) {
                    let bytes = world.read(file, 0, 4000);
                    assert!(bytes.len() == 3000 || bytes.len() == 1000, "{}", bytes.len());
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "torn");
                }
            });
        }
        for round in 0..400u64 {
            world.mount.write_at(&file, 0, &[round as u8; 3000], NOW).unwrap();
            world.mount.set_len(&file, 1000, NOW).unwrap();
        }
        done.store(true, SeqCst);
    });
}

#[test]
fn a_failing_device_loses_bytes_and_nothing_else() {
    for block in [1024, 4096] {
        let world = World::boot(50_000, block, false, 11);
        let files = ["a", "b"].map(|name| world.create(name));
        for round in 0..120u64 {
            world.fs.disk.fails.store(round % 5 == 2, SeqCst);
            let (offset, len) = (round * 1_777 % 50_000, [30, 3_000, 20_000][round as usize % 3]);
            let file = &files[round as usize % 2];
            let _ = world.mount.write_at(file, offset, &pattern(round as u8, len), NOW);
            let _ = world.mount.set_len(file, (round * 977) % 60_000, NOW).ok().filter(|()| round % 4 == 0);
            if round % 9 == 0 {
                let _ = world.mount.punch_hole(file, offset..offset + len as u64, NOW);
            }
            if round % 6 == 0 {
                let _ = world.mount.sync(NOW);
            }
            let _ = world.mount.read_at(file, 0, &mut vec![0; 60_000]);
            world.assert_sound();
        }
        world.fs.disk.fails.store(true, SeqCst);
        world.mount.write_at(&files[0], 0, b"lost", NOW).ok();
        world.mount.write_dirty_pages();
        world.fs.disk.fails.store(false, SeqCst);
        let _ = world.mount.sync(NOW);
        assert_eq!(world.mount.sync(NOW), Ok(()), "an error is told once");
        for (file, name) in files.iter().zip(["a", "b"]) {
            world.mount.set_len(file, 0, NOW).unwrap();
            let bytes = pattern(9, 30_000);
            assert_eq!(world.mount.write_at(file, 5, &bytes, NOW), Ok(bytes.len()));
            assert!(world.read(file, 5, bytes.len()) == bytes);
            world.mount.remove(at(name), Remove::File, NOW).unwrap();
            world.mount.close(file, NOW);
        }
        assert_eq!((world.fs.free_blocks(), world.fs.inode_count()), (640 - 64, 1));
        world.assert_sound();
    }
}

#[test]
fn names_come_and_go_and_the_caches_know() {
    let world = World::boot(100_000, 4096, true, 1);
    let (mount, dir, file) = (&world.mount, new(FileKind::Directory), new(FileKind::Regular));
    let missing = Err(Error::NotFound);
    assert_eq!(world.node_of("d/f"), missing);
    let d = mount.create(at("d/"), &dir, NOW).unwrap().attributes.ino;
    assert_eq!(mount.create(at("d"), &dir, NOW).err(), Some(Error::Exists));
    assert_eq!(mount.create(at("/"), &dir, NOW).err(), Some(Error::Exists));
    assert_eq!(mount.create(at("d/."), &dir, NOW).err(), Some(Error::Exists));
    assert_eq!(mount.create(at("no/f"), &file, NOW).err(), Some(Error::NotFound));
    assert_eq!(mount.create(at("f/"), &file, NOW).err(), Some(Error::IsADirectory));
    assert_eq!(world.node_of("d/f"), missing);
    let f = mount.create(at("d/f"), &file, NOW).unwrap().attributes.ino;
    assert_eq!(world.node_of("d/f"), Ok(f));
    assert_eq!(mount.create(at("d/f/g"), &file, NOW).err(), Some(Error::NotADirectory));
    assert_eq!(mount.remove(at("d"), Remove::Directory, NOW), Err(Error::NotEmpty));
    assert_eq!(mount.remove(at("d"), Remove::File, NOW), Err(Error::IsADirectory));
    assert_eq!(mount.remove(at("/"), Remove::Directory, NOW), Err(Error::Busy { what: "the root" }));
    assert_eq!(mount.hard_link(f, at("g"), NOW).map(|node| node.attributes.nlink), Ok(2));
    assert_eq!((world.node_of("g"), world.node_of("d/f")), (Ok(f), Ok(f)));
    // Two names of one file.
    assert_eq!(mount.rename(at("g"), at("d/f"), Rename::Replace, NOW), Ok(()));
    assert_eq!(world.node_of("g"), Ok(f));
    mount.remove(at("d/f"), Remove::File, NOW).unwrap();
    assert_eq!((world.node_of("g"), world.node_of("d/f")), (Ok(f), missing));
    assert_eq!(mount.metadata_nlink(f), 1);
    // A directory that goes takes what was known of its names with it, and its number comes again.
    mount.remove(at("d"), Remove::Directory, NOW).unwrap();
    assert_eq!(world.node_of("d"), missing);
    let e = mount.create(at("e"), &dir, NOW).unwrap().attributes.ino;
    assert_eq!(e, d);
    assert_eq!(world.node_of("e/f"), missing);
    mount.create(at("e/h"), &dir, NOW).unwrap();
    assert_eq!(world.node_of("e/h/.."), Ok(e));
    let i = mount.create(at("i"), &dir, NOW).unwrap().attributes.ino;
    mount.rename(at("e/h"), at("i/h"), Rename::Replace, NOW).unwrap();
    assert_eq!((world.node_of("i/h/.."), world.node_of("e/h")), (Ok(i), missing));
    assert_eq!(mount.rename(at("i"), at("g/"), Rename::Refuse, NOW), Err(Error::Exists));
    mount.rename(at("e"), at("i"), Rename::Exchange, NOW).unwrap();
    assert_eq!((world.node_of("i"), world.node_of("e"), world.node_of("e/h/..")), (Ok(e), Ok(i), Ok(i)));
    assert_eq!(mount.rename(at("none"), at("x"), Rename::Replace, NOW), missing.map(drop));
    // The same number in another directory: `..` is another.
    let x = mount.create(at("i/x"), &dir, NOW).unwrap().attributes.ino;
    assert_eq!(world.node_of("i/x/.."), Ok(e));
    mount.remove(at("i/x"), Remove::Directory, NOW).unwrap();
    assert_eq!(mount.create(at("y"), &dir, NOW).map(|node| node.attributes.ino), Ok(x));
    assert_eq!(world.node_of("y/.."), Ok(ROOT));
    // A link is followed to what is not there yet.
    let link = NewFile { kind: FileKind::Symlink, target: b"e/made", ..file };
    mount.create(at("link"), &link, NOW).unwrap();
    let made = mount.open_or_create(at("link"), &file, NOW).unwrap();
    assert_eq!(world.node_of("e/made"), Ok(made.node().attributes.ino));
    let again = mount.open_or_create(at("/link"), &file, NOW).unwrap();
    assert_eq!(again.node().attributes.ino, made.node().attributes.ino);
    [made, again].iter().for_each(|open| mount.close(open, NOW));
}

trait Nlink {
    fn metadata_nlink(&self, ino: InodeNo) -> u32;
}

impl Nlink for Mount {
    fn metadata_nlink(&self, ino: InodeNo) -> u32 {
        self.node(&self.enter(), ino).unwrap().attributes.nlink
    }
}

#[test]
fn attributes_are_current() {
    let world = World::boot(100_000, 4096, true, 1);
    let file = world.create("f");
    let ino = file.node().attributes.ino;
    let set = SetAttributes { mode: Some(0o600), ..SetAttributes::default() };
    world.mount.set_attributes(ino, &set, NOW).unwrap();
    assert_eq!(world.mount.node(&world.mount.enter(), ino).unwrap().attributes.mode, 0o100_600);
    world.mount.set_xattr(ino, b"user.a", Some(b"1"), SetXattr::Any, NOW).unwrap();
    let mut value = [0; 1];
    let r = world.mount.enter();
    let node = world.mount.node(&r, ino).unwrap();
    assert_eq!(world.mount.fs().get_xattr(&r, &node, b"user.a", &mut value), Ok(1));
    drop(r);
    let gone = world.mount.set_xattr(ino, b"user.b", None, SetXattr::Replace, NOW);
    assert_eq!(gone.err(), Some(Error::NoAttribute));
    world.mount.close(&file, NOW);
}

/// More files than there are vnodes, all with dirty pages; and all open, without names.
#[test]
fn many_files_are_dirty_and_open_at_once() {
    let world = World::boot(0, 1024, false, 1);
    let mut files = Vec::new();
    let mut refused = None;
    for n in 0..400u32 {
        let name = format!("file {n}");
        match world.mount.create_open(at(&name), &new(FileKind::Regular), NOW) {
            Ok(file) => {
                world.mount.write_at(&file, 0, &n.to_le_bytes(), NOW).unwrap();
                world.mount.remove(at(&name), Remove::File, NOW).unwrap();
                files.push((n, file));
            }
            Err(error) => {
                refused = Some(error);
                world.mount.remove(at(&name), Remove::File, NOW).unwrap();
                break;
            }
        }
    }
    assert!(files.len() > 40, "{}", files.len());
    if let Some(refused) = refused {
        assert!(matches!(refused, Error::NoMemory { what: "open files", .. }), "{refused:?}");
    }
    for (n, file) in &files {
        assert_eq!(world.read(file, 0, 10), n.to_le_bytes());
    }
    let nameless = world.mount.create_nameless(ROOT, &new(FileKind::Regular), NOW);
    if let Ok(nameless) = nameless {
        world.mount.hard_link(nameless.node().attributes.ino, at("named"), NOW).unwrap();
        world.mount.close(&nameless, NOW);
        assert!(world.node_of("named").is_ok());
        world.mount.remove(at("named"), Remove::File, NOW).unwrap();
    }
    files.iter().for_each(|(_, file)| world.mount.close(file, NOW));
    assert_eq!((world.fs.free_blocks(), world.fs.inode_count()), (640 - 64, 1));
    world.mount.unmount(NOW).unwrap();
    world.assert_sound();
}
