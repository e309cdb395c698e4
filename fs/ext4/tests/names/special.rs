//! What a random walk does not meet: directories of special kinds, limits, flags, inheritance.

use crate::world::{Image, Mounted, NOW, have_tools};
use rumpcap_host::{Error, Result};
use rumpcap_vfs::{
    Change, EntryName, FileKind, FileSystem, InodeNo, NewFile, Node, Remove, Rename, Timestamp,
};

const LIMIT_BYTES: u64 = 256 << 10;
const ROOT: InodeNo = InodeNo(2);

const FILE: NewFile<'_> =
    NewFile { kind: FileKind::Regular, mode: 0o644, uid: 0, gid: 0, rdev: (0, 0), target: b"" };
const DIR: NewFile<'_> = NewFile { kind: FileKind::Directory, mode: 0o755, ..FILE };

fn create(mounted: &Mounted, dir: InodeNo, name: &str, new: &NewFile<'_>) -> Result<InodeNo> {
    let at = EntryName { dir, name: name.as_bytes() };
    mounted.fs.create(&mounted.r(), at, new, NOW).map(|node| node.attributes.ino)
}

fn link(mounted: &Mounted, ino: InodeNo, dir: InodeNo, name: &str) -> Result<()> {
    let at = EntryName { dir, name: name.as_bytes() };
    mounted.fs.link(&mounted.r(), ino, at, NOW).map(|_| ())
}

fn remove(mounted: &Mounted, dir: InodeNo, name: &str, what: Remove) -> Result<()> {
    let at = EntryName { dir, name: name.as_bytes() };
    let removed = mounted.fs.remove(&mounted.r(), at, what, &|_| false, NOW);
    mounted.finish(&removed);
    removed.map(|_| ())
}

fn rename(mounted: &Mounted, from: (InodeNo, &str), to: (InodeNo, &str), how: Rename) -> Result<()> {
    let from = EntryName { dir: from.0, name: from.1.as_bytes() };
    let to = EntryName { dir: to.0, name: to.1.as_bytes() };
    let renamed = mounted.fs.rename(&mounted.r(), from, to, how, &|_| false, NOW);
    mounted.finish(renamed.iter().flat_map(|renamed| &renamed.other));
    renamed.map(|_| ())
}

fn node(mounted: &Mounted, ino: InodeNo) -> Node {
    mounted.fs.read_node(&mounted.r(), ino, 0).unwrap()
}

fn lookup(mounted: &Mounted, dir: InodeNo, name: &str) -> Result<InodeNo> {
    mounted.fs.lookup(&mounted.r(), &node(mounted, dir), name.as_bytes())
}

#[test]
fn an_inline_directory_stays_one_until_it_is_full() {
    if !have_tools() {
        return;
    }
    const INLINE: u32 = 0x1000_0000;
    for size in ["256", "1024"] {
        let image = Image::make(&["-t", "ext4", "-b", "1024", "-I", size, "-O", "inline_data"], "16M");
        let mounted = image.mount(LIMIT_BYTES);
        let dir = create(&mounted, ROOT, "dir", &DIR).unwrap();
        let below = create(&mounted, dir, "below", &DIR).unwrap();
        let is_inline = |mounted: &Mounted| node(mounted, dir).attributes.flags & INLINE != 0;
        assert!(is_inline(&mounted));
        assert_eq!((lookup(&mounted, below, ".."), lookup(&mounted, dir, "..")), (Ok(dir), Ok(ROOT)));
        let mut number = 0;
        while is_inline(&mounted) {
            assert!(number < 60);
            create(&mounted, dir, &format!("file{number}"), &FILE).unwrap();
            number += 1;
            assert_eq!(create(&mounted, dir, "file0", &FILE), Err(Error::Exists));
        }
        assert!(number > 4, "{number}");
        (0..number).for_each(|number| assert!(lookup(&mounted, dir, &format!("file{number}")).is_ok()));
        assert_eq!((lookup(&mounted, dir, "."), lookup(&mounted, dir, "..")), (Ok(dir), Ok(ROOT)));
        // `..` of an inline directory changes with its place.
        rename(&mounted, (dir, "below"), (ROOT, "above"), Rename::Refuse).unwrap();
        assert_eq!(lookup(&mounted, below, ".."), Ok(ROOT));
        mounted.unmount();
        image.check(size);
    }
}

