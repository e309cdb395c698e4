//! Many threads on one mount: each with a directory of its own, where all must be as its model says, and all in files that they share; a thousand that
//! write at 512 KiB; and one file, changed in every way.

use crate::support::{Case, Plan, caught, first_seed, fsck, is_thorough, ops, require};
use rumpcap::block::MemoryDevice;
use rumpcap::{Allocate, DataMode, File, Mount, Owner};
use rumpcap_testing::images::build;
use rumpcap_testing::oracle::{self, Description};
use rumpcap_testing::seed::Random;
use rumpcap_testing::skip;
use rumpcap_testing::tools::scratch;
use rumpcap_testing::watchdog::Watchdog;
use rumpcap_testing::writing::{
    Capabilities, Compared, FIRST_MOUNT, Generator, Handle, LibraryTarget, Model, Op, Run, Setup, compare,
};
use std::sync::Arc;
use std::time::Duration;

const THREADS: u64 = 8;
const HANGS: Duration = Duration::from_secs(180);
const LIMIT: Option<u64> = Some(512 << 10);

/// What is below `top`, with paths as in the model of that directory.
fn below(all: &Description, top: &str) -> Description {
    let top = top.trim_start_matches('/').as_bytes();
    let mut found = Description::default();
    for (path, entry) in &all.entries {
        match path.strip_prefix(top) {
            Some([]) => drop(found.entries.insert(Vec::new(), entry.clone())),
            Some([b'/', rest @ ..]) => drop(found.entries.insert(rest.to_vec(), entry.clone())),
            _ => {}
        }
    }
    found
}

/// One thread's work in its directory.
fn work(
    mount: &Mount,
    device: &Arc<MemoryDevice>,
    thread: u64,
    can: Capabilities,
    count: usize,
) -> Result<Model, String> {
    let top = format!("/thread{thread}");
    mount.create_dir(&top, &Owner::with_mode(0o755)).map_err(|error| error.to_string())?;
    let mut target = LibraryTarget::within(mount, device.clone(), &top);
    let mut run = Run::new(Model::directory(Some(FIRST_MOUNT), 0o755));
    let mut generator = Generator::new(first_seed() + thread, can);
    (generator.small, generator.shared) = (true, true);
    for _ in 0..count {
        let op = generator.next(&run.model);
        run.step(&mut target, &op).map_err(|failure| format!("{op:?}: {failure}"))?;
        if generator.is_time_to_sync() {
            mount.sync().map_err(|error| error.to_string())?;
        }
    }
    run.model.apply(&Op::Remount, None);
    Ok(run.model)
}

/// Eight threads in a file: each writes the blocks that are its own, and reads what it wrote.
fn share(file: &File, thread: u64, count: usize) -> Result<Vec<(u64, u8)>, String> {
    let mut random = Random::new(thread);
    let mut last = std::collections::BTreeMap::new();
    for n in 0..count {
        let block = random.below(60) * THREADS + thread;
        let value = (n % 255) as u8 + 1;
        file.write_at(&[value; 700], block * 700).map_err(|error| error.to_string())?;
        last.insert(block, value);
        let (block, value) = last.iter().nth(random.below(last.len() as u64) as usize).expect("one at least");
        let mut bytes = [0; 700];
        let read = file.read_at(&mut bytes, block * 700).map_err(|error| error.to_string())?;
        if read != 700 || bytes != [*value; 700] {
            return Err(format!("thread {thread}: block {block} is not what it wrote"));
        }
    }
    Ok(last.into_iter().collect())
}

fn threads(name: &str) {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let setup = Setup::named(name);
    let device = Arc::new(MemoryDevice::from_bytes(&setup.image()));
    let mut target = LibraryTarget::new(device.clone(), LIMIT, DataMode::Ordered).expect("mounting");
    let mount = target.mount().clone();
    let file = mount.create("/shared", &Owner::default()).expect("a file");
    let count = ops(150);
    let watchdog = Watchdog::new(1, HANGS * (1 + count as u32 / 500));
    watchdog.begin(0, format!("{THREADS} threads on {name}"));
    let (models, shared) = std::thread::scope(|scope| {
        let one = |thread| {
            let (mount, device, file) = (&mount, &device, &file);
            let own = scope.spawn(move || caught(|| work(mount, device, thread, setup_can(name), count)));
            (own, scope.spawn(move || caught(|| share(file, thread, count))))
        };
        let all: Vec<_> = (0..THREADS).map(one).collect();
        let join =
            |(own, shared): (std::thread::ScopedJoinHandle<'_, _>, std::thread::ScopedJoinHandle<'_, _>)| {
                (own.join().expect("caught"), shared.join().expect("caught"))
            };
        all.into_iter()
            .map(join)
            .unzip::<_, _, Vec<Result<Model, String>>, Vec<Result<Vec<(u64, u8)>, String>>>()
    });
    watchdog.end(0);
    drop(file);
    drop(mount);
    let models: Vec<Model> =
        models.into_iter().map(|model| model.unwrap_or_else(|why| panic!("{name}: {why}"))).collect();
    target.unmount().expect("unmounting");
    let directory = scratch();
    let path = directory.path().join("image");
    std::fs::write(&path, device.to_bytes()).expect("an image");
    fsck(&path).unwrap_or_else(|why| panic!("{name}: {why}"));
    let (found, _) = oracle::describe(&path);
    for (thread, model) in models.iter().enumerate() {
        let mine = below(&found, &format!("/thread{thread}"));
        let difference = compare(model, &mine, Compared::Everything);
        assert_eq!(difference, None, "{name}, thread {thread}");
    }
    let library = oracle::Library::open(&path, LIMIT).expect("mounting");
    let file = library.mount.open("/shared").expect("the file");
    for (block, value) in
        shared.into_iter().flat_map(|blocks| blocks.unwrap_or_else(|why| panic!("{name}: {why}")))
    {
        let mut bytes = [0; 700];
        assert_eq!(file.read_at(&mut bytes, block * 700), Ok(700));
        assert!(bytes == [value; 700], "{name}: block {block}");
    }
}

