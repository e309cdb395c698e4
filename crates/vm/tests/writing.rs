//! Dirty and held pages: contents against a model, under pressure, by many threads, on failing devices.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rumpcap_block::{BlockDevice, MemoryDevice};
use rumpcap_host::{Error, Result};
use rumpcap_vm::plan::Plan;
use rumpcap_vm::{
    BootOptions, BusyPages, Daemon, DeviceObject, Dirty, DirtyDevice, Due, HeldAs, HeldPages, ObjectId,
    PAGE_SIZE, PageIndex, PageRef, Pager, PolicyKind, Reservation, UNIT_BYTES, Vm, Writeback,
};
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A device whose writes may fail, and are counted.
struct Disk {
    memory: MemoryDevice,
    fails: AtomicBool,
    writes: AtomicU64,
    largest_bytes: AtomicU64,
}

impl Writeback for Disk {
    fn write(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(Error::Io { errno: 5, at: offset });
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        let bytes = bufs.iter().map(|buf| buf.len() as u64).sum();
        self.largest_bytes.fetch_max(bytes, Ordering::Relaxed);
        self.memory.write_at(offset, bufs)
    }
}

/// A kernel with one file, whose page `n` is page `n` of the disk.
struct World {
    vm: Arc<Vm>,
    disk: Arc<Disk>,
    device: DeviceObject,
    dirty: DirtyDevice,
    file: ObjectId,
}

const PAGES: u64 = 256;

struct FromDisk<'a>(&'a World);

impl Pager for FromDisk<'_> {
    fn get(&self, pages: &mut BusyPages<'_>) -> Result<()> {
        let (offset, len) = (pages.first().offset(), pages.len_bytes());
        self.0.device.read_into(offset, &mut pages.slices(len))
    }
}

impl World {
    fn boot(limit_bytes: u64, policy: PolicyKind, daemon: Daemon) -> Arc<World> {
        let limit_bytes = Some(limit_bytes);
        let vm = Vm::boot(BootOptions { limit_bytes, policy, daemon, trace: None }).unwrap();
        let memory = MemoryDevice::new(PAGES as usize * PAGE_SIZE);
        let (fails, writes, largest_bytes) = Default::default();
        let disk = Arc::new(Disk { memory, fails, writes, largest_bytes });
        struct View(Arc<Disk>);
        impl BlockDevice for View {
            fn len_bytes(&self) -> u64 {
                self.0.memory.len_bytes()
            }
            fn read_at(&self, offset: u64, bufs: &mut [std::io::IoSliceMut<'_>]) -> Result<()> {
                self.0.memory.read_at(offset, bufs)
            }
            fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
                Err(Error::ReadOnly)
            }
            fn flush(&self) -> Result<()> {
                Ok(())
            }
        }
        let device = DeviceObject::attach(&vm, Arc::new(View(disk.clone()))).unwrap();
        let writeback: Arc<dyn Writeback> = disk.clone();
        let dirty = vm.add_dirty_device(&writeback).unwrap();
        let file = vm.create_object().unwrap();
        Arc::new(World { vm, disk, device, dirty, file })
    }

    fn page<'r>(&self, r: &'r Reservation<'_>, index: u64) -> PageRef<'r> {
        let ahead = if index.is_multiple_of(5) { 3 } else { 0 };
        let ahead = ahead.min((PAGES - 1 - index) as u32);
        self.vm.page(r, self.file, PageIndex(index), ahead, &FromDisk(self)).unwrap()
    }

    fn write(&self, index: u64, unit: usize, byte: u8) {
        self.write_due(index, unit, byte, Due::Anytime);
    }

    fn clean(&self, meant: Dirty) -> Result<()> {
        self.vm.write_back(meant);
        self.vm.loss_on(self.dirty)
    }

    fn write_due(&self, index: u64, unit: usize, byte: u8, due: Due) {
        self.vm.throttle();
        let r = self.vm.reserve(2);
        let mut page = self.page(&r, index).modify();
        page[unit * UNIT_BYTES..(unit + 1) * UNIT_BYTES].fill(byte);
        let page = page.dirty(self.dirty, index * PAGE_SIZE as u64, unit..unit + 1, due);
        assert_eq!(page[unit * UNIT_BYTES], byte);
    }

    fn read(&self, index: u64) -> [u8; 4] {
        let r = self.vm.reserve(2);
        let page = self.page(&r, index);
        let units: [u8; 4] = std::array::from_fn(|unit| page[unit * UNIT_BYTES]);
        assert!(page.iter().enumerate().all(|(at, byte)| *byte == units[at / UNIT_BYTES]), "a torn unit");
        units
    }

