//! What is durable when, and what others can do meanwhile: fsync of one file, the log in the background, long steps, damage.
#![allow(clippy::unwrap_used)]

use rumpcap::block::{BlockDevice, Effect, Fault, FaultInjector, MemoryDevice, Operation};
use rumpcap::{Access, Error, Kernel, Mount, MountOptions, Owner};
use rumpcap_testing::skip::skip;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::Duration;

const PATH: &str = "/usr/sbin:/sbin:/usr/bin:/bin";
const PAGE: usize = 4096;

fn image(arguments: &[&str]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    let mut command = Command::new("mke2fs");
    let made = command.args(arguments).arg("-q").arg(&path).arg("16M").env("PATH", PATH).status();
    let Ok(status) = made else {
        skip("mke2fs is not installed");
        return None;
    };
    assert!(status.success());
    Some(std::fs::read(path).unwrap())
}

fn e2fsck(image: &[u8], mode: &str) -> (bool, Vec<u8>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image");
    std::fs::write(&path, image).unwrap();
    let said = Command::new("e2fsck").arg(mode).arg(&path).env("PATH", PATH).output().unwrap();
    (said.status.success(), std::fs::read(&path).unwrap())
}

/// Mounted so that nothing is done for its age, or in the background.
fn mount(device: Arc<dyn BlockDevice>, limit: u64) -> Mount {
    mount_with(device, limit, Some(Duration::MAX))
}

fn mount_with(device: Arc<dyn BlockDevice>, limit: u64, commit_interval: Option<Duration>) -> Mount {
    let kernel = Kernel::builder().memory_limit(limit).boot().unwrap();
    let options = MountOptions { access: Access::Write, commit_interval, ..MountOptions::default() };
    kernel.mount(device, &options).unwrap()
}