#[test]
fn names_without_case_are_there_once() {
    if !have_tools() {
        return;
    }
    for extra in ["casefold", "casefold,^metadata_csum"] {
        let image = Image::make(&["-t", "ext4", "-b", "1024", "-O", extra], "32M");
        // The root folds, and what is made in it.
        image.debugfs("sif / flags 0x40080000");
        let mounted = image.mount(LIMIT_BYTES);
        let dir = create(&mounted, ROOT, "Dir", &DIR).unwrap();
        assert_eq!(create(&mounted, ROOT, "dIR", &DIR), Err(Error::Exists));
        for number in 0..500 {
            create(&mounted, dir, &format!("Straße-{number}-{}", "Ä".repeat(number % 60)), &FILE).unwrap();
        }
        for number in 0..500 {
            let other = format!("STRASSE-{number}-{}", "a\u{308}".repeat(number % 60));
            assert_eq!(create(&mounted, dir, &other, &FILE), Err(Error::Exists), "{other}");
            assert!(lookup(&mounted, dir, &other).is_ok());
            if number % 3 == 0 {
                remove(&mounted, dir, &other, Remove::File).unwrap();
                assert_eq!(lookup(&mounted, dir, &other), Err(Error::NotFound));
                let at = EntryName { dir, name: b"not \xFF valid" };
                assert_eq!(mounted.fs.create(&mounted.r(), at, &FILE, NOW).is_ok(), number == 0);
            }
        }
        mounted.unmount();
        image.check(extra);
    }
}

#[test]
fn what_a_new_inode_inherits() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024"], "16M");
    let mounted = image.mount(LIMIT_BYTES);
    let dir = create(&mounted, ROOT, "dir", &NewFile { mode: 0o2770, gid: 77, ..DIR }).unwrap();
    mounted.unmount();
    // synchronous, no dump, no atime, synchronous directory
    image.debugfs("sif /dir flags 0x000900c8");
    let mounted = image.mount(LIMIT_BYTES);
    let made = |name: &str, new: &NewFile<'_>| {
        let a = node(&mounted, create(&mounted, dir, name, new).unwrap()).attributes;
        (a.gid, a.mode & 0o7777, a.flags & !0x8_0000)
    };
    assert_eq!(made("below", &NewFile { mode: 0o755, gid: 5, ..DIR }), (77, 0o2755, 0x1_00C8));
    assert_eq!(made("file", &NewFile { mode: 0o644, gid: 5, ..FILE }), (77, 0o644, 0xC8));
    let fifo = NewFile { kind: FileKind::Fifo, mode: 0o644, gid: 5, ..FILE };
    assert_eq!(made("fifo", &fifo), (77, 0o644, 0xC0));
    let times = node(&mounted, dir).attributes;
    assert_eq!((times.mtime, times.ctime), (NOW, NOW));
    mounted.unmount();
    image.check("inherited");
}

#[test]
fn flags_forbid() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024"], "16M");
    let mounted = image.mount(LIMIT_BYTES);
    for name in ["fixed", "grows"] {
        let dir = create(&mounted, ROOT, name, &DIR).unwrap();
        create(&mounted, dir, "file", &FILE).unwrap();
    }
    create(&mounted, ROOT, "fixed file", &FILE).unwrap();
    mounted.unmount();
    image.debugfs("sif /fixed flags 0x80010");
    image.debugfs("sif /grows flags 0x80020");
    image.debugfs("sif \"/fixed file\" flags 0x80010");
    let mounted = image.mount(LIMIT_BYTES);
    let at = |name| lookup(&mounted, ROOT, name).unwrap();
    let (fixed, grows, file) = (at("fixed"), at("grows"), at("fixed file"));
    let no = Err(Error::NotPermitted);
    assert_eq!(create(&mounted, fixed, "new", &FILE).map(|_| ()), no);
    assert_eq!(remove(&mounted, fixed, "file", Remove::File), no);
    assert_eq!(create(&mounted, grows, "new", &FILE).map(|_| ()), Ok(()));
    assert_eq!(remove(&mounted, grows, "new", Remove::File), no);
    assert_eq!(rename(&mounted, (grows, "new"), (ROOT, "new"), Rename::Replace), no);
    assert_eq!(rename(&mounted, (grows, "new"), (grows, "file"), Rename::Exchange), no);
    assert_eq!(link(&mounted, file, ROOT, "other"), no);
    assert_eq!(remove(&mounted, ROOT, "fixed file", Remove::File), no);
    assert_eq!(rename(&mounted, (ROOT, "fixed file"), (ROOT, "other"), Rename::Replace), no);
    assert_eq!(remove(&mounted, ROOT, "fixed", Remove::Directory), no);
    mounted.unmount();
    image.check("flags");
}

