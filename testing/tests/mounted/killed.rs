//! The server is killed while many write: what was synced is there when the image is mounted again.
//!
//! The writers are threads of this program. What a call of `fsync` or `syncfs` acknowledged is noted here, outside of
//! the mount; behind the kill every call fails, and the writers end. Judges: e2fsck replays the journal and finds
//! nothing wrong, the kernel replays it on another copy, and `rumpcap mount` on the image itself; each of the two must
//! show what was acknowledged.

use rumpcap_testing::images::cache::copy_sparse;
use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::mounted::{Driver, Image, Mounted, Options, can_run, judge_image, long_or};
use rumpcap_testing::seed::Random;
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, run_allowing};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

const WRITERS: u64 = 4;
/// Behind the acknowledged changes there may be others, so a file's content says how far it is.
const RECORD: usize = 1000;

#[test]
fn under_load() {
    rounds(&Options::memory("1m"), "");
}

#[test]
fn under_load_with_the_writeback_cache() {
    rounds(&Options::writeback(), "");
}

#[test]
fn under_load_without_a_journal_checksum() {
    rounds(&Options::memory("512k"), "^metadata_csum");
}

fn rounds(options: &Options, features: &str) {
    if !can_run(&[]) {
        return;
    }
    if Driver::chosen() != Driver::Rumpcap {
        return skip("fuse2fs promises nothing behind a kill, and the kernel cannot be killed");
    }
    for round in 0..long_or(40, 2) {
        let mut arguments = vec!["-t", "ext4", "-b", "4096"];
        if !features.is_empty() {
            arguments.extend(["-O", features]);
        }
        let image = Image::with(256, &arguments);
        let mounted = Mounted::new(image.path(), options).unwrap_or_else(|why| panic!("mounting: {why}"));
        let (acknowledged, syncs) = write_until_killed(mounted, round);
        println!("round {round}: {syncs} calls of fsync, {} files acknowledged", acknowledged.len());
        assert!(syncs > 10, "killed too early to say anything");
        judge(&image, options, &acknowledged);
    }
}

/// What must be there: by path, how many records were synced; `None` for a file that was removed, and the removal synced.
type Acknowledged = BTreeMap<String, Option<u64>>;

fn write_until_killed(mounted: Mounted, round: u64) -> (Acknowledged, usize) {
    let syncs = AtomicUsize::new(0);
    let root = mounted.path().to_owned();
    let mut all = Acknowledged::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (syncs, root) = (&syncs, &root);
                scope.spawn(move || {
                    let mut acknowledged = Acknowledged::new();
                    let seed = round * WRITERS + writer;
                    // Ends with the error of the mount that has died.
                    let error = write(&root.join(format!("w{writer}")), seed, syncs, &mut acknowledged);
                    (writer, acknowledged, error)
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(1500 + 137 * round));
        mounted.kill();
        for writer in writers {
            let (writer, acknowledged, error) = writer.join().expect("a writer");
            let error = error.expect_err("a writer ends when its mount dies");
            let died = [rustix::io::Errno::NOTCONN, rustix::io::Errno::CONNABORTED, rustix::io::Errno::NOENT];
            let errno = rustix::io::Errno::from_io_error(&error);
            assert!(errno.is_some_and(|errno| died.contains(&errno)), "writer {writer}: {error}");
            all.extend(
                acknowledged.into_iter().map(|(path, records)| (format!("w{writer}/{path}"), records)),
            );
        }
    });
    (all, syncs.into_inner())
}

