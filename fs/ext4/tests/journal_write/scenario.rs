//! A seeded sequence of commits, syncs and reads on a journal, with a model of what must come of it.

use crate::image::Image;
use crate::model::{Cell, Model, content};
use rumpcap_block::BlockDevice;
use rumpcap_ext4::journal::write::{Form, JournaledDevice, LoggedBlock};
use rumpcap_ext4::journal::{MarkOnDevice, Tid};
use rumpcap_host::Result;
use rumpcap_testing::seed::Random;
use rumpcap_vfs::Timestamp;
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Blocks of the images.
const BLOCKS: u64 = 4096;
/// The free blocks that stand for metadata.
const FIRST: u64 = 2600;
const CELLS: usize = 400;

/// A file system and how its log is written.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub options: &'static [&'static str],
    pub block_size: usize,
    pub form: Form,
    /// Blocks that the journal's super block lets be used, of 1024.
    pub log_blocks: u32,
}

impl Setup {
    /// An image with a journal of 1024 blocks.
    pub fn image(&self) -> Image {
        self.image_with_journal(&format!("size={}", self.block_size / 1024))
    }

    pub fn image_with_journal(&self, journal: &str) -> Image {
        let block_size = self.block_size.to_string();
        let blocks = if journal == "size=2" { BLOCKS * 2 } else { BLOCKS };
        let mut options = self.options.to_vec();
        options.extend(["-b", &block_size, "-N", "64", "-J", journal]);
        let image = Image::new(&options, &blocks.to_string());
        let said = image.debugfs(&format!("testb {FIRST} {CELLS}\n"));
        assert!(!said.contains("marked in use"), "the blocks of the test are not free: {said}");
        if self.log_blocks < 1024 {
            let file = std::fs::OpenOptions::new().write(true).open(&image.path).unwrap();
            file.write_all_at(&self.log_blocks.to_be_bytes(), image.journal_byte(0) + 16).unwrap();
        }
        image
    }
}

/// Memory of the journal.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub map_bytes: usize,
    pub buffer_blocks: usize,
}

impl Sizes {
    /// More than the log has blocks.
    pub const ROOMY: Sizes = Sizes { map_bytes: 20_000, buffer_blocks: 8 };
    /// The smallest.
    pub const SMALL_MAP: Sizes = Sizes { map_bytes: 1000, buffer_blocks: 1 };
}

/// A journal at work.
pub struct Scenario {
    pub device: JournaledDevice<Vec<u8>>,
    pub model: Model,
    pub now: Timestamp,
    block_size: usize,
    random: Random,
    version: u64,
    /// The transaction of each commit, and the frees that are not durable.
    tids: Vec<Tid>,
    freed: Vec<(u64, Tid)>,
    /// What was logged last: the blocks that are freed with most effect.
    recent: Vec<u64>,
    /// Whether the last step wrote data, which is not the journal's business.
    pub wrote_data: bool,
    /// How many requests the device below has seen, where that is counted.
    requests: Box<dyn Fn() -> u64>,
}

impl Scenario {
    pub fn new(
        setup: &Setup,
        image: &Image,
        base: Arc<dyn BlockDevice>,
        sizes: Sizes,
        seed: u64,
    ) -> Scenario {
        Scenario::try_new(setup, image, base, sizes, seed, Box::new(|| 0)).unwrap()
    }

    pub fn try_new(
        setup: &Setup,
        image: &Image,
        base: Arc<dyn BlockDevice>,
        sizes: Sizes,
        seed: u64,
        requests: Box<dyn Fn() -> u64>,
    ) -> Result<Scenario> {
        let memory = [vec![0xA5; sizes.map_bytes], vec![0xA5; sizes.buffer_blocks * setup.block_size]];
        let (mut map, geometry) = (image.journal_map(), image.geometry());
        let mark = Arc::clone(&base);
        let mut mark = MarkOnDevice(&*mark);
        let device = JournaledDevice::open(base, &mut map, &geometry, setup.form, memory, &mut mark)?;
        Ok(Scenario {
            device,
            model: Model::new(setup.block_size, FIRST, CELLS),
            now: Timestamp { seconds: 1_700_000_000, nanoseconds: 0 },
            block_size: setup.block_size,
            random: Random::new(seed),
            version: 0,
            tids: Vec::new(),
            freed: Vec::new(),
            recent: Vec::new(),
            wrote_data: false,
            requests,
        })
    }

    /// Random commits, syncs, reads and writes of data.
    pub fn steps(&mut self, steps: usize) {
        for _ in 0..steps {
            self.try_step().unwrap();
        }
    }

