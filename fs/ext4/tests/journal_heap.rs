//! Recovery, reads and writes of an overlay, and writing a journal take no memory of the heap.
#![allow(clippy::unwrap_used)]

use rumpcap_block::{BlockDevice, FileDevice, MemoryDevice, Overlay};
use rumpcap_ext4::journal::write::{BlockNumbers, Checksums, Form, JournaledDevice, LoggedBlock};
use rumpcap_ext4::journal::{self, Geometry, MarkOnDevice, Run};
use rumpcap_host::Result;
use rumpcap_testing::counting::{self, CountingAllocator, Heap};
use rumpcap_testing::tools;
use rumpcap_vfs::Timestamp;
use std::io::{IoSlice, IoSliceMut};
use std::path::Path;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const NOTHING: Heap = Heap { allocations: 0, bytes: 0, peak_bytes: 0 };

/// An image with a log, and the blocks of its journal.
fn image(directory: &Path) -> (Arc<FileDevice>, Vec<u64>) {
    let path = directory.join("image");
    let options = ["-q", "-F", "-t", "ext4", "-b", "1024", "-N", "64", "-J", "size=1"];
    assert!(tools::output(tools::command("mke2fs").args(options).arg(&path).arg("4096")).status.success());
    let content = directory.join("content");
    std::fs::write(&content, vec![7; 200 * 1024]).unwrap();
    let script = directory.join("script");
    let write = format!("jw -b 2600-2799 {}\n", content.display());
    let revoke = "jw -r 2000-2099\njw -r 2100-2199\njw -r 2600-2620\n";
    std::fs::write(&script, format!("jo -c -v 3\n{write}{revoke}{write}jc\n")).unwrap();
    tools::output(tools::command("debugfs").arg("-w").arg("-f").arg(&script).arg(&path));
    let blocks = tools::output(tools::command("debugfs").args(["-R", "blocks <8>"]).arg(&path));
    let blocks = String::from_utf8(blocks.stdout).unwrap();
    let blocks = blocks.split_whitespace().map(|block| block.parse().unwrap()).collect();
    (Arc::new(FileDevice::open(&path).unwrap()), blocks)
}

#[test]
fn recovery_overlay_and_writing_take_no_heap() {
    assert!(counting::is_installed());
    let directory = tempfile::tempdir().unwrap();
    let (base, blocks) = image(directory.path());
    writing_a_journal_takes_no_heap(&base, &blocks);
    let (overlay, made) = counting::measure(|| Overlay::new(base, directory.path()).unwrap());
    let named = made.peak_bytes as usize - Overlay::MEMORY_BYTES;
    assert!(named < 256, "besides what it says, only the path of the directory: {named} bytes");

    let geometry = Geometry { block_size_bytes: 1024, blocks: 4096, journal_blocks: 1024 };
    let mut map =
        |logical: u32| -> Result<Run> { Ok(Run { first_block: blocks[logical as usize], len_blocks: 1 }) };
    for scratch_bytes in [journal::MIN_SCRATCH_BYTES, 100_000] {
        let mut scratch = vec![0; scratch_bytes];
        let recover = || journal::recover(&overlay, &mut map, &geometry, &mut scratch);
        let (recovery, heap) = counting::measure(recover);
        // The first empties the log.
        let is_first = scratch_bytes == journal::MIN_SCRATCH_BYTES;
        let recovery = recovery.unwrap();
        assert_eq!((recovery.was_dirty, recovery.passes > 1), (is_first, is_first), "{recovery:?}");
        assert_eq!(heap, NOTHING);
    }

    let (mut a, mut b) = ([0; 5000], [0; 9000]);
    let ((), heap) = counting::measure(|| {
        for at in (0..4_000_000).step_by(77_777) {
            overlay.write_at(at, &mut [IoSlice::new(&a), IoSlice::new(&b)]).unwrap();
            let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
            overlay.read_at(at + 8000, &mut bufs).unwrap();
        }
    });
    assert_eq!(heap, NOTHING);
}

/// Commits, records, syncs, checkpoints and reads; `open` takes the memory that it is given.
fn writing_a_journal_takes_no_heap(base: &FileDevice, blocks: &[u64]) {
    let geometry = Geometry { block_size_bytes: 1024, blocks: 4096, journal_blocks: 1024 };
    let mut map =
        |logical: u32| -> Result<Run> { Ok(Run { first_block: blocks[logical as usize], len_blocks: 1 }) };
    let mut bytes = vec![0; base.len_bytes() as usize];
    base.read_at(0, &mut [IoSliceMut::new(&mut bytes)]).unwrap();
    let device = Arc::new(MemoryDevice::from_bytes(&bytes));
    journal::recover(&*device, &mut map, &geometry, &mut [0; 8192]).unwrap();

    let form = Form { checksums: Checksums::V3, block_numbers: BlockNumbers::Bits64 };
    let (memory, mut mark) = ([vec![0; 4000], vec![0; 4096]], MarkOnDevice(&*device));
    let open =
        || JournaledDevice::open(device.clone(), &mut map, &geometry, form, memory, &mut mark).unwrap();
    let (journal, opened) = counting::measure(open);
    assert_eq!(opened, NOTHING);

    let content = [7u8; 1024];
    let mut read = [0; 9000];
    let ((), heap) = counting::measure(|| {
        for round in 0..50u64 {
            let now = Timestamp { seconds: 1_700_000_000 + round as i64, nanoseconds: 0 };
            let homes = (0..40u32).map(|n| 2600 + (round * 17 + u64::from(n) * 3) % 400);
            let logged = homes.map(|home| LoggedBlock { home, bytes: &content });
            journal.commit(logged, &[2600 + round, 2700 + round], now).unwrap();
            journal.read_at(2600 * 1024 + 77 * round, &mut [IoSliceMut::new(&mut read)]).unwrap();
            if round % 7 == 0 {
                journal.sync(now).unwrap();
            }
            journal.background(now).unwrap();
            if round % 5 == 0 {
                journal.record(now).unwrap();
            }
        }
    });
    assert!(journal.usage().background_checkpoints > 0);
    assert_eq!(heap, NOTHING);
}