/// Appends, creates, renames over, removes; each made durable and noted, among others that are not.
fn write(
    directory: &Path,
    seed: u64,
    syncs: &AtomicUsize,
    acknowledged: &mut Acknowledged,
) -> std::io::Result<()> {
    let mut random = Random::new(seed + 1);
    std::fs::create_dir(directory)?;
    File::open(directory.parent().expect("the mount"))?.sync_all()?;
    let sync_directory = || File::open(directory)?.sync_all();
    loop {
        let name = format!("f{}", random.below(30));
        let path = directory.join(&name);
        match random.below(10) {
            0..5 => {
                if acknowledged.get(&name) == Some(&None) {
                    // From here on it may be there again.
                    acknowledged.remove(&name);
                }
                let mut file = File::options().append(true).create(true).open(&path)?;
                let from = file.seek(SeekFrom::End(0))? / RECORD as u64;
                let count = 1 + random.below(40);
                for n in from..from + count {
                    file.write_all(&record(&name, n))?;
                }
                if random.below(2) == 0 {
                    file.sync_all()?;
                    sync_directory()?;
                    syncs.fetch_add(1, Relaxed);
                    acknowledged.insert(name, Some(from + count));
                }
            }
            5..8 => {
                // The way of every editor: a new file beside, synced, renamed over, the directory synced.
                let count = 1 + random.below(60);
                let beside = directory.join(format!("{name}.new"));
                let mut file = File::create(&beside)?;
                for n in 0..count {
                    file.write_all(&record(&name, n))?;
                }
                file.sync_all()?;
                // From here on the old or the new one may be there.
                acknowledged.remove(&name);
                std::fs::rename(&beside, &path)?;
                sync_directory()?;
                syncs.fetch_add(1, Relaxed);
                acknowledged.insert(name, Some(count));
            }
            _ if path.exists() => {
                acknowledged.remove(&name);
                std::fs::remove_file(&path)?;
                sync_directory()?;
                syncs.fetch_add(1, Relaxed);
                acknowledged.insert(name, None);
            }
            _ => {}
        }
    }
}

/// Record `n` of the file `name`.
fn record(name: &str, n: u64) -> Vec<u8> {
    let mut record = format!("{name} {n} ").into_bytes();
    let filling = (n % 251) as u8;
    record.resize(RECORD, filling);
    record
}

fn judge(image: &Image, options: &Options, acknowledged: &Acknowledged) {
    // The journal's replay by e2fsck; nothing else may be left to be mended.
    let copy = image.beside("for-e2fsck");
    copy_sparse(image.path(), &copy);
    run_allowing(command("e2fsck").args(["-p", "-E", "journal_only"]).arg(&copy), &[0, 1]);
    // Orphans are what a kill leaves by right: a mount takes them away.
    run_allowing(command("e2fsck").arg("-p").arg(&copy), &[0, 1]);
    judge_image(&copy, None);
    if loop_mount::available() {
        let copy = image.beside("for-the-kernel");
        copy_sparse(image.path(), &copy);
        let mount =
            LoopMount::new(&copy, "noatime").unwrap_or_else(|why| panic!("the kernel's mount: {why}"));
        compare("the kernel's replay", mount.path(), acknowledged);
        drop(mount);
        judge_image(&copy, None);
    }
    let again = Mounted::new(image.path(), options).unwrap_or_else(|why| panic!("mounting again: {why}"));
    compare("our replay", again.path(), acknowledged);
    again.unmount().unwrap_or_else(|why| panic!("unmounting: {why}"));
    judge_image(image.path(), None);
}

fn compare(who: &str, root: &Path, acknowledged: &Acknowledged) {
    for (path, records) in acknowledged {
        let found = std::fs::read(root.join(path));
        let Some(records) = records else {
            assert!(found.is_err(), "{who}: {path} was removed, and the removal synced");
            continue;
        };
        let found =
            found.unwrap_or_else(|why| panic!("{who}: {path} was synced with {records} records: {why}"));
        let name = path.rsplit('/').next().expect("a name");
        let is_there = (0..*records).all(|n| {
            let from = n as usize * RECORD;
            found.get(from..from + RECORD) == Some(&record(name, n)[..])
        });
        assert!(is_there, "{who}: {path}: {records} records were synced, {} bytes are there", found.len());
    }
}