    fn on_disk(&self, index: u64) -> [u8; 4] {
        let mut page = [0; PAGE_SIZE];
        let offset = index * PAGE_SIZE as u64;
        self.disk.memory.read_at(offset, &mut [std::io::IoSliceMut::new(&mut page)]).unwrap();
        std::array::from_fn(|unit| page[unit * UNIT_BYTES])
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Against a table: what was written is read, whatever was evicted and cleaned in between, and is on the disk at the end.
    #[test]
    fn behaves_like_memory(
        lru in any::<bool>(),
        extra in 0u64..200_000,
        steps in proptest::collection::vec((0u8..20, 0..PAGES, 0usize..4, any::<u8>()), 1..400),
    ) {
        let policy = if lru { PolicyKind::Lru } else { PolicyKind::S3Fifo };
        let world = World::boot(Plan::smallest_limit_bytes() + extra, policy, Daemon::Inline);
        let mut model = vec![[0u8; 4]; PAGES as usize];
        for (step, index, unit, byte) in steps {
            match step {
                0..10 => {
                    world.write(index, unit, byte);
                    model[index as usize][unit] = byte;
                }
                10..18 => prop_assert_eq!(world.read(index), model[index as usize]),
                18 => {
                    world.clean(Dirty::Of(world.file)).unwrap();
                    prop_assert!(!world.vm.is_dirty(world.file));
                    prop_assert!((0..PAGES).all(|n| world.on_disk(n) == model[n as usize]));
                }
                // Cut: what is behind is what the disk had.
                _ => {
                    world.vm.discard(world.file, PageIndex(index));
                    for n in index..PAGES {
                        model[n as usize] = world.on_disk(n);
                    }
                }
            }
            let report = world.vm.report();
            prop_assert!(report.peak_bytes <= report.limit_bytes);
            prop_assert!(report.pages_dirty <= u64::from(world.vm.plan().dirty_pages) + 1);
            prop_assert_eq!((report.pages_dirty, report.stuck), (u64::from(world.vm.dirty_pages()), 0));
        }
        world.clean(Dirty::For(world.dirty)).unwrap();
        prop_assert!((0..PAGES).all(|n| world.on_disk(n) == model[n as usize]));
    }
}

#[test]
fn what_is_written_in_sequence_goes_out_in_runs() {
    let world = World::boot(1 << 20, PolicyKind::S3Fifo, Daemon::Inline);
    for index in 0..PAGES {
        (0..4).for_each(|unit| world.write(index, unit, 7));
    }
    world.clean(Dirty::For(world.dirty)).unwrap();
    assert!((0..PAGES).all(|index| world.on_disk(index) == [7; 4]));
    let writes = world.disk.writes.load(Ordering::Relaxed);
    assert!(writes <= PAGES / 16, "{writes} writes");
    assert_eq!(world.disk.largest_bytes.load(Ordering::Relaxed), 32 * PAGE_SIZE as u64);
}

#[test]
fn who_commits_writes_what_is_due_and_no_more() {
    let world = World::boot(1 << 20, PolicyKind::S3Fifo, Daemon::Inline);
    for index in 0..20 {
        world.write_due(index, 0, 1, if index.is_multiple_of(3) { Due::BeforeCommit } else { Due::Anytime });
    }
    // It stays due when more of it is written that is not, and becomes so by what is.
    world.write(3, 1, 2);
    world.write_due(4, 1, 2, Due::BeforeCommit);
    world.clean(Dirty::Due(world.dirty)).unwrap();
    for index in 0..20u64 {
        let is_due = index.is_multiple_of(3) || index == 4;
        assert_eq!(world.on_disk(index)[0], u8::from(is_due), "page {index}");
    }
    assert_eq!((world.on_disk(3)[1], world.on_disk(4)[1]), (2, 2));
    // Nothing is due now: a page that becomes dirty again is not, until somebody says so.
    world.write(6, 0, 5);
    world.clean(Dirty::Due(world.dirty)).unwrap();
    assert_eq!(world.on_disk(6)[0], 1);
    world.clean(Dirty::In(world.file, PageIndex(7), PageIndex(9))).unwrap();
    assert_eq!([6, 7, 8, 10].map(|index| world.on_disk(index)[0]), [1, 1, 1, 0]);
    world.clean(Dirty::Of(world.file)).unwrap();
    assert_eq!((world.on_disk(6)[0], world.vm.dirty_pages()), (5, 0));
}

#[test]
fn a_failed_write_is_told_once_and_keeps_no_memory() {
    let world = World::boot(Plan::smallest_limit_bytes(), PolicyKind::S3Fifo, Daemon::Inline);
    world.disk.fails.store(true, Ordering::Relaxed);
    (0..PAGES).for_each(|index| world.write(index, 0, 9));
    let told = world.clean(Dirty::For(world.dirty));
    assert!(matches!(told, Err(Error::Io { errno: 5, .. })), "{told:?}");
    assert_eq!(world.clean(Dirty::For(world.dirty)), Ok(()));
    assert_eq!((world.vm.dirty_pages(), world.vm.report().stuck), (0, 0));
    world.disk.fails.store(false, Ordering::Relaxed);
    world.write(3, 1, 4);
    assert_eq!(world.clean(Dirty::Of(world.file)), Ok(()));
    assert_eq!(world.on_disk(3)[1], 4);
}

/// Every thread has its own pages to write; all read all. What a page holds is from one write.
#[test]
fn many_threads_write_and_read_at_the_smallest_limit() {
    for daemon in [Daemon::Thread, Daemon::Inline] {
        let world = World::boot(Plan::smallest_limit_bytes(), PolicyKind::S3Fifo, daemon);
        std::thread::scope(|scope| {
            for thread in 0..32u64 {
                let world = &world;
                scope.spawn(move || {
                    for round in 0..30u64 {
                        let index = thread * 8 + round % 8;
                        let byte = (round * 7 + thread) as u8;
                        (0..4).for_each(|unit| world.write(index, unit, byte));
                        assert_eq!(world.read(index), [byte; 4]);
                        world.read((index * 31 + round) % PAGES);
                        if round % 10 == 9 {
                            world.clean(Dirty::Of(world.file)).unwrap();
                        }
                    }
                });
            }
        });
        world.clean(Dirty::For(world.dirty)).unwrap();
        for index in 0..PAGES {
            assert_eq!(world.on_disk(index), world.read(index));
        }
        let report = world.vm.report();
        assert_eq!((report.stuck, report.pages_dirty, report.pages_busy), (0, 0, 0));
        assert!(report.peak_bytes <= report.limit_bytes);
    }
}

#[test]
fn held_pages_stay_until_they_are_committed_and_go_unwritten_when_abandoned() {
    let world = World::boot(512 << 10, PolicyKind::S3Fifo, Daemon::Inline);
    let mut held = HeldPages::new(&world.vm, 20).unwrap();
    let change = |held: &mut HeldPages, index: u64, byte: u8| {
        let r = world.vm.reserve(2);
        let mut page = world.page(&r, index).modify();
        page.fill(byte);
        held.hold(page, 0..4, HeldAs::Changed, 1);
    };
    (0..20).for_each(|index| change(&mut held, index, 1));
    (0..20).for_each(|index| change(&mut held, index, 2));
    assert_eq!((held.room(), held.len()), (0, 20));
    // Pressure does not move them, and operations go on.
    (0..PAGES).for_each(|index| assert_eq!(world.read(index), if index < 20 { [2; 4] } else { [0; 4] }));
    assert_eq!(world.vm.report().pages_held, 20);
    let mut order = Vec::new();
    let mut at = held.next(None);
    while let Some(page) = at {
        assert!(held.pin(page).iter().all(|byte| *byte == 2));
        order.push(held.identity(page).1.0);
        at = held.next(Some(page));
    }
    assert_eq!(order, Vec::from_iter(0..20));
    held.release();
    assert_eq!((held.room(), world.vm.report().pages_held), (20, 0));
    (0..PAGES).for_each(|index| {
        assert_eq!(world.on_disk(index), [0; 4], "held pages are written by their owner alone")
    });
    // The owner would have written them; here the disk has the old content, which is seen when the pages are gone.
    change(&mut held, 40, 3);
    assert_eq!(world.read(40), [3; 4]);
    drop(held);
    assert_eq!(world.read(40), [0; 4]);
    assert_eq!(world.vm.report().stuck, 0);
}

#[test]
fn an_operation_is_taken_back_without_those_before_it() {
    let world = World::boot(512 << 10, PolicyKind::S3Fifo, Daemon::Inline);
    let mut held = HeldPages::new(&world.vm, 8).unwrap();
    let change = |held: &mut HeldPages, index: u64, operation: u64, unit: usize| {
        let r = world.vm.reserve(2);
        let mut page = world.page(&r, index).modify();
        page.fill(operation as u8);
        assert_eq!(
            held.hold(
                page,
                unit..unit + 1,
                if unit == 2 { HeldAs::Created } else { HeldAs::Changed },
                operation
            )
            .held_by(),
            Some(if index == 0 { 1 } else { operation })
        );
    };
    change(&mut held, 0, 1, 0);
    (0..4).for_each(|index| change(&mut held, index, 2, 2));
    let units = |held: &HeldPages, page| held.units(page);
    let first = held.next(None).unwrap();
    assert_eq!(units(&held, first), (0b101, 0b100));
    assert_eq!(units(&held, held.next(Some(first)).unwrap()), (0b100, 0b100));
    held.abandon_behind(1);
    assert_eq!(held.len(), 1);
    // The first page was there before; its owner restores it.
    assert_eq!((0..4).map(|index| world.read(index)[0]).collect::<Vec<_>>(), [2, 0, 0, 0]);
}

#[test]
fn the_right_to_hold_is_refused_with_the_numbers() {
    let world = World::boot(Plan::smallest_limit_bytes(), PolicyKind::S3Fifo, Daemon::Inline);
    let refused = HeldPages::new(&world.vm, 20).err();
    assert!(matches!(refused, Some(Error::NoMemory { what: "a transaction", need: 20, .. })), "{refused:?}");
    let held = HeldPages::new(&world.vm, 13).unwrap();
    world.read(3);
    drop(held);
    assert!(HeldPages::new(&world.vm, 13).is_ok());
}

#[test]
fn changing_two_pages_at_once_is_a_broken_invariant() {
    let world = World::boot(512 << 10, PolicyKind::S3Fifo, Daemon::Inline);
    let r = world.vm.reserve(3);
    let (a, b) = (world.page(&r, 1), world.page(&r, 2));
    let first = a.modify();
    let second = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| b.modify().finish()));
    assert!(second.is_err());
    first.finish();
}
