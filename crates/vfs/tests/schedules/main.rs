//! Mounts, vnodes and names of the real kernel under many schedules: unmounting while others work, caches that the
//! daemon empties meanwhile, and the end of a kernel in whoever's hands.
//!
//! `cargo test -p rumpcap-vfs --features shuttle --test schedules`; the number of schedules of each test is in the variable
//! RUMPCAP_SCHEDULES. A deadlock, a lost wake-up or a broken assertion fails with the schedule to replay.
#![allow(clippy::unwrap_used)]

mod flat;
#[path = "../writing/heap_fs.rs"]
mod heap_fs;

use flat::{FILES, Flat};
use heap_fs::{HeapFs, ROOT};
use rumpcap_host::Error;
use rumpcap_vfs::{At, FileKind, Follow, Mount, NewFile, OpenFile, Remove, Timestamp, Vfs};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{BootOptions, Daemon, PAGE_SIZE, Vm};
use shuttle::thread;
use std::sync::Arc;

/// Schedules of each test. With those of `rumpcap-vm`: 16 tests, 5,440 schedules.
fn schedules() -> usize {
    std::env::var("RUMPCAP_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(340)
}

/// Half of the schedules at random, half by priorities (PCT), which find rarer orders.
fn check(body: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(body.clone(), schedules() / 2);
    shuttle::check_pct(body, schedules() / 2, 3);
}

fn boot(daemon: Daemon) -> Arc<Vfs> {
    let limit_bytes = Some(Plan::smallest_limit_bytes());
    Vfs::new(Vm::boot(BootOptions { limit_bytes, daemon, ..Default::default() }).unwrap())
}

fn mount(vfs: &Arc<Vfs>, first_file: u64) -> Mount {
    let fs = Flat::new(vfs.vm(), first_file);
    Mount::new(vfs.clone(), Arc::new(fs))
}

/// Resolves and reads files of `mount`, in part, and asks for one that is not there.
fn work(mount: &Mount, first_file: u64, places: [u64; 4]) {
    for place in places {
        let number = first_file + place % FILES;
        let r = mount.enter();
        let root = mount.fs().root();
        let node = mount.resolve(&r, root, number.to_string().as_bytes(), Follow::Yes).unwrap();
        let missing = mount.resolve(&r, root, b"none", Follow::Yes);
        assert_eq!(missing.err(), Some(Error::NotFound));
        drop(r);
        let (open, mut bytes) = (OpenFile::new(node), [0; 100]);
        let offset = (place % 2) * PAGE_SIZE as u64;
        // The second time by the hint, if the page is still there.
        for _ in 0..2 {
            assert_eq!(mount.read_at(&open, offset, &mut bytes), Ok(100));
            assert_eq!(bytes[..8], number.to_le_bytes(), "another file's content");
        }
    }
}

fn assert_idle(vfs: &Vfs) {
    let report = vfs.vm().report();
    assert_eq!((report.stuck, report.pages_pinned, report.pages_busy), (0, 0, 0));
    assert!(report.peak_bytes <= report.limit_bytes);
}

/// Mounts come and go, each with files of its own under the same inode numbers and names as another's: whatever of one is
/// still cached when it goes is nobody else's.
#[test]
fn a_mount_goes_while_others_work() {
    check(|| {
        let vfs = boot(Daemon::Thread);
        let stays = Arc::new(mount(&vfs, 100));
        let goes = Arc::new(mount(&vfs, 200));
        let mut all = Vec::new();
        for places in [[0, 1, 2, 0], [3, 1, 0, 3]] {
            let (stays, goes) = (stays.clone(), goes.clone());
            all.push(thread::spawn(move || work(&stays, 100, places)));
            all.push(thread::spawn(move || work(&goes, 200, places)));
        }
        drop(goes);
        let again = mount(&vfs, 300);
        vfs.vm().ask_daemon();
        work(&again, 300, [2, 3, 2, 1]);
        all.into_iter().for_each(|t| t.join().unwrap());
        assert_idle(&vfs);
        drop((stays, again));
        assert_eq!(vfs.vm().report().pages_clean, 0, "what is unmounted has no pages");
    });
}

/// The daemon takes idle vnodes and names, and drains their pools, while operations use them.
#[test]
fn caches_that_are_emptied_meanwhile_are_filled_again() {
    check(|| {
        let vfs = boot(Daemon::Thread);
        let mounted = Arc::new(mount(&vfs, 10));
        let all: Vec<_> = [[0, 1, 2, 3], [3, 2, 1, 0]]
            .into_iter()
            .map(|places| {
                let mounted = mounted.clone();
                thread::spawn(move || work(&mounted, 10, places))
            })
            .collect();
        let hungry = vfs.clone();
        let asking = thread::spawn(move || {
            // With nothing left to wire, a round comes to the caches.
            let wired: Vec<_> =
                std::iter::from_fn(|| rumpcap_vm::WiredRun::buffer(hungry.vm(), 1, "a test").ok()).collect();
            for _ in 0..4 {
                hungry.vm().ask_daemon();
                thread::yield_now();
            }
            drop(wired);
        });
        all.into_iter().for_each(|t| t.join().unwrap());
        asking.join().unwrap();
        assert_idle(&vfs);
    });
}

/// Whoever lets go last unmounts and ends the kernel, the daemon in the middle of a round included.
#[test]
fn the_last_mount_ends_the_kernel_in_whoever_s_hands() {
    check(|| {
        let vfs = boot(Daemon::Thread);
        let vm = Arc::downgrade(vfs.vm());
        let all: Vec<_> = [20, 40]
            .into_iter()
            .map(|first_file| {
                let mounted = mount(&vfs, first_file);
                thread::spawn(move || {
                    work(&mounted, first_file, [0, 1, 1, 2]);
                    mounted.vfs().vm().ask_daemon();
                })
            })
            .collect();
        drop(vfs);
        all.into_iter().for_each(|t| t.join().unwrap());
        // The daemon may still hold it for the rest of its round.
        while vm.strong_count() > 0 {
            thread::yield_now();
        }
    });
}

const NOW: Timestamp = Timestamp { seconds: 1, nanoseconds: 2 };

/// One writes and cuts a file that another reads, with the lock and without; what is read is of one moment. A third writes, syncs,
/// removes and closes a file of its own meanwhile.
#[test]
fn readers_see_whole_changes() {
    check(|| {
        let vfs = boot(Daemon::Thread);
        let fs = HeapFs::new(vfs.vm(), 4096, false, 7);
        let mount = Arc::new(Mount::new(vfs.clone(), fs.clone()));
        let new = NewFile { kind: FileKind::Regular, mode: 0o644, uid: 0, gid: 0, rdev: (0, 0), target: b"" };
        let at = |path: &'static [u8]| At { start: ROOT, path };
        let file = Arc::new(mount.create_open(at(b"shared"), &new, NOW).unwrap());
        mount.write_at(&file, 0, &[0; 3000], NOW).unwrap();
        let reader = |mount: Arc<Mount>, file: Arc<OpenFile>| {
            for _ in 0..4 {
                let mut bytes = [0xff; 4000];
                let n = mount.read_at(&file, 0, &mut bytes).unwrap();
                assert!(n == 3000 || n == 1000, "{n}");
                assert!(bytes[..n].iter().all(|byte| *byte == bytes[0]), "torn");
            }
        };
        let mut all: Vec<_> = (0..2)
            .map(|_| {
                let (mount, file) = (mount.clone(), file.clone());
                thread::spawn(move || reader(mount, file))
            })
            .collect();
        let other = mount.clone();
        all.push(thread::spawn(move || {
            let own = other.create_open(at(b"own"), &new, NOW).unwrap();
            other.write_at(&own, 100, b"bytes", NOW).unwrap();
            other.sync(NOW).unwrap();
            other.remove(at(b"own"), Remove::File, NOW).unwrap();
            other.close(&own, NOW);
        }));
        for round in 1..3 {
            mount.write_at(&file, 0, &[round; 3000], NOW).unwrap();
            mount.set_len(&file, 1000, NOW).unwrap();
        }
        all.into_iter().for_each(|thread| thread.join().unwrap());
        mount.close(&file, NOW);
        mount.unmount(NOW).unwrap();
        drop(mount);
        let stray_writes = fs.disk.stray_writes.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!((fs.inode_count(), fs.free_blocks(), stray_writes), (2, 640 - 64 - 1, 0));
        assert_idle(&vfs);
    });
}