fn setup_can(name: &str) -> Capabilities {
    Setup::named(name).can
}

#[test]
fn threads_with_directories_and_a_shared_file() {
    threads("w-ext4-1k");
    threads("w-ext2-1k");
}

/// Each writes to a file of its own and to one that all share, syncs now and then, and reads what it wrote.
#[test]
fn a_thousand_threads_that_write() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let setup = Setup::named("w-ext4-4k").size(64);
    let device = Arc::new(MemoryDevice::from_bytes(&setup.image()));
    let mut target = LibraryTarget::new(device.clone(), LIMIT, DataMode::Ordered).expect("mounting");
    let mount = target.mount().clone();
    let shared = mount.create("/shared", &Owner::default()).expect("a file");
    let watchdog = Watchdog::new(1, HANGS);
    watchdog.begin(0, "a thousand threads".to_owned());
    std::thread::scope(|scope| {
        for thread in 0..1000_u64 {
            let (mount, shared) = (&mount, &shared);
            let work = move || {
                let file = mount.create(format!("/{thread}"), &Owner::default()).expect("a file");
                for round in 0..3_u64 {
                    let value = [(thread + round) as u8; 5000];
                    file.write_at(&value, round * 4000).expect("writing");
                    shared.write_at(&value[..1000], thread * 1000).expect("writing to the shared file");
                    let mut bytes = [0; 5000];
                    assert_eq!(file.read_at(&mut bytes, round * 4000), Ok(5000));
                    assert!(bytes == value, "thread {thread}");
                }
                if thread % 100 == 0 {
                    file.sync().expect("syncing");
                }
            };
            std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, work).expect("a thread");
        }
    });
    watchdog.end(0);
    for thread in 0..1000 {
        let mut bytes = [0; 1000];
        assert_eq!(shared.read_at(&mut bytes, thread * 1000), Ok(1000));
        assert!(bytes == [(thread + 2) as u8; 1000], "thread {thread} in the shared file");
    }
    drop(shared);
    drop(mount);
    target.unmount().expect("unmounting");
    let directory = scratch();
    let path = directory.path().join("image");
    std::fs::write(&path, device.to_bytes()).expect("an image");
    fsck(&path).unwrap_or_else(|why| panic!("{why}"));
}

/// One file, changed in every way and in every place, with remounts between.
fn one_file(seed: u64, count: usize) -> Vec<Op> {
    let mut random = Random::new(seed);
    let path = "/file".to_owned();
    let mut ops = vec![Op::Create { path: path.clone(), mode: 0o644, uid: 0, gid: 0 }];
    while ops.len() < count {
        let file = Handle::Path(path.clone());
        let align = *random.pick(&[1, 1, 512, 1024, 4096]);
        let at = |random: &mut Random| (random.below(260_000) / align) * align;
        let (offset, len) = (at(&mut random), at(&mut random) / 4 + 1);
        let range = offset..offset + len;
        ops.push(match random.below(40) {
            0..14 => Op::Write { file, offset, len: len as usize, seed: random.next() },
            14..24 => Op::Read { file, offset, len: len as usize },
            24..29 => Op::SetLen { file, len: offset },
            29..33 => Op::Punch { file, range },
            33..35 => Op::ZeroRange { file, range },
            35 => Op::Allocate { file, range, how: Allocate::Extend },
            36 => Op::Allocate { file, range, how: Allocate::KeepSize },
            37 => Op::Fsync { file },
            38 => Op::Remount,
            _ => Op::Sync,
        });
    }
    ops
}

#[test]
fn one_file_changed_in_every_way() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let cases = [
        ("w-ext4-4k", LIMIT, DataMode::Ordered),
        ("w-ext4-1k", Some(256 << 10), DataMode::Ordered),
        ("w-ext2-1k", LIMIT, DataMode::Ordered),
        ("w-inline-data", None, DataMode::Ordered),
        ("w-ext3-2k", LIMIT, DataMode::Journal),
        ("w-bigalloc", Some(256 << 10), DataMode::Ordered),
        ("w-bigalloc-1k", LIMIT, DataMode::Journal),
    ];
    for (seed, (name, limit, data)) in cases.into_iter().enumerate() {
        let case = Case { setup: Setup::named(name), limit, data };
        let count = if is_thorough() { ops(0) } else { 300 };
        require(&case, &Plan::Given(one_file(first_seed() + seed as u64, count)));
    }
}
