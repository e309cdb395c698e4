//! Operations taken back, transactions that are full, commits: on images of mke2fs, judged by e2fsck.

use super::*;
use crate::layout::{RawSuperBlock, SUPER_BLOCK_BYTES, SUPER_BLOCK_OFFSET};
use crate::{MAX_PINS, Options};
use rumpcap_block::{BlockDevice, FileDevice};
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{Access, Change, FileSystem, InodeNo};
use rumpcap_vm::BootOptions;
use std::path::{Path, PathBuf};
use std::process::Command;

const KINDS: &[&[&str]] = &[
    &["-t", "ext4"],
    &["-t", "ext4", "-b", "1024"],
    &["-t", "ext4", "-O", "^has_journal"],
    &["-t", "ext3", "-b", "2048"],
    &["-t", "ext2", "-b", "1024"],
];

struct World {
    directory: tempfile::TempDir,
}

impl World {
    fn make(arguments: &[&str]) -> Option<World> {
        let directory = tempfile::tempdir().unwrap();
        let made = Command::new("mke2fs")
            .args(["-q", "-F"])
            .args(arguments)
            .arg(directory.path().join("image"))
            .arg("32M")
            .output();
        match made {
            Ok(made) => assert!(made.status.success()),
            Err(_) => {
                skip("mke2fs is not installed");
                return None;
            }
        }
        Some(World { directory })
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// What is left of a mount without a journal that did not end: e2fsck has something to say, or not.
    fn repair(&self) {
        let output = Command::new("e2fsck").arg("-fy").arg(self.path()).output().unwrap();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn check(&self) {
        let output = Command::new("e2fsck").arg("-fn").arg(self.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

const HOST_OPTIONS: rumpcap_host::file::OpenOptions =
    rumpcap_host::file::OpenOptions { write: true, direct: false };
const NOW: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 };

fn mount(path: &Path) -> (Arc<Vm>, Ext4) {
    mount_under(path, 256 << 10)
}

fn mount_under(path: &Path, limit_bytes: u64) -> (Arc<Vm>, Ext4) {
    let vm = Vm::boot(BootOptions { limit_bytes: Some(limit_bytes), ..Default::default() }).unwrap();
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open_with(path, HOST_OPTIONS).unwrap());
    let options = Options { access: Access::Write, now: NOW, ..Options::default() };
    let fs = Ext4::mount(&vm, device, &options).unwrap();
    assert_eq!(fs.read_only_reason(), None);
    (vm, fs)
}

fn touch(fs: &Ext4, vm: &Vm, ino: u64, seconds: i64, fails: bool) -> Result<()> {
    let r = vm.reserve(MAX_PINS);
    fs.change(&r, NOW, |h| {
        let mut inode = h.inode(InodeNo(ino))?;
        inode.set_mtime(Timestamp { seconds, nanoseconds: 5 });
        h.put_inode(&inode)?;
        if fails { Err(Error::Exists) } else { Ok(()) }
    })
}

fn mtime(fs: &Ext4, vm: &Vm, ino: u64) -> i64 {
    fs.read_node(&vm.reserve(MAX_PINS), InodeNo(ino), 0).unwrap().attributes.mtime.seconds
}

#[test]
fn what_failed_is_taken_back_and_what_was_done_stays() {
    for kind in KINDS {
        let Some(world) = World::make(kind) else { return };
        let (vm, fs) = mount(&world.path());
        let before = mtime(&fs, &vm, 2);
        // First touched by the operation that fails: forgotten.
        assert_eq!(touch(&fs, &vm, 2, 7, true), Err(Error::Exists));
        assert_eq!(mtime(&fs, &vm, 2), before);
        touch(&fs, &vm, 2, 1_000_000, false).unwrap();
        // The super block's counts go with every commit; e2fsck would say so.
        let r = vm.reserve(MAX_PINS);
        let run = fs.change(&r, NOW, |h| h.allocate_blocks(0, 1)).unwrap();
        fs.sync(&r, NOW).unwrap();
        let mut raw = [0; SUPER_BLOCK_BYTES];
        fs.device.device().read_at(SUPER_BLOCK_OFFSET, &mut [std::io::IoSliceMut::new(&mut raw)]).unwrap();
        let raw = RawSuperBlock::read_from_bytes(&raw).unwrap();
        assert_eq!(u64::from(raw.free_blocks_lo.get()), fs.counts_now().unwrap().blocks_free);
        fs.change(&r, NOW, |h| h.free_blocks(run.first, 1, crate::alloc::Use::Content)).unwrap();
        drop(r);
        // Held before: restored.
        assert_eq!(touch(&fs, &vm, 2, 7, true), Err(Error::Exists));
        assert_eq!(mtime(&fs, &vm, 2), 1_000_000);
        fs.unmount(&vm.reserve(MAX_PINS), NOW).unwrap();
        assert_eq!(touch(&fs, &vm, 2, 8, false), Err(Error::ReadOnly));
        drop(fs);
        world.check();
        let (vm, fs) = mount(&world.path());
        assert_eq!(mtime(&fs, &vm, 2), 1_000_000);
    }
}

#[test]
fn a_full_transaction_is_committed_and_a_mount_that_ends_badly_is_recovered() {
    for kind in KINDS {
        let Some(world) = World::make(kind) else { return };
        let (vm, fs) = mount(&world.path());
        let blocks = fs.sb.blocks_count;
        let r = vm.reserve(MAX_PINS);
        // More pages than a transaction holds, in blocks that nobody uses: the last of the device.
        for turn in 0..200u64 {
            fs.change(&r, NOW, |h| h.create_block(blocks - 1 - turn * 4, |bytes| bytes.fill(turn as u8)))
                .unwrap();
        }
        for turn in 0..200u64 {
            let page = fs.block_page(&r, blocks - 1 - turn * 4, 0).unwrap();
            assert!(fs.block_part(&page, blocks - 1 - turn * 4).iter().all(|byte| *byte == turn as u8));
        }
        let too_much =
            fs.change(&r, NOW, |h| (0..100).try_for_each(|n| h.create_block(blocks - 1 - n * 4, |_| ())));
        assert!(matches!(too_much, Err(Error::NoMemory { what: "a transaction", .. })), "{too_much:?}");
        fs.sync(&r, NOW).unwrap();
        touch(&fs, &vm, 2, 99, false).unwrap();
        drop(r);
        // Without an end: what was synced is there, what was not is not (it is in memory alone).
        let has_journal = fs.sb.features.has_journal();
        drop(fs);
        if !has_journal {
            world.repair();
        }
        let (vm, fs) = mount(&world.path());
        assert_ne!(mtime(&fs, &vm, 2), 99);
        let r = vm.reserve(MAX_PINS);
        for turn in 0..200u64 {
            let page = fs.block_page(&r, blocks - 1 - turn * 4, 0).unwrap();
            assert!(fs.block_part(&page, blocks - 1 - turn * 4).iter().all(|byte| *byte == turn as u8));
        }
        fs.unmount(&r, NOW).unwrap();
        drop(r);
        drop(fs);
        world.check();
    }
}

/// A block that an operation had changed, in a page that was held before, and that was taken back with it, was written with the transaction all
/// the same: as it had been, over content that it was used for meanwhile.
#[test]
fn what_was_taken_back_is_not_written() {
    for kind in KINDS {
        let Some(world) = World::make(kind) else { return };
        let (vm, fs) = mount(&world.path());
        if fs.sb.block_size as usize == rumpcap_vm::PAGE_SIZE {
            continue;
        }
        let r = vm.reserve(MAX_PINS);
        // Two blocks of one page that nobody uses.
        let metadata = fs.sb.blocks_count / 4 * 4 - 4;
        let (content, at) = (metadata + 1, (metadata + 1) << fs.sb.block_log);
        fs.change(&r, NOW, |h| h.create_block(metadata, |bytes| bytes.fill(1))).unwrap();
        let refused = fs.change(&r, NOW, |h| {
            h.create_block(content, |bytes| bytes.fill(2))?;
            Err::<(), _>(Error::Exists)
        });
        assert_eq!(refused, Err(Error::Exists));
        let stored = vec![3; fs.sb.block_size as usize];
        fs.device.device().write_at(at, &mut [std::io::IoSlice::new(&stored)]).unwrap();
        fs.unmount(&r, NOW).unwrap();
        let mut found = vec![0; stored.len()];
        fs.device.device().read_at(at, &mut [std::io::IoSliceMut::new(&mut found)]).unwrap();
        assert!(found == stored, "{kind:?}: content was overwritten");
        drop(r);
        drop(fs);
        world.check();
    }
}

/// An operation that has no end, since it panicked, is not committed by those who come behind it.
#[test]
fn what_panicked_stops_writing() {
    for kind in KINDS {
        let Some(world) = World::make(kind) else { return };
        let before = std::fs::read(world.path()).unwrap();
        let (vm, fs) = mount(&world.path());
        let r = vm.reserve(MAX_PINS);
        let block = fs.sb.blocks_count - 1;
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            fs.change::<()>(&r, NOW, |h| {
                h.create_block(block, |bytes| bytes.fill(1))?;
                panic!("as a fault of ours would");
            })
        }));
        assert!(panicked.is_err());
        assert_eq!(fs.change(&r, NOW, |_| Ok(())), Err(Error::ReadOnly));
        assert_eq!((fs.sync(&r, NOW), fs.unmount(&r, NOW)), (Err(Error::ReadOnly), Err(Error::ReadOnly)));
        let at = (block << fs.sb.block_log) as usize..;
        drop(r);
        drop(fs);
        assert!(before[at.clone()] == std::fs::read(world.path()).unwrap()[at], "{kind:?}: it was written");
    }
}