    pub fn try_step(&mut self) -> Result<()> {
        self.now.seconds += self.random.below(3) as i64;
        // As time does.
        if self.random.one_in(8) {
            self.device.record(self.now)?;
        }
        if self.random.one_in(2) {
            self.device.background(self.now)?;
        }
        let step = self.random.below(14);
        self.wrote_data = matches!(step, 2 | 12);
        match step {
            0 => self.try_sync(),
            1 => self.device.checkpoint(self.now),
            2 | 12 => self.try_write_data(),
            3 => {
                self.check_reads();
                Ok(())
            }
            4 => {
                let blocks = self.random.below(60) as usize;
                self.try_commit(blocks, self.random.clone().below(20) as usize)
            }
            _ => {
                let blocks = self.random.below(9) as usize;
                self.try_commit(blocks, self.random.clone().below(4) as usize)
            }
        }
    }

    pub fn commit(&mut self, blocks: usize, revoked: usize) {
        self.try_commit(blocks, revoked).unwrap();
    }

    /// Commits new versions of `blocks` blocks and frees up to `revoked` others.
    pub fn try_commit(&mut self, blocks: usize, revoked: usize) -> Result<()> {
        // Half of the commits stay in a few hot blocks, so that blocks are logged again and again.
        let range = if blocks < 12 && self.random.one_in(2) { 30 } else { CELLS as u64 };
        let mut homes: Vec<u64> = Vec::new();
        while homes.len() < blocks {
            let home = FIRST + self.random.below(range);
            if !homes.contains(&home) {
                homes.push(home);
            }
        }
        let mut frees: Vec<u64> = Vec::new();
        if !self.recent.is_empty() {
            frees.extend((0..revoked).map(|_| *self.random.pick(&self.recent)));
        }
        frees.sort_unstable();
        frees.dedup();
        frees.retain(|home| !homes.contains(home) && matches!(self.model.get(*home), Cell::Logged(_)));
        let contents: Vec<(u64, u64, Vec<u8>)> =
            homes.into_iter().map(|home| self.new_content(home)).collect();
        let logged = contents.iter().map(|(home, _, bytes)| LoggedBlock { home: *home, bytes });
        self.model.begin_commit();
        let tid = match self.device.commit(logged, &frees, self.now) {
            Ok(tid) => tid,
            Err(error) => {
                self.set_commit(&contents, &frees);
                return Err(error);
            }
        };
        self.set_commit(&contents, &frees);
        self.freed.retain(|(home, _)| !contents.iter().any(|(logged, ..)| logged == home));
        self.recent = contents.iter().map(|(home, ..)| *home).collect();
        self.freed.extend(frees.iter().map(|home| (*home, tid)));
        self.tids.push(tid);
        Ok(())
    }

    fn set_commit(&mut self, contents: &[(u64, u64, Vec<u8>)], frees: &[u64]) {
        for (home, version, _) in contents {
            self.model.set(*home, Cell::Logged(*version));
        }
        frees.iter().for_each(|home| self.model.set(*home, Cell::Free));
    }

    fn new_content(&mut self, home: u64) -> (u64, u64, Vec<u8>) {
        self.version += 1;
        (home, self.version, content(self.block_size, home, self.version))
    }

    pub fn sync(&mut self) {
        self.try_sync().unwrap();
    }

    pub fn try_sync(&mut self) -> Result<()> {
        self.device.sync(self.now)?;
        assert!(self.tids.last().is_none_or(|tid| self.device.is_durable(*tid)));
        Ok(())
    }

    /// Writes data in place into freed blocks, as soon as that is allowed.
    fn try_write_data(&mut self) -> Result<()> {
        for (home, tid) in std::mem::take(&mut self.freed) {
            if !self.device.is_durable(tid) {
                self.freed.push((home, tid));
                continue;
            }
            let (_, version, bytes) = self.new_content(home);
            let request = (self.requests)();
            self.device.write_at(home * self.block_size as u64, &mut [IoSlice::new(&bytes)])?;
            self.model.set(home, Cell::Data(version, request));
        }
        Ok(())
    }

    /// How many commits are durable.
    pub fn durable(&self) -> usize {
        self.tids.iter().take_while(|tid| self.device.is_durable(**tid)).count()
    }

    /// Random reads through the journal, in random vectors, give what was committed.
    pub fn check_reads(&mut self) {
        let mut whole = vec![0; BLOCKS as usize * self.block_size];
        let from = FIRST as usize * self.block_size;
        let len = CELLS * self.block_size;
        self.device.read_at(from as u64, &mut [IoSliceMut::new(&mut whole[from..from + len])]).unwrap();
        self.model.assert_state(&whole, self.model.commits(), u64::MAX);
        for _ in 0..20 {
            let at = from as u64 + self.random.below(len as u64 - 1);
            let n = 1 + self.random.below((from + len) as u64 - at).min(9000) as usize;
            let mut bytes = vec![0xEE; n.min(from + len - at as usize)];
            let n = bytes.len();
            let piece = 1 + self.random.below(n as u64) as usize;
            let mut bufs: Vec<IoSliceMut<'_>> = bytes.chunks_mut(piece).map(IoSliceMut::new).collect();
            self.device.read_at(at, &mut bufs).unwrap();
            assert!(bytes == whole[at as usize..at as usize + n], "{n} bytes at {at} in pieces of {piece}");
        }
    }
}
