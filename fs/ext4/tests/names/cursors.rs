//! Listings in pieces, of directories that change in between: against a model; the order of hashes against the host's kernel.

use crate::hostile::{OF_ONE_HASH, name as name_of_one_hash};
use crate::world::{Image, Mounted, NOW, have_tools};
use core::ops::ControlFlow;
use proptest::prelude::*;
use rumpcap_host::Result;
use rumpcap_testing::loop_mount::{LoopMount, available};
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{Change, DirCookie, EntryName, FileKind, FileSystem, InodeNo, NewFile, Remove, Rename};
use std::collections::{BTreeMap, BTreeSet};

const ROOT: InodeNo = InodeNo(2);
/// Where the order of hashes begins, behind `.` and `..`.
const FIRST_HASH: u64 = 1 << 62;

/// An entry: its name and the cookie behind it.
type Given = (Vec<u8>, u64);

/// At most `most` entries from `from` on.
fn piece(mounted: &Mounted, dir: InodeNo, from: u64, most: usize) -> Result<Vec<Given>> {
    let r = mounted.r();
    let node = mounted.fs.read_node(&r, dir, 0)?;
    let mut given = Vec::new();
    mounted.fs.read_dir_stable(&r, &node, DirCookie(from), &mut |entry| {
        if given.len() == most {
            return ControlFlow::Break(());
        }
        given.push((entry.name.to_vec(), entry.next.0));
        ControlFlow::Continue(())
    })?;
    Ok(given)
}

/// All entries, in pieces of `most`; cookies are new each time and below 2^63.
fn pieces(mounted: &Mounted, dir: InodeNo, mut from: u64, most: usize) -> Vec<Vec<u8>> {
    let (mut names, mut cookies) = (Vec::new(), BTreeSet::new());
    loop {
        let given = piece(mounted, dir, from, most).unwrap();
        let Some(&(_, last)) = given.last() else { return names };
        for (name, cookie) in given {
            assert!(cookie != 0 && cookie < 1 << 63 && cookies.insert(cookie), "{cookie:#x}");
            names.push(name);
        }
        from = last;
    }
}

fn new_file(kind: FileKind) -> NewFile<'static> {
    NewFile { kind, mode: 0o755, uid: 0, gid: 0, rdev: (0, 0), target: b"" }
}

fn create(mounted: &Mounted, dir: InodeNo, name: &[u8], kind: FileKind) -> InodeNo {
    let at = EntryName { dir, name };
    mounted.fs.create(&mounted.r(), at, &new_file(kind), NOW).unwrap().attributes.ino
}

/// Somebody who lists the directory.
struct Reader {
    from: u64,
    /// What was there when it began, and is still.
    stays: BTreeSet<Vec<u8>>,
    given: BTreeMap<Vec<u8>, usize>,
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// New names: how many, and how long they are.
    Add(usize, usize),
    /// So many of a hundred go.
    Remove(usize),
    Rename(usize),
    /// One is exchanged with another.
    Exchange(usize),
    Begin,
    /// A reader goes on, and wants so many entries.
    Read(usize, usize),
    Remount,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..60_usize, 1..240_usize).prop_map(|(count, len)| Step::Add(count, len)),
        1 => (200..400_usize, 1..100_usize).prop_map(|(count, len)| Step::Add(count, len)),
        2 => (1..60_usize).prop_map(Step::Remove),
        1 => Just(Step::Remove(100)),
        2 => any::<usize>().prop_map(Step::Rename),
        1 => any::<usize>().prop_map(Step::Exchange),
        3 => Just(Step::Begin),
        12 => (any::<usize>(), prop_oneof![Just(1), 1..40_usize, 100..500_usize])
            .prop_map(|(reader, count)| Step::Read(reader, count)),
        1 => Just(Step::Remount),
    ]
}

/// A directory, its model and its readers.
struct World {
    image: Image,
    mounted: Option<Mounted>,
    dir: InodeNo,
    file: InodeNo,
    names: Vec<Vec<u8>>,
    made: usize,
    readers: Vec<Reader>,
    /// Of one hash, where there are such names.
    special: Vec<Vec<u8>>,
}

