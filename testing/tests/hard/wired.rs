//! A file system that keeps memory until there is no more: it is told so, with the numbers, and others go on.

use crate::support::{Pattern, boot, spawn, watch, word};
use core::ops::ControlFlow;
use rumpcap::{Error, Result};
use rumpcap_testing::seed::Random;
use rumpcap_vfs::{
    Attributes, DirCookie, DirEntry, DirSink, Extent, FileKind, FileSystem, Follow, InodeNo, Mount, Node,
    OpenFile, StatFs, Timestamp, Vfs, XattrSink,
};
use rumpcap_vm::{Daemon, DeviceObject, PolicyKind, Reservation, Vm, WiredRun};
use std::sync::{Arc, Mutex};

const FILE_BYTES: u64 = 64 << 10;
const FILES: u64 = 4000;
const ROOT: u64 = 1;
const CONSUMER: &str = "a hoarder's inodes";

/// Files of one size, one behind the other on the device; each is named by its number. A page is wired for each inode that
/// is read, if so wanted, and kept.
struct Hoarder {
    device: DeviceObject,
    hoards: bool,
    kept: Mutex<Vec<WiredRun>>,
}

impl Hoarder {
    fn new(vm: &Arc<Vm>, hoards: bool) -> Arc<Hoarder> {
        let device = Arc::new(Pattern { len_bytes: FILES * FILE_BYTES });
        let device = DeviceObject::attach(vm, device).expect("a device");
        Arc::new(Hoarder { device, hoards, kept: Mutex::default() })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<WiredRun>> {
        self.kept.lock().expect("no thread panicked")
    }
}

impl FileSystem for Hoarder {
    fn max_pins(&self) -> u32 {
        1
    }
    fn device(&self) -> &DeviceObject {
        &self.device
    }
    fn inodes(&self) -> u64 {
        FILES
    }
    fn root(&self) -> InodeNo {
        InodeNo(ROOT)
    }
    fn stat_fs(&self, _: &Reservation<'_>) -> Result<StatFs> {
        Err(Error::Unsupported { what: "statfs" })
    }
    fn read_node(&self, _: &Reservation<'_>, ino: InodeNo, _: u32) -> Result<Node> {
        if self.hoards {
            let run = WiredRun::buffer(self.device.vm(), 1, CONSUMER)?;
            self.kept().push(run);
        }
        let mode = if ino.0 == ROOT { 0o040_755 } else { 0o100_644 };
        let never = Timestamp::default();
        let attributes = Attributes {
            ino,
            generation: 0,
            mode,
            nlink: 1,
            uid: 0,
            gid: 0,
            size_bytes: FILE_BYTES,
            blocks_512: FILE_BYTES / 512,
            rdev: (0, 0),
            flags: 0,
            project: 0,
            atime: never,
            mtime: never,
            ctime: never,
            crtime: None,
        };
        Ok(Node { attributes, private: [0; 20] })
    }
    fn lookup(&self, _: &Reservation<'_>, _: &Node, name: &[u8]) -> Result<InodeNo> {
        let number = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
        number.filter(|number| (ROOT + 1..FILES).contains(number)).map(InodeNo).ok_or(Error::NotFound)
    }
    fn read_dir(&self, _: &Reservation<'_>, _: &Node, from: DirCookie, sink: &mut DirSink<'_>) -> Result<()> {
        for number in from.0.max(ROOT + 1)..FILES {
            let name = number.to_string();
            let (ino, next) = (InodeNo(number), DirCookie(number + 1));
            let entry = DirEntry { name: name.as_bytes(), ino, kind: FileKind::Regular, next };
            if sink(entry) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }
    fn map(&self, _: &Reservation<'_>, node: &Node, offset: u64) -> Result<Extent> {
        let start = node.attributes.ino.0 * FILE_BYTES;
        Ok(Extent::Device { offset: start + offset, len_bytes: FILE_BYTES - offset })
    }
    fn read_inline(&self, _: &Reservation<'_>, _: &Node, _: u64, _: &mut [u8]) -> Result<usize> {
        Err(Error::WrongType)
    }
    fn read_link(&self, _: &Reservation<'_>, _: &Node, _: &mut [u8]) -> Result<usize> {
        Err(Error::WrongType)
    }
    fn list_xattr(&self, _: &Reservation<'_>, _: &Node, _: &mut XattrSink<'_>) -> Result<()> {
        Ok(())
    }
    fn get_xattr(&self, _: &Reservation<'_>, _: &Node, _: &[u8], _: &mut [u8]) -> Result<usize> {
        Err(Error::NoAttribute)
    }
}

/// Looks a file up by its name and reads a word of it somewhere.
fn read_one(mount: &Mount, random: &mut Random) -> Result<()> {
    let number = ROOT + 1 + random.below(FILES - ROOT - 1);
    let path = number.to_string();
    let node = mount.resolve(&mount.enter(), InodeNo(ROOT), path.as_bytes(), Follow::No)?;
    let at = random.below(FILE_BYTES / 8) * 8;
    let mut read = [0; 8];
    assert_eq!(mount.read_at(&OpenFile::new(node), at, &mut read)?, read.len());
    assert_eq!(read, word(number * FILE_BYTES + at), "wrong bytes in {number} at {at}");
    Ok(())
}

/// Reads inodes of the hoarder from `from` on until it is refused memory.
fn hoard(mount: &Mount, from: u64) -> (u64, Error) {
    let refused = (from..FILES).find_map(|n| {
        let refused = mount.node(&mount.enter(), InodeNo(n)).err()?;
        Some((n, refused))
    });
    refused.expect("memory has an end")
}

fn assert_refused(error: Error) {
    assert_eq!(error, Error::NoMemory { what: CONSUMER, need: 1, have: 0 });
    assert_eq!(error.to_string(), "out of memory for a hoarder's inodes: 1 frames asked for, 0 can be wired");
}

/// Eight threads that want nothing kept.
fn others_go_on(vm: &Arc<Vm>, mount: &Mount) {
    let watchdog = watch(vm, 8);
    std::thread::scope(|scope| {
        for worker in 0..8 {
            let watchdog = &watchdog;
            spawn(scope, move || {
                watchdog.begin(worker, format!("reader {worker} beside a hoarder"));
                let mut random = Random::new(worker as u64);
                (0..300).for_each(|_| read_one(mount, &mut random).expect("memory for those who keep none"));
                watchdog.end(worker);
            });
        }
    });
    let report = vm.report();
    assert_eq!((report.pages_pinned, report.pages_busy, report.stuck), (0, 0, 0), "{report:?}");
    assert!(report.peak_bytes <= report.limit_bytes, "{report:?}");
}

#[test]
fn a_file_system_that_wires_its_metadata_is_refused_and_others_go_on() {
    for limit in [rumpcap_vm::plan::Plan::smallest_limit_bytes(), 256 << 10, 1 << 20] {
        let vm = boot(limit, PolicyKind::S3Fifo, Daemon::Inline);
        let vfs = Vfs::new(vm.clone());
        let (hoarder, modest) = (Hoarder::new(&vm, true), Hoarder::new(&vm, false));
        let (hoards, others) = (Mount::new(vfs.clone(), hoarder.clone()), Mount::new(vfs, modest));
        others_go_on(&vm, &others);
        let (reached, refused) = hoard(&hoards, ROOT + 1);
        assert_refused(refused);
        let kept = hoarder.kept().len() as u64;
        assert!(kept > 0 && vm.report().buffers_bytes == kept * 4096, "{kept} kept at {limit} bytes");
        others_go_on(&vm, &others);
        assert_refused(hoard(&hoards, reached).1);
        // One page given back is one page to have.
        drop(hoarder.kept().pop());
        let (after, refused) = hoard(&hoards, reached);
        assert_eq!(after, reached + 1);
        assert_refused(refused);
        // All of them given back, and everything is as it was.
        hoarder.kept().clear();
        assert_eq!(vm.report().buffers_bytes, 0);
        assert!(hoards.node(&hoards.enter(), InodeNo(after)).is_ok());
        others_go_on(&vm, &others);
        println!("{kept} frames of {} kept at {limit} bytes", vm.plan().frames);
    }
}
