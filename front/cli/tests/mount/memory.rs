//! The process's anonymous memory: the limit, the buffers, and 2 MiB, whatever clients do.

use crate::fixture::{Place, end_of, is_possible};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// Anonymous memory of a process, in KiB.
fn anonymous_kib(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn memory_stays_within_the_limit_the_buffers_and_two_mebibytes() {
    if !is_possible() {
        return;
    }
    let place = Place::new(&["-t", "ext4", "-N", "8000"]);
    let (limit, threads, request) = (1 << 20, 4, 256 << 10);
    assert_eq!(
        end_of(&place.mount(&["--rw", "--memory-limit", "1m", "--threads", "4", "--request-size", "256k"])).0,
        0
    );
    let server = place.server().unwrap();
    let most_kib = (limit + threads * (request + 8192) + (2 << 20)) / 1024;
    for dir in 0..10 {
        fs::create_dir(place.mnt.join(dir.to_string())).unwrap();
        for n in 0..500 {
            fs::write(place.mnt.join(format!("{dir}/{n}")), vec![1; 100]).unwrap();
        }
    }
    fs::write(place.mnt.join("large"), vec![7; 20 << 20]).unwrap();
    assert!(anonymous_kib(server) <= most_kib, "{} KiB of {most_kib}", anonymous_kib(server));
    place.umount();
    // Read, by many at once.
    assert_eq!(
        end_of(&place.mount(&["--memory-limit", "1m", "--threads", "4", "--request-size", "256k"])).0,
        0
    );
    let server = place.server().unwrap();
    std::thread::scope(|scope| {
        for reader in 0..64_u64 {
            let path = place.mnt.join("large");
            scope.spawn(move || {
                let mut piece = vec![0; 128 << 10];
                for n in 0..20 {
                    let offset = (reader * 7 + n * 131) % 160 * (128 << 10);
                    let len = File::open(&path).unwrap().read_at(&mut piece, offset).unwrap();
                    assert!(len > 0 && piece[..len].iter().all(|byte| *byte == 7));
                }
            });
        }
    });
    let walked = walkdir(&place.mnt);
    assert!(walked > 5000, "{walked}");
    assert!(anonymous_kib(server) <= most_kib, "{} KiB of {most_kib}", anonymous_kib(server));
    place.umount();
}

fn walkdir(root: &std::path::Path) -> usize {
    let entries = fs::read_dir(root).unwrap().map(Result::unwrap);
    entries.map(|entry| 1 + if entry.metadata().unwrap().is_dir() { walkdir(&entry.path()) } else { 0 }).sum()
}