impl World {
    fn new(image: Image, special: Vec<Vec<u8>>) -> World {
        let mounted = image.mount(1 << 20);
        let dir = create(&mounted, ROOT, b"dir", FileKind::Directory);
        let file = create(&mounted, ROOT, b"file", FileKind::Regular);
        let (names, readers) = (Vec::new(), Vec::new());
        World { image, mounted: Some(mounted), dir, file, names, made: 0, readers, special }
    }

    fn mounted(&self) -> &Mounted {
        self.mounted.as_ref().unwrap()
    }

    /// A name that was never there; mostly of `len` bytes.
    fn new_name(&mut self, len: usize) -> Vec<u8> {
        self.made += 1;
        if self.made.is_multiple_of(5)
            && let Some(name) = self.special.pop()
        {
            return name;
        }
        let mut name = format!("{}Name", self.made).into_bytes();
        name.resize(len.max(name.len()), b'n');
        name
    }

    /// The name at `at` is gone.
    fn gone(&mut self, at: usize) -> Vec<u8> {
        let name = self.names.swap_remove(at % self.names.len());
        self.readers.iter_mut().for_each(|reader| _ = reader.stays.remove(&name));
        name
    }

    fn rename(&mut self, from: &[u8], to: &[u8], how: Rename) {
        let (from, to) = (EntryName { dir: self.dir, name: from }, EntryName { dir: self.dir, name: to });
        let mounted = self.mounted();
        mounted.fs.rename(&mounted.r(), from, to, how, &|_| false, NOW).unwrap();
    }

    fn act(&mut self, step: &Step) {
        match *step {
            Step::Add(count, len) => {
                for _ in 0..count {
                    let name = self.new_name(len);
                    let at = EntryName { dir: self.dir, name: &name };
                    self.mounted().fs.link(&self.mounted().r(), self.file, at, NOW).unwrap();
                    self.names.push(name);
                }
            }
            Step::Remove(percent) => {
                for _ in 0..self.names.len() * percent / 100 {
                    let name = self.gone(self.made * 7919);
                    let at = EntryName { dir: self.dir, name: &name };
                    let mounted = self.mounted();
                    mounted.fs.remove(&mounted.r(), at, Remove::File, &|_| false, NOW).unwrap();
                    if self.made.is_multiple_of(5) {
                        self.made += 1;
                    }
                }
            }
            Step::Rename(at) if !self.names.is_empty() => {
                let (old, new) = (self.gone(at), self.new_name(at % 200));
                self.rename(&old, &new, Rename::Refuse);
                self.names.push(new);
            }
            Step::Exchange(at) if self.names.len() > 1 => {
                // Both names stay.
                let (a, b) = (at % self.names.len(), (at / 3) % self.names.len());
                let (a, b) = (self.names[a].clone(), self.names[b].clone());
                if a != b {
                    self.rename(&a, &b, Rename::Exchange);
                }
            }
            Step::Begin => {
                let dots = [b".".to_vec(), b"..".to_vec()];
                let stays = self.names.iter().cloned().chain(dots).collect();
                self.readers.push(Reader { from: 0, stays, given: BTreeMap::new() });
            }
            Step::Read(reader, most) if !self.readers.is_empty() => {
                let at = reader % self.readers.len();
                self.read(at, most);
            }
            Step::Remount => {
                self.mounted.take().unwrap().unmount();
                self.mounted = Some(self.image.mount(256 << 10));
            }
            _ => {}
        }
    }

    /// One reader goes on; true at the end of its listing.
    fn read(&mut self, at: usize, most: usize) -> bool {
        let from = self.readers[at].from;
        let given = piece(self.mounted(), self.dir, from, most).unwrap();
        let is_end = given.len() < most;
        let reader = &mut self.readers[at];
        for (name, next) in given {
            reader.from = next;
            *reader.given.entry(name).or_default() += 1;
        }
        if is_end {
            let reader = self.readers.swap_remove(at);
            for name in &reader.stays {
                let times = reader.given.get(name).copied().unwrap_or(0);
                assert_eq!(times, 1, "{:?}, of {}", String::from_utf8_lossy(name), reader.stays.len());
            }
        }
        is_end
    }

    fn end(mut self, what: &str) {
        while !self.readers.is_empty() {
            self.read(0, 50);
        }
        for most in [1, 33, usize::MAX] {
            let mut names = pieces(self.mounted(), self.dir, 0, most);
            assert_eq!(names[..2], [b".".to_vec(), b"..".to_vec()]);
            names.sort();
            let mut want = [self.names.clone(), vec![b".".to_vec(), b"..".to_vec()]].concat();
            want.sort();
            assert_eq!(names, want);
        }
        self.mounted.take().unwrap().unmount();
        self.image.check(what);
    }
}