/// What `path` holds when the power is cut now and e2fsck puts the file system in order.
fn after_a_cut(device: &MemoryDevice, path: &str) -> Result<Vec<u8>, Error> {
    let (_, mended) = e2fsck(&device.to_bytes(), "-fy");
    assert!(e2fsck(&mended, "-fn").0);
    let kernel = Kernel::builder().memory_limit(1 << 20).boot().unwrap();
    let mount = kernel.mount(Arc::new(MemoryDevice::from_bytes(&mended)), &MountOptions::default()).unwrap();
    let file = mount.open(path)?;
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// Has the `nth` write from now on fail.
fn fail_write(faults: &FaultInjector, nth: u64) {
    let (operation, effect) = (Operation::Write, Effect::Fail { errno: 121 });
    let nth = faults.requests(operation) + nth;
    faults.inject(Fault { operation, nth, effect }).unwrap();
}

fn detail(mount: &Mount, name: &str) -> u64 {
    let details = mount.info().unwrap().details;
    details.iter().find(|(at, _)| *at == name).unwrap().1.parse().unwrap()
}

const KINDS: [&[&str]; 4] = [
    &["-t", "ext4", "-b", "4096"],
    &["-t", "ext4", "-b", "1024", "-O", "inline_data"],
    &["-t", "ext3", "-b", "1024"],
    &["-t", "ext2", "-b", "1024"],
];

#[test]
fn fsync_makes_one_file_durable_and_leaves_others_dirty() {
    for kind in KINDS {
        let Some(image) = image(kind) else { return };
        let device = Arc::new(MemoryDevice::from_bytes(&image));
        let mount = mount(device.clone(), 2 << 20);
        let big = mount.create("/big", &Owner::default()).unwrap();
        (0..64).for_each(|page| _ = big.write_at(&[1; PAGE], page * PAGE as u64).unwrap());
        mount.sync().unwrap();
        (0..64).for_each(|page| _ = big.write_at(&[2; PAGE], page * PAGE as u64).unwrap());
        mount.create_dir("/dir", &Owner::with_mode(0o755)).unwrap();
        let small = mount.create("/dir/new", &Owner::default()).unwrap();
        small.write_at(b"content", 0).unwrap();
        small.sync().unwrap();
        assert_eq!(after_a_cut(&device, "/dir/new").unwrap(), b"content", "{kind:?}");
        // What overwrites another file waits for its own time.
        assert_eq!(mount.kernel().memory_report().pages_dirty, 64, "{kind:?}");
        assert!(after_a_cut(&device, "/big").unwrap().iter().all(|byte| *byte == 1));
        small.write_at(&[7; 3 * PAGE], 7).unwrap();
        small.sync_data().unwrap();
        assert_eq!(after_a_cut(&device, "/dir/new").unwrap().len(), 7 + 3 * PAGE, "{kind:?}");
        mount.rename("/dir/new", "/renamed", rumpcap::Rename::Refuse).unwrap();
        small.sync().unwrap();
        assert_eq!(after_a_cut(&device, "/renamed").unwrap().len(), 7 + 3 * PAGE, "{kind:?}");
        big.sync_data().unwrap();
        assert!(after_a_cut(&device, "/big").unwrap().iter().all(|byte| *byte == 2));
        drop((big, small));
        mount.unmount().unwrap();
        assert!(e2fsck(&device.to_bytes(), "-fn").0);
    }
}

#[test]
fn fdatasync_of_an_overwrite_writes_the_page_and_no_commit() {
    let Some(image) = image(KINDS[0]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount(device.clone(), 2 << 20);
    let file = mount.create("/a", &Owner::default()).unwrap();
    file.write_at(&[1; 2 * PAGE], 0).unwrap();
    file.sync().unwrap();
    let before = device.to_bytes();
    file.write_at(&[2; 100], 50).unwrap();
    file.sync_data().unwrap();
    let after = device.to_bytes();
    let pages = |bytes: &[u8]| bytes.chunks(PAGE).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let differing = pages(&before).iter().zip(pages(&after)).filter(|(old, new)| **old != *new).count();
    assert_eq!(differing, 1);
    file.sync().unwrap();
    assert!(device.to_bytes() != after, "the time of the change");
    drop(file);
    mount.unmount().unwrap();
}

/// An error of writing a page is told to who syncs that file, to nobody who syncs another, and to who unmounts.
#[test]
fn an_error_is_told_to_the_file_that_it_is_of() {
    let Some(image) = image(KINDS[0]) else { return };
    let faults = Arc::new(FaultInjector::new(Arc::new(MemoryDevice::from_bytes(&image))));
    let mount = mount(faults.clone(), 2 << 20);
    let files = ["/a", "/b"].map(|path| mount.create(path, &Owner::default()).unwrap());
    for file in &files {
        file.write_at(&[1; 8 * PAGE], 0).unwrap();
    }
    mount.sync().unwrap();
    let [lost, sound] = &files;
    lost.write_at(&[2; 10], 0).unwrap();
    fail_write(&faults, 1);
    // Reading past the pages has them written.
    lost.read_at(&mut [0; 8 * PAGE], 0).unwrap();
    assert_eq!(faults.fired(), 1);
    assert_eq!(sound.sync(), Ok(()));
    assert!(matches!(lost.sync(), Err(Error::Io { errno: 121, .. })));
    assert_eq!(lost.sync(), Ok(()));
    drop(files);
    assert!(matches!(mount.unmount(), Err(Error::Io { errno: 121, .. })));
}

/// A device that refuses a large overwrite keeps what small writes put there before.
#[test]
fn a_large_overwrite_that_fails_loses_nothing_older() {
    let Some(image) = image(KINDS[0]) else { return };
    let memory = Arc::new(MemoryDevice::from_bytes(&image));
    let faults = Arc::new(FaultInjector::new(memory));
    let mount = mount(faults.clone(), 2 << 20);
    let file = mount.create("/a", &Owner::default()).unwrap();
    (0..8).for_each(|page| _ = file.write_at(&[1; PAGE], page * PAGE as u64).unwrap());
    mount.sync().unwrap();
    (0..8).for_each(|page| _ = file.write_at(&[2; PAGE], page * PAGE as u64).unwrap());
    // The eight pages are one request, and the overwrite is the next.
    fail_write(&faults, 2);
    assert!(file.write_at(&[3; 8 * PAGE], 0).is_err());
    let mut bytes = vec![0; 8 * PAGE];
    file.read_at(&mut bytes, 0).unwrap();
    assert!(bytes.iter().all(|byte| *byte == 2), "{:?}", &bytes[..4]);
    drop(file);
    mount.unmount().unwrap();
}

/// Who writes never finds the log full when the background keeps up, which here it is given the time for.
#[test]
fn the_log_goes_home_in_the_background() {
    let Some(image) = image(&["-t", "ext4", "-b", "1024", "-J", "size=1", "-N", "8192"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount_with(device.clone(), 400 << 10, None);
    let mut made = 0;
    for round in 1..=3 {
        while detail(&mount, "checkpoints_in_background") < round {
            for _ in 0..10 {
                mount.create(format!("/{made}"), &Owner::default()).unwrap();
                made += 1;
            }
            // It is quick, but on a busy machine it may not be its turn.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    assert!(made < 8000, "{made} files and no checkpoint");
    println!("{made} files, {} checkpoints by who writes", detail(&mount, "checkpoints"));
    // Behind a cut everything is in order, whatever was under way.
    let (_, mended) = e2fsck(&device.to_bytes(), "-fy");
    assert!(e2fsck(&mended, "-fn").0);
    mount.unmount().unwrap();
    assert!(e2fsck(&device.to_bytes(), "-fn").0);
}

/// A file of thousands of pieces is cut and deleted in steps; others read and write between them.
#[test]
fn others_get_in_while_a_large_file_goes() {
    let Some(image) = image(&["-t", "ext4", "-b", "1024"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount(device.clone(), 512 << 10);
    let other = mount.create("/other", &Owner::default()).unwrap();
    for end in ["cut", "punched", "deleted"] {
        let file = mount.create("/large", &Owner::default()).unwrap();
        (0..6000u64).for_each(|piece| _ = file.write_at(&[1; 1024], piece * 2048).unwrap());
        mount.sync().unwrap();
        let (is_over, admitted) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            let readers = scope.spawn(|| {
                while !is_over.load(SeqCst) {
                    let count = admitted.load(SeqCst);
                    other.write_at(&count.to_le_bytes(), 0).unwrap();
                    let mut back = [0; 4];
                    other.read_at(&mut back, 0).unwrap();
                    assert_eq!(u32::from_le_bytes(back), count);
                    admitted.fetch_add(1, SeqCst);
                }
            });
            while admitted.load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            let (before, begin) = (admitted.load(SeqCst), std::time::Instant::now());
            match end {
                "cut" => file.set_len(0).unwrap(),
                "punched" => file.punch_hole(0..6000 * 2048).unwrap(),
                _ => {
                    mount.remove_file("/large").unwrap();
                    drop(file);
                }
            }
            let others = admitted.load(SeqCst) - before;
            is_over.store(true, SeqCst);
            readers.join().unwrap();
            println!("{end} in {:?}, {others} operations of others between", begin.elapsed());
            // At least the one that was waiting at the first step, and one more.
            assert!(others > 1, "nobody got in while it was {end}");
        });
        let _ = mount.remove_file("/large");
    }
    drop(other);
    mount.unmount().unwrap();
    assert!(e2fsck(&device.to_bytes(), "-fn").0);
}

/// Who writes a file that is being cut or punched in steps is not caught between two of them.
#[test]
fn who_writes_a_file_that_is_changed_in_steps_waits_for_the_last() {
    const PIECES: u64 = 6000;
    let Some(image) = image(&["-t", "ext4", "-b", "1024"]) else { return };
    let device = Arc::new(MemoryDevice::from_bytes(&image));
    let mount = mount(device.clone(), 512 << 10);
    for cuts in [true, false] {
        let file = mount.create("/large", &Owner::default()).unwrap();
        (0..PIECES).for_each(|piece| _ = file.write_at(&[1; 1024], piece * 2048).unwrap());
        mount.sync().unwrap();
        // Blocks go from the end backwards, so what is written at the end is freed by no step but, if it were let in, the next.
        let at = (PIECES - 1) * 2048;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut byte = [1];
                while byte == [1] && file.metadata().unwrap().len() > at {
                    file.read_at(&mut byte, at).unwrap();
                }
                file.write_at(&[2; 1024], at).unwrap();
                let mut bytes = vec![0; 2048];
                for piece in 0..PIECES - 1 {
                    file.read_at(&mut bytes, piece * 2048).unwrap();
                    assert!(bytes.iter().all(|byte| *byte == 0), "what was cut is back, at {piece}");
                }
            });
            if cuts {
                file.set_len(0).unwrap()
            } else {
                file.punch_hole(0..PIECES * 2048).unwrap()
            }
            writer.join().unwrap();
        });
        let mut bytes = [0; 1024];
        file.read_at(&mut bytes, at).unwrap();
        assert_eq!(bytes, [2; 1024]);
        drop(file);
        mount.remove_file("/large").unwrap();
    }
    mount.unmount().unwrap();
    assert!(e2fsck(&device.to_bytes(), "-fn").0);
}

/// Damage that stops writing is told to who unmounts, or syncs; what was done is durable.
#[test]
fn damage_that_stops_writing_is_told_once() {
    let Some(image) = image(&["-t", "ext4", "-b", "1024", "-e", "remount-ro"]) else { return };
    for told_by_sync in [false, true] {
        let device = Arc::new(MemoryDevice::from_bytes(&image));
        {
            let mount = mount(device.clone(), 512 << 10);
            mount.create_dir("/dir", &Owner::with_mode(0o755)).unwrap();
            (0..40).for_each(|n| _ = mount.create(format!("/dir/{n}"), &Owner::default()).unwrap());
            mount.unmount().unwrap();
        }
        let mut bytes = device.to_bytes();
        let entry = bytes.windows(4).position(|bytes| bytes == [1, 1, b'7', 0]);
        let block = entry.unwrap() / 1024 * 1024;
        bytes[block..block + 1024].fill(0xEE);
        let device = Arc::new(MemoryDevice::from_bytes(&bytes));
        let mount = mount(device.clone(), 512 << 10);
        let file = mount.create("/before", &Owner::default()).unwrap();
        file.write_at(b"is there", 0).unwrap();
        let met = mount.create("/dir/new", &Owner::default()).err().unwrap();
        assert!(matches!(met, Error::Corrupt { .. } | Error::Checksum { .. }), "{met:?}");
        assert_eq!(mount.create("/behind", &Owner::default()).err(), Some(Error::ReadOnly));
        assert_eq!(file.sync(), Ok(()));
        drop(file);
        if told_by_sync {
            assert_eq!(mount.sync(), Err(met));
            assert_eq!(mount.sync(), Ok(()));
            assert_eq!(mount.unmount(), Ok(()));
        } else {
            assert_eq!(mount.unmount(), Err(met));
        }
        let kernel = Kernel::builder().memory_limit(1 << 20).boot().unwrap();
        let mount = kernel.mount(device, &MountOptions::default()).unwrap();
        assert_eq!(mount.metadata("/before").unwrap().len(), 8);
    }
}