/// An empty range at the end of a block is in no page of that block.
#[test]
fn an_empty_range_at_the_end_of_a_block_is_taken_back() {
    for kind in KINDS {
        let Some(world) = World::make(kind) else { return };
        let (vm, fs) = mount(&world.path());
        let r = vm.reserve(MAX_PINS);
        let (size, pages) = (fs.sb.block_size as usize, fs.sb.blocks_count / 4 * 4);
        let block = pages - 1;
        fs.change(&r, NOW, |h| h.create_block(block, |bytes| bytes.fill(1))).unwrap();
        #[allow(clippy::single_range_in_vec_init)] // One range is changed.
        let refused = fs.change(&r, NOW, |h| {
            h.edit(block, &[size..size], |_| ())?;
            Err::<(), _>(Error::Exists)
        });
        assert_eq!(refused, Err(Error::Exists));
        fs.unmount(&r, NOW).unwrap();
        drop(r);
        drop(fs);
        world.check();
    }
}

/// The smallest journal that mke2fs makes takes fewer blocks than a large memory would hold pages of four blocks each.
#[test]
fn a_small_journal_bounds_the_transaction() {
    let Some(world) = World::make(&["-t", "ext4", "-b", "1024", "-J", "size=1"]) else { return };
    let (vm, fs) = mount_under(&world.path(), 64 << 20);
    let blocks = fs.sb.blocks_count;
    let r = vm.reserve(MAX_PINS);
    // All four blocks of each page.
    for block in blocks - 3000..blocks {
        fs.change(&r, NOW, |h| h.create_block(block, |bytes| bytes.fill(block as u8))).unwrap();
    }
    fs.unmount(&r, NOW).unwrap();
    drop(r);
    drop(fs);
    world.check();
}