/// Kinds of file systems; what directories are in them, and how they grow, differs.
const KINDS: &[&[&str]] = &[
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-b", "1024", "-O", "inline_data"],
    &["-t", "ext4", "-b", "1024", "-O", "inline_data,^dir_index", "-I", "512"],
    &["-t", "ext4", "-b", "4096", "-O", "^metadata_csum,inline_data", "-I", "1024"],
    &["-t", "ext4", "-b", "1024", "-O", "large_dir,casefold"],
    &["-t", "ext2", "-b", "1024"],
    &["-t", "ext2", "-b", "1024", "-O", "^dir_index,^filetype"],
];

fn image(kind: &[&str], hash: &str) -> Image {
    let image = Image::make(kind, "16M");
    image.debugfs(&format!("ssv def_hash_version {hash}"));
    if kind.iter().any(|option| option.contains("casefold")) {
        // The root folds, and what is made in it.
        image.debugfs("sif / flags 0x40080000");
    }
    image
}

fn cases() -> u32 {
    std::env::var("RUMPCAP_CURSORS_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 300, ..ProptestConfig::default() })]
    #[test]
    fn what_stays_is_given_once(
        kind in 0..KINDS.len(),
        hash in prop_oneof![3 => Just("half_md4"), 1 => Just("legacy"), 1 => Just("tea")],
        steps in proptest::collection::vec(step(), 5..80),
    ) {
        if !have_tools() {
            return Ok(());
        }
        let special = if hash == "legacy" { OF_ONE_HASH.map(name_of_one_hash).to_vec() } else { Vec::new() };
        let mut world = World::new(image(KINDS[kind], hash), special);
        for step in &steps {
            world.act(step);
        }
        world.end(&format!("{:?} {hash} {steps:?}", KINDS[kind]));
    }
}

/// The order of hashes is the kernel's own: equal hashes by their minors.
#[test]
fn the_order_is_the_kernels() {
    if !have_tools() {
        return;
    }
    if !available() {
        return skip("no loop mounts: the order of the host's kernel is not asked");
    }
    // The legacy function has no minors and no seed; these names all have different hashes there.
    for hash in ["half_md4", "tea", "legacy"] {
        for count in [3, 30, 3000] {
            let image = image(&["-t", "ext4", "-b", "1024"], hash);
            let mut world = World::new(image, Vec::new());
            world.act(&Step::Add(count, 20));
            world.act(&Step::Remove(10));
            let ours = pieces(world.mounted(), world.dir, 0, 100);
            world.mounted.take().unwrap().unmount();
            let host = LoopMount::new(&world.image.path(), "ro").unwrap();
            let theirs: Vec<Vec<u8>> = std::fs::read_dir(host.join("dir"))
                .unwrap()
                .map(|entry| std::os::unix::ffi::OsStringExt::into_vec(entry.unwrap().file_name()))
                .collect();
            assert_eq!(ours[2..], theirs, "{hash}, {count} names");
        }
    }
}

/// Names of one hash in several leaves, and names that come between them.
#[test]
fn names_of_one_hash_are_given_once() {
    if !have_tools() {
        return;
    }
    let mut world = World::new(image(&["-t", "ext4", "-b", "1024"], "legacy"), Vec::new());
    world.special = OF_ONE_HASH.map(name_of_one_hash).to_vec();
    world.made = 4;
    while !world.special.is_empty() {
        world.act(&Step::Begin);
        world.act(&Step::Read(world.readers.len() - 1, world.made % 11));
        world.act(&Step::Add(5, 200));
    }
    (0..400).for_each(|number| world.act(&Step::Read(number * 31, 3)));
    world.end("one hash");
}

/// Readers who began when a directory was small go on when it has moved: out of the inode, into a tree.
#[test]
fn small_directories_grow_under_readers() {
    if !have_tools() {
        return;
    }
    for kind in KINDS {
        let mut world = World::new(image(kind, "half_md4"), Vec::new());
        for count in 1..14 {
            world.act(&Step::Remove(100));
            for _ in 0..count {
                world.act(&Step::Add(1, 1));
            }
            for most in 0..count {
                world.act(&Step::Begin);
                world.act(&Step::Read(world.readers.len() - 1, most + 2));
            }
            // What was first goes: what is behind it moves up when the entries are copied.
            world.act(&Step::Remove(40));
            for (most, len) in [(0, 9), (3, 30), (6, 60)] {
                (0..9).for_each(|_| world.act(&Step::Add(1, len)));
                (0..world.readers.len() * 2).for_each(|reader| world.act(&Step::Read(reader * 7, most)));
            }
            world.act(&Step::Add(60 * (count % 3), 90));
            while !world.readers.is_empty() {
                world.read(0, 5);
            }
            if count % 2 == 0 {
                // Another small one.
                world.act(&Step::Remove(100));
                let name = format!("dir{count}");
                world.dir = create(world.mounted(), ROOT, name.as_bytes(), FileKind::Directory);
            }
        }
        world.end(&format!("{kind:?}"));
    }
}

/// Names in leaves that are not of their hash, as a file system has them whose seed was changed: given once all the same.
#[test]
fn names_in_wrong_leaves_are_given_once() {
    if !have_tools() {
        return;
    }
    let mut world = World::new(image(&["-t", "ext4", "-b", "1024"], "half_md4"), Vec::new());
    world.act(&Step::Add(700, 60));
    world.mounted.take().unwrap().unmount();
    world.image.debugfs("ssv hash_seed 01020304-0506-0708-090a-0b0c0d0e0f10");
    let mounted = world.image.mount(1 << 20);
    for most in [1, 10, 1000] {
        let names = pieces(&mounted, world.dir, 0, most);
        assert_eq!((names.len(), BTreeSet::from_iter(&names).len()), (702, 702), "in pieces of {most}");
    }
}

/// A directory whose tree points to nowhere is listed all the same, and whoever had begun goes on.
#[test]
fn a_broken_tree_is_left() {
    if !have_tools() {
        return;
    }
    for (what, patch) in [("the root", 0), ("a pointer", 1)] {
        let image = image(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], "half_md4");
        let mut world = World::new(image, Vec::new());
        world.act(&Step::Add(600, 60));
        world.act(&Step::Begin);
        world.act(&Step::Read(0, 40));
        world.mounted.take().unwrap().unmount();
        let block = world.image.debugfs("bmap /dir 0");
        let block: u64 = block.lines().find_map(|line| line.trim().parse().ok()).unwrap();
        let (at, bytes): (u64, &[u8]) = match patch {
            // An unknown hash; and the block of the fourth pointer, behind the end.
            0 => (28, &[9]),
            _ => (32 + 8 * 3 + 4, &[0xFF, 0xFF, 0xFF, 0x0F]),
        };
        let file = std::fs::OpenOptions::new().write(true).open(world.image.path()).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, bytes, block * 1024 + at).unwrap();
        world.mounted = Some(world.image.mount(1 << 20));
        world.act(&Step::Begin);
        while !world.readers.is_empty() {
            world.read(0, 20);
        }
        println!("{what}");
    }
}