#[test]
fn links_are_counted_to_their_end() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024", "-N", "70000"], "128M");
    let mounted = image.mount(1 << 20);
    let dir = create(&mounted, ROOT, "dir", &DIR).unwrap();
    let file = create(&mounted, ROOT, "file", &FILE).unwrap();
    for number in 1..65_000 {
        link(&mounted, file, dir, &format!("{number}")).unwrap();
    }
    assert_eq!(link(&mounted, file, dir, "one more"), Err(Error::TooManyHardLinks));
    assert_eq!(node(&mounted, file).attributes.nlink, 65_000);
    for number in 1..65_000 {
        remove(&mounted, dir, &format!("{number}"), Remove::File).unwrap();
    }
    for number in 0..65_010 {
        create(&mounted, dir, &format!("{number}"), &DIR).unwrap();
        let links = node(&mounted, dir).attributes.nlink;
        assert_eq!(links, if number < 64_998 { number + 3 } else { 1 }, "behind {number}");
    }
    mounted.unmount();
    image.check("full");
    let mounted = image.mount(1 << 20);
    (0..65_010).for_each(|number| remove(&mounted, dir, &format!("{number}"), Remove::Directory).unwrap());
    assert_eq!(node(&mounted, dir).attributes.nlink, 1);
    remove(&mounted, ROOT, "dir", Remove::Directory).unwrap();
    mounted.unmount();
    image.check("empty");
}

#[test]
fn arguments_that_make_no_sense() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-b", "1024"], "16M");
    let mounted = image.mount(LIMIT_BYTES);
    let file = create(&mounted, ROOT, "file", &FILE).unwrap();
    let free = mounted.stat_fs();
    let name = Err(Error::InvalidInput { what: "name" });
    for bad in ["", ".", "..", "a/b", "a\0b"] {
        assert_eq!(create(&mounted, ROOT, bad, &FILE).map(|_| ()), name);
        assert_eq!(remove(&mounted, ROOT, bad, Remove::File), name);
    }
    let long = "n".repeat(256);
    assert_eq!(create(&mounted, ROOT, &long, &FILE), Err(Error::NameTooLong));
    assert_eq!(create(&mounted, file, "below", &FILE), Err(Error::NotADirectory));
    assert_eq!(create(&mounted, InodeNo(1000), "below", &FILE), Err(Error::NotFound));
    assert_eq!(create(&mounted, InodeNo(u64::MAX), "below", &FILE), Err(Error::NotFound));
    let target = [b'x'; 1024];
    let symlink = NewFile { kind: FileKind::Symlink, target: &target, ..FILE };
    assert_eq!(create(&mounted, ROOT, "link", &symlink), Err(Error::NameTooLong));
    let device = NewFile { kind: FileKind::CharDevice, rdev: (4096, 0), ..FILE };
    assert!(matches!(create(&mounted, ROOT, "device", &device), Err(Error::InvalidInput { .. })));
    assert!(matches!(mounted.fs.delete(&mounted.r(), file, NOW), Err(Error::Busy { .. })));
    assert_eq!(mounted.stat_fs(), free);
    mounted.unmount();
    image.check("nothing was done");
}

#[test]
fn orphans_are_finished_at_the_next_mount() {
    if !have_tools() {
        return;
    }
    for kind in [&["-t", "ext4"][..], &["-t", "ext4", "-O", "^orphan_file"], &["-t", "ext3"]] {
        let image = Image::make(&[kind, &["-b", "1024"]].concat(), "32M");
        let mounted = image.mount(LIMIT_BYTES);
        let before = mounted.stat_fs();
        for number in 0..20 {
            let name = format!("file{number}");
            let ino = create(&mounted, ROOT, &name, &FILE).unwrap();
            let mut at = 0;
            while at < 200_000 {
                let data = [1; 5_000];
                at += mounted.fs.write(&mounted.r(), ino, at, &data, NOW, &mut |_| Ok(())).unwrap().len_bytes
                    as u64
                    + 3_000;
            }
            let entry = EntryName { dir: ROOT, name: name.as_bytes() };
            let removed = mounted.fs.remove(&mounted.r(), entry, Remove::File, &|_| true, NOW).unwrap();
            assert!(removed.is_nameless);
            mounted.fs.create_nameless(&mounted.r(), ROOT, &FILE, NOW).unwrap();
        }
        let later = Timestamp { seconds: NOW.seconds + 1, ..NOW };
        mounted.fs.sync(&mounted.r(), later).unwrap();
        // The power goes.
        drop(mounted);
        let mounted = image.mount(LIMIT_BYTES);
        let after = mounted.stat_fs();
        assert_eq!((after.blocks_free, after.inodes_free), (before.blocks_free, before.inodes_free));
        mounted.unmount();
        image.check("orphans");
    }
}
