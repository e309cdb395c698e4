//! The same calls on a mount by FUSE and on the kernel's, and the same outcomes.

use crate::fixture::{Fuse, assert_same, check, image, is_possible, seen};
use rumpcap::Access;
use rumpcap_testing::loop_mount::LoopMount;
use rumpcap_testing::tools::{command, output};
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, Gid, IFlags, Mode, OFlags, RenameFlags, SeekFrom, Timespec, Timestamps,
    Uid, XattrFlags,
};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// What was done, and what came of it.
struct Log<'r> {
    root: &'r Path,
    lines: Vec<String>,
}

impl Log<'_> {
    fn say<T: std::fmt::Debug>(&mut self, what: &str, outcome: std::io::Result<T>) {
        let outcome = outcome.map_err(|e| e.raw_os_error());
        self.lines.push(format!("{what}: {outcome:?}"));
    }

    fn does<T: std::fmt::Debug>(&mut self, what: &str, outcome: rustix::io::Result<T>) {
        self.say(what, outcome.map_err(Into::into));
    }

    /// What `stat` says, times aside.
    fn stat(&mut self, path: &str) {
        let seen = fs::symlink_metadata(self.root.join(path));
        let seen = seen.map(|m| (m.mode(), m.nlink(), m.uid(), m.gid(), m.size(), m.rdev()));
        self.say(path, seen);
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

fn names(log: &mut Log<'_>) {
    let root = log.root.to_owned();
    let at = |name: &str| root.join(name);
    for dir in ["d", "d/e", "full", "d"] {
        log.say(dir, fs::create_dir(at(dir)));
    }
    log.say("write", fs::write(at("d/f"), "content"));
    log.say("link", fs::hard_link(at("d/f"), at("d/g")));
    log.say("link to a directory", fs::hard_link(at("d"), at("dd")));
    log.say("symlink", std::os::unix::fs::symlink("d/f", at("s")));
    log.say("read by it", fs::read(at("s")));
    log.say("a name of 255", fs::write(at(&"n".repeat(255)), ""));
    log.say("a name of 256", fs::write(at(&"n".repeat(256)), ""));
    fs::write(at("full/x"), "x").unwrap();
    log.say("rmdir", fs::remove_dir(at("full")));
    log.say("rmdir of a file", fs::remove_dir(at("d/f")));
    log.say("unlink of a directory", fs::remove_file(at("d/e")));
    log.say("rename onto full", fs::rename(at("d"), at("full")));
    log.say("rename into itself", fs::rename(at("d"), at("d/e/d")));
    log.say("rename onto its link", fs::rename(at("d/f"), at("d/g")));
    for (flags, to) in [
        (RenameFlags::NOREPLACE, "s"),
        (RenameFlags::NOREPLACE, "fresh"),
        (RenameFlags::EXCHANGE, "full"),
        (RenameFlags::EXCHANGE, "none"),
        (RenameFlags::WHITEOUT, "white"),
    ] {
        fs::write(at("from"), "from").unwrap();
        log.does("renameat2", rustix::fs::renameat_with(CWD, at("from"), CWD, at(to), flags));
        for path in ["from", to] {
            log.stat(path);
        }
        let _ = fs::remove_file(at("from")).or_else(|_| fs::rename(at("from"), at(&format!("was-{to}"))));
    }
    for (name, kind) in [("fifo", 0o010_000), ("chr", 0o020_000), ("blk", 0o060_000), ("sock", 0o140_000)] {
        let kind = rustix::fs::FileType::from_raw_mode(kind);
        let made = rustix::fs::mknodat(CWD, at(name), kind, Mode::from(0o644), rustix::fs::makedev(5, 300));
        log.does("mknod", made);
        log.stat(name);
    }
    for path in ["d", "d/f", "d/g", "s", "full", "was-full", "."] {
        log.stat(path);
    }
}

fn without_names(log: &mut Log<'_>) {
    let path = log.root.join("gone");
    let file = open(&path);
    file.write_all_at(b"still here", 0).unwrap();
    log.say("unlink", fs::remove_file(&path));
    let mut content = [0; 10];
    log.say("read", file.read_exact_at(&mut content, 0).map(|()| content));
    log.say("nlink", file.metadata().map(|m| m.nlink()));
    log.say("grow", file.set_len(100_000));
    log.say("write", file.write_all_at(b"and more", 90_000));
    let tmp = OFlags::TMPFILE | OFlags::RDWR;
    let file = rustix::fs::open(log.root, tmp, Mode::from(0o640)).map(File::from);
    log.does("O_TMPFILE", file.as_ref().map(drop).map_err(|e| *e));
    let file = file.unwrap();
    log.say("write", file.write_all_at(b"named later", 0));
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let named = rustix::fs::linkat(CWD, link, CWD, log.root.join("named"), AtFlags::SYMLINK_FOLLOW);
    log.does("linkat", named);
    log.say("nlink", file.metadata().map(|m| m.nlink()));
    drop(file);
    let dir = log.root.join("gone-dir");
    fs::create_dir(&dir).unwrap();
    let open_dir = File::open(&dir).unwrap();
    log.say("rmdir of an open one", fs::remove_dir(&dir));
    log.say("its nlink", open_dir.metadata().map(|m| m.nlink()));
    let entries = rustix::fs::Dir::read_from(&open_dir).map(|dir| dir.count());
    log.does("its entries", entries);
    log.does("a file in it", rustix::fs::openat(&open_dir, "x", OFlags::CREATE, Mode::from(0o644)).map(drop));
}

fn content(log: &mut Log<'_>) {
    let path = log.root.join("content");
    let file = open(&path);
    log.say("write", file.write_all_at(&[1; 3_000_000], 0));
    log.say("within", file.write_all_at(&[2; 5000], 1_234_567));
    log.say("behind the end", file.write_all_at(&[3; 10], 4_000_000));
    let fallocate = |mode, offset, len| rustix::fs::fallocate(&file, mode, offset, len);
    let (keep, punch) = (FallocateFlags::KEEP_SIZE, FallocateFlags::PUNCH_HOLE);
    log.does("punch", fallocate(punch | keep, 10_000, 100_000));
    log.does("zero", fallocate(FallocateFlags::ZERO_RANGE, 200_000, 50_000));
    log.does("zero behind the end", fallocate(FallocateFlags::ZERO_RANGE, 3_999_990, 50_000));
    log.does("allocate", fallocate(FallocateFlags::empty(), 4_000_000, 200_000));
    log.does("allocate behind", fallocate(keep, 5_000_000, 100_000));
    log.does("unknown", fallocate(FallocateFlags::UNSHARE_RANGE, 0, 4096));
    log.say("len", file.metadata().map(|m| m.size()));
    // Of a file with a block map Linux does not see data that it has not placed yet.
    file.sync_all().unwrap();
    for offset in [0, 9_999, 12_288, 3_100_000, 4_199_999, 4_200_000] {
        log.does("data", rustix::fs::seek(&file, SeekFrom::Data(offset)));
        log.does("hole", rustix::fs::seek(&file, SeekFrom::Hole(offset)));
    }
    log.say("cut", file.set_len(1_500_000));
    log.say("grow", file.set_len(1_600_000));
    let mut tail = vec![9; 200_000];
    log.say("tail", file.read_at(&mut tail, 1_450_000));
    log.say(
        "zeros",
        Ok((
            tail[..50_000].iter().filter(|b| **b != 0).count(),
            tail[50_000..].iter().filter(|b| **b == 0).count(),
        )),
    );
    let append = OpenOptions::new().append(true).open(&path);
    log.say("append", append.and_then(|mut file| file.write(b"appended")));
    log.say("too far", file.write_at(b"x", (1 << 44) + 1));
    log.say("copy", std::io::copy(&mut File::open(&path).unwrap(), &mut open(&log.root.join("copy"))));
    let copy = open(&log.root.join("ranged"));
    let mut at = (100, 0);
    log.does(
        "copy_file_range",
        rustix::fs::copy_file_range(&file, Some(&mut at.0), &copy, Some(&mut at.1), 100_000),
    );
    log.say("O_TRUNC", File::create(log.root.join("copy")).and_then(|f| f.metadata()).map(|m| m.size()));
    log.say("fsync", file.sync_all());
    log.say("fdatasync", file.sync_data());
    log.say("fsync of a directory", File::open(log.root).and_then(|dir| dir.sync_all()));
    direct(log);
}

/// Past the host's cache, and through it at the same time.
fn direct(log: &mut Log<'_>) {
    let path = log.root.join("direct");
    fs::write(&path, vec![7; 16384]).unwrap();
    let file = rustix::fs::open(&path, OFlags::RDWR | OFlags::DIRECT, Mode::empty()).map(File::from).unwrap();
    let mut memory = vec![0_u8; 12288];
    let start = memory.as_ptr().align_offset(4096);
    memory[start..start + 8192].fill(5);
    log.say("direct write", file.write_at(&memory[start..start + 4096], 4096));
    log.say(
        "seen by others",
        fs::read(&path).map(|all| (all.len(), all[4095], all[4096], all[8191], all[8192])),
    );
    log.say("direct read", file.read_at(&mut memory[start..start + 8192], 0));
    log.say("what", Ok((memory[start], memory[start + 4096])));
}

fn attributes(log: &mut Log<'_>) {
    let path = log.root.join("attributes");
    let file = open(&path);
    let mode = |bits| fs::set_permissions(&path, PermissionsExt::from_mode(bits));
    log.say("chmod", mode(0o6777));
    log.does("chown", rustix::fs::chown(&path, Some(Uid::from_raw(5)), Some(Gid::from_raw(6))));
    log.stat("attributes");
    log.say("chmod", mode(0o2666));
    log.does("chgrp", rustix::fs::chown(&path, None, Some(Gid::from_raw(7))));
    log.stat("attributes");
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    for times in [
        Timestamps { last_access: time(1, 2), last_modification: time(-3, 4) },
        Timestamps {
            last_access: time(0, rustix::fs::UTIME_OMIT),
            last_modification: time(9_999_999_999, 999_999_999),
        },
    ] {
        log.does("utimens", rustix::fs::futimens(&file, &times));
        log.say("times", fs::metadata(&path).map(|m| (m.atime(), m.atime_nsec(), m.mtime(), m.mtime_nsec())));
    }
    let set = |name, value: &[u8], flags| rustix::fs::setxattr(&path, name, value, flags);
    let (any, create, replace) = (XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE);
    log.does("replace none", set("user.a", b"1", replace));
    log.does("create", set("user.a", b"1", create));
    log.does("create again", set("user.a", b"1", create));
    log.does("replace", set("user.a", b"22", replace));
    log.does("large", set("user.large", &[b'l'; 3000], any));
    log.does("too large", set("user.larger", &[b'l'; 60_000], any));
    log.does("no namespace", set("plain", b"x", any));
    log.does("empty", set("user.empty", b"", any));
    let mut room = [0; 4096];
    log.does("size", rustix::fs::getxattr(&path, "user.a", &mut [0_u8; 0][..]));
    log.does("get", rustix::fs::getxattr(&path, "user.a", &mut room[..]));
    log.does("too little room", rustix::fs::getxattr(&path, "user.large", &mut room[..10]));
    log.does("none", rustix::fs::getxattr(&path, "user.none", &mut room[..]));
    log.does("list", rustix::fs::listxattr(&path, &mut room[..]));
    log.does("list, its length", rustix::fs::listxattr(&path, &mut [0_u8; 0][..]));
    log.does("list in little room", rustix::fs::listxattr(&path, &mut room[..3]));
    log.does("remove", rustix::fs::removexattr(&path, "user.empty"));
    log.does("remove again", rustix::fs::removexattr(&path, "user.empty"));
    log.does("flags", rustix::fs::ioctl_getflags(&file));
    let immutable = IFlags::IMMUTABLE | IFlags::NODUMP;
    let flags = rustix::fs::ioctl_getflags(&file).unwrap();
    log.does("chattr +id", rustix::fs::ioctl_setflags(&file, flags | immutable));
    log.say("write to it", fs::write(&path, "x"));
    log.say("unlink it", fs::remove_file(&path));
    log.does("lsattr", rustix::fs::ioctl_getflags(&file));
    log.does("chattr =", rustix::fs::ioctl_setflags(&file, flags));
}

/// What ordinary programs do, by their outcomes and output.
fn programs(log: &mut Log<'_>) {
    for script in [
        "setfacl -m u:5:rw,d:g:7:rwx d; getfacl -c d",
        "umask 077; echo x > d/inherits; mkdir d/inherits-too; getfacl -c d/inherits d/inherits-too",
        "chmod 640 d/inherits; getfacl -c d/inherits; chmod g+s d; mkdir d/sgid; stat -c '%a %g' d/sgid",
        "umask 027; echo x > masked; mkdir masked-dir; stat -c %a masked masked-dir",
        "echo x > suid; chmod 6755 suid; setpriv --reuid=9 --clear-groups sh -c 'echo y >> suid'; stat -c %a suid",
        "chmod 6757 suid; setpriv --reuid=9 --clear-groups sh -c 'echo y >> suid'; stat -c %a suid",
        "chmod 6757 suid; setpriv --reuid=9 --clear-groups truncate -s 1 suid; stat -c %a suid",
        "chmod 6757 suid; setpriv --reuid=9 --clear-groups sh -c ': > suid'; stat -c %a suid",
        "echo x > private; chmod 600 private; setpriv --reuid=9 --clear-groups cat private; echo $?",
        "mkdir -m 1777 sticky; echo x > sticky/f; setpriv --reuid=9 --clear-groups rm -f sticky/f; echo $?",
        "seq 1 100000 > sorted; sort -R sorted | sort -n -o again -; cmp sorted again; echo $?",
        "tar --sort=name -cf - d | tar -xf - --one-top-level=untarred; diff -r d untarred/d; echo $?",
        "mkdir many; i=0; while [ $i -lt 500 ]; do echo $i > many/$i; i=$((i+1)); done; cat many/* | sort -n | tail -1; ls many | wc -l",
        "rm -r many/*5*; ls many | wc -l; mv many fewer; ls -d many fewer",
        "flock locked -c 'flock -n locked -c true; echo $?'",
    ] {
        let result = output(command("sh").current_dir(log.root).args(["-c", script]));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        log.lines.push(format!(
            "{script}: {:?} {}{}",
            result.status.code(),
            text(&result.stdout),
            text(&result.stderr)
        ));
    }
}

fn exercise(root: &Path) -> Vec<String> {
    let mut log = Log { root, lines: Vec::new() };
    for part in [names, without_names, content, attributes, programs] {
        part(&mut log);
    }
    log.lines
}

#[test]
fn calls_and_programs_do_what_they_do_on_the_kernels_ext4() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let variants = [
        (&["-t", "ext4"][..], 512 << 10),
        (&["-t", "ext4", "-b", "1024", "-O", "inline_data,^metadata_csum"], 1 << 20),
        (&["-t", "ext3", "-b", "4096"], 1 << 20),
    ];
    for (n, (options, limit)) in variants.iter().enumerate() {
        let (ours, theirs) = (
            image(directory.path(), &format!("{n}.ours"), options),
            image(directory.path(), &format!("{n}.theirs"), options),
        );
        let kernel = LoopMount::new(&theirs, "").unwrap();
        let want = exercise(kernel.path());
        drop(kernel);
        let fuse = Fuse::mount(&ours, Access::Write, *limit);
        let found = exercise(&fuse.root);
        for (found, want) in found.iter().zip(&want) {
            assert_eq!(found, want, "{options:?}");
        }
        assert_eq!(fuse.kernel.memory_report().stuck, 0);
        fuse.end();
        check(&ours);
        // Directories grow by the hash of names, which each image seeds for itself; lengths of files come with their digests.
        let what = "%p";
        let (ours, theirs) = (LoopMount::new(&ours, "ro").unwrap(), LoopMount::new(&theirs, "ro").unwrap());
        assert_same(&seen(ours.path(), what), &seen(theirs.path(), what), options[1]);
    }
}

#[test]
fn threads_that_make_and_remove_leave_the_image_in_order() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "threads.img", &["-t", "ext4"]);
    let fuse = Fuse::mount(&image, Access::Write, 512 << 10);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let root = fuse.root.clone();
            scope.spawn(move || {
                let mine = root.join(format!("t{thread}"));
                fs::create_dir(&mine).unwrap();
                for n in 0..60 {
                    fs::write(mine.join(n.to_string()), vec![thread; 5000 + n * 100]).unwrap();
                    // In everybody's directory too: names that others want.
                    let _ = fs::write(root.join(format!("shared-{}", n % 5)), [thread]);
                    let _ = fs::rename(
                        root.join(format!("shared-{}", n % 5)),
                        root.join(format!("moved-{}", n % 3)),
                    );
                }
                for n in (0..60).step_by(2) {
                    fs::remove_file(mine.join(n.to_string())).unwrap();
                }
                assert_eq!(fs::read_dir(&mine).unwrap().count(), 30);
                assert!(fs::read(mine.join("31")).unwrap().iter().all(|byte| *byte == thread));
            });
        }
    });
    fuse.end();
    check(&image);
}