/// Whatever is in the tree and in the cookie: a listing ends, and its cookies ascend.
#[test]
fn damage_and_made_up_cookies() {
    if !have_tools() {
        return;
    }
    let image = image(&["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,large_dir"], "half_md4");
    let mut world = World::new(image, Vec::new());
    world.act(&Step::Add(900, 100));
    world.mounted.take().unwrap().unmount();
    let bmap = |logical: usize| {
        let block = world.image.debugfs(&format!("bmap /dir {logical}"));
        block.lines().find_map(|line| line.trim().parse::<u64>().ok()).unwrap()
    };
    let root = bmap(0) * 1024;
    let mut random = rumpcap_testing::seed::Random::new(5);
    let file = std::fs::OpenOptions::new().read(true).write(true).open(world.image.path()).unwrap();
    use std::os::unix::fs::FileExt;
    for round in 0..150 {
        let (at, len) = (root + 24 + random.below(400), 1 + random.below(8) as usize);
        let mut before = vec![0; len];
        file.read_exact_at(&mut before, at).unwrap();
        let noise: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        file.write_all_at(&noise, at).unwrap();
        if let Ok(mounted) = world.image.try_mount(256 << 10) {
            let mut from = [0, FIRST_HASH, FIRST_HASH | random.below(FIRST_HASH), random.next()][round % 4];
            let mut rounds = 0;
            while let Ok(given) = piece(&mounted, world.dir, from, 7) {
                let Some(&(_, next)) = given.last() else { break };
                assert!(next > from, "cookies ascend");
                from = next;
                rounds += 1;
                assert!(rounds < 100_000, "a listing ends");
            }
        }
        file.write_all_at(&before, at).unwrap();
    }
}