/// When the background has its turn behind every change, who commits never finds log or map full.
#[test]
fn a_log_that_goes_home_in_the_background_does_not_become_full() {
    let Some(world) = World::make(&["-t", "ext4", "-b", "1024", "-J", "size=1"]) else { return };
    for has_background in [true, false] {
        let (vm, fs) = mount(&world.path());
        let blocks = fs.sb.blocks_count;
        let r = vm.reserve(MAX_PINS);
        for block in (blocks - 6000..blocks).rev().step_by(2) {
            // Some that are changed again and again, so that newer copies lie behind the mark.
            for block in [block, blocks - 1 - block % 7 * 2] {
                fs.change(&r, NOW, |h| h.create_block(block, |bytes| bytes.fill(block as u8))).unwrap();
            }
            while has_background && fs.background(NOW).unwrap() {}
        }
        let usage = fs.log_usage().unwrap();
        let (waited_for, others) = (usage.checkpoints, usage.background_checkpoints);
        assert!(if has_background { waited_for == 0 && others > 3 } else { waited_for > 1 && others == 0 });
        for block in (blocks - 6000..blocks).rev().step_by(2) {
            let page = fs.block_page(&r, block, 0).unwrap();
            assert!(fs.block_part(&page, block).iter().all(|byte| *byte == block as u8));
        }
        fs.unmount(&r, NOW).unwrap();
        drop(r);
        drop(fs);
        world.check();
    }
}