/// Blocks larger than a page are read only; whoever brings a cookie of hashes is served.
#[test]
fn hashes_of_large_blocks() {
    if !have_tools() {
        return;
    }
    let tree = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(tree.path().join("dir")).unwrap();
    for number in 0..3000 {
        std::fs::write(tree.path().join(format!("dir/{number}")), "").unwrap();
    }
    let root = tree.path().to_str().unwrap();
    for options in [&["-b", "65536"][..], &["-b", "16384", "-O", "^dir_index"], &["-b", "1024"]] {
        let arguments = [&["-t", "ext4", "-N", "4000", "-d", root], options].concat();
        let image = Image::make(&arguments, "96M");
        let index = std::process::Command::new("e2fsck").arg("-fyD").arg(image.path()).output().unwrap();
        assert!(matches!(index.status.code(), Some(0 | 1)));
        let mounted = image.try_mount(1 << 20).unwrap();
        let r = mounted.r();
        let node = mounted.fs.read_node(&r, ROOT, 0).unwrap();
        let dir = mounted.fs.lookup(&r, &node, b"dir").unwrap();
        drop(r);
        let in_order = pieces(&mounted, dir, FIRST_HASH, 100);
        let names: BTreeSet<_> = in_order.iter().collect();
        assert_eq!((in_order.len(), names.len()), (3000, 3000), "{options:?}");
        assert_eq!(pieces(&mounted, dir, FIRST_HASH, usize::MAX), in_order);
    }
}

/// Not a test of anything but time: prints it. `RUMPCAP_CURSORS_TIME=1`.
#[test]
fn time_of_pieces() {
    if !have_tools() || std::env::var_os("RUMPCAP_CURSORS_TIME").is_none() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "4096", "-N", "1000"], "256M");
    let mounted = image.mount(1 << 20);
    let dir = create(&mounted, ROOT, b"dir", FileKind::Directory);
    let mut file = ROOT;
    for number in 0..200_000 {
        if number % 60_000 == 0 {
            file = create(&mounted, ROOT, format!("file{number}").as_bytes(), FileKind::Regular);
        }
        let name = format!("file-number-{number}");
        let at = EntryName { dir, name: name.as_bytes() };
        mounted.fs.link(&mounted.r(), file, at, NOW).unwrap();
    }
    mounted.unmount();
    // 40 bytes each in a listing for FUSE: 4, 32 and 128 KiB; 25 with attributes in 4 KiB.
    for limit_bytes in [256 << 10, 1 << 20, 16 << 20] {
        let mounted = image.mount(limit_bytes);
        for most in [25, 100, 800, 3200] {
            for is_stable in [false, true] {
                let (begin, before) = (std::time::Instant::now(), mounted.vm.report());
                let (mut from, mut count) = (DirCookie(0), 0);
                loop {
                    let r = mounted.r();
                    let node = mounted.fs.read_node(&r, dir, 0).unwrap();
                    let (mut taken, mut last) = (0, from);
                    let mut sink = |entry: rumpcap_vfs::DirEntry<'_>| {
                        if taken == most {
                            return ControlFlow::Break(());
                        }
                        (taken, last) = (taken + 1, entry.next);
                        ControlFlow::Continue(())
                    };
                    match is_stable {
                        true => mounted.fs.read_dir_stable(&r, &node, from, &mut sink).unwrap(),
                        false => mounted.fs.read_dir(&r, &node, from, &mut sink).unwrap(),
                    }
                    count += taken;
                    from = last;
                    if taken < most {
                        break;
                    }
                }
                assert_eq!(count, 200_002);
                let (time, after) = (begin.elapsed(), mounted.vm.report());
                let looked = after.lookups - before.lookups;
                let missed = looked - (after.hits - before.hits);
                println!(
                    "{} KiB, pieces of {most}, stable {is_stable}: {time:?}, {looked} pages, {missed} read",
                    limit_bytes >> 10
                );
            }
        }
        mounted.unmount();
    }
}
