//! What the blocks of a scenario must hold, after each of its commits.

use rumpcap_testing::seed::Random;
use std::collections::HashMap;

/// The journal's magic, with which every fifth content begins.
const MAGIC: [u8; 4] = [0xC0, 0x3B, 0x39, 0x98];

/// The state of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Metadata of this version.
    Logged(u64),
    /// Freed: anything.
    Free,
    /// Data of this version, written in place by the request of this number.
    Data(u64, u64),
}

/// The states after each commit; state 0 is before the first.
#[derive(Clone)]
pub struct Model {
    block_size: usize,
    first: u64,
    states: Vec<Vec<Cell>>,
    /// What was set, so that it is made only once.
    contents: HashMap<(u64, u64), Vec<u8>>,
}

/// Bytes of a block of a version; 0 is zeros. Some look like blocks of a log.
pub fn content(block_size: usize, block: u64, version: u64) -> Vec<u8> {
    if version == 0 {
        return vec![0; block_size];
    }
    let mut bytes = Random::new(block << 32 ^ version).bytes(block_size);
    if version.is_multiple_of(5) {
        bytes[..4].copy_from_slice(&MAGIC);
    }
    if version.is_multiple_of(10) {
        bytes[4..8].copy_from_slice(&[0, 0, 0, (version / 10 % 3) as u8]);
        bytes[8..12].copy_from_slice(&[0, 0, 0, (version / 30 % 16) as u8]);
    }
    bytes[16..24].copy_from_slice(&version.to_le_bytes());
    bytes
}

impl Model {
    /// `cells` blocks of zeros from block `first` on.
    pub fn new(block_size: usize, first: u64, cells: usize) -> Model {
        let states = vec![vec![Cell::Logged(0); cells]];
        Model { block_size, first, states, contents: HashMap::new() }
    }

    /// Begins anew with what is in `image`; whatever is no content of a version is free.
    pub fn restart(&mut self, image: &[u8]) {
        let seen = self.observe(image);
        self.states = vec![seen.into_iter().map(|seen| seen.map_or(Cell::Free, Cell::Logged)).collect()];
    }

    pub fn cells(&self) -> usize {
        self.states[0].len()
    }

    pub fn commits(&self) -> usize {
        self.states.len() - 1
    }

    pub fn block(&self, index: usize) -> u64 {
        self.first + index as u64
    }

    pub fn begin_commit(&mut self) {
        self.states.push(self.states.last().unwrap().clone());
    }

    /// Takes back a commit that failed.
    pub fn undo_commit(&mut self) {
        self.states.pop();
    }

    pub fn set(&mut self, block: u64, cell: Cell) {
        if let Cell::Logged(version) | Cell::Data(version, _) = cell {
            self.contents.insert((block, version), content(self.block_size, block, version));
        }
        self.states.last_mut().unwrap()[(block - self.first) as usize] = cell;
    }

    pub fn get(&self, block: u64) -> Cell {
        self.states.last().unwrap()[(block - self.first) as usize]
    }

    /// The versions that `image` has; `None` for bytes of no version.
    fn observe(&self, image: &[u8]) -> Vec<Option<u64>> {
        let version = |index: usize| {
            let block = self.block(index);
            let from = block as usize * self.block_size;
            let bytes = &image[from..from + self.block_size];
            let version = u64::from_le_bytes(bytes[16..24].try_into().unwrap());
            let is_it = match self.contents.get(&(block, version)) {
                Some(content) => content == bytes,
                None => content(self.block_size, block, version) == bytes,
            };
            Some(version).filter(|_| is_it)
        };
        (0..self.cells()).map(version).collect()
    }

    /// Whether a state is what was seen, where a flush came last before request `flushed`.
    fn matches(state: &[Cell], seen: &[Option<u64>], flushed: u64) -> bool {
        state.iter().zip(seen).all(|(cell, seen)| match *cell {
            Cell::Logged(version) => *seen == Some(version),
            Cell::Free => true,
            Cell::Data(version, request) => request >= flushed || *seen == Some(version),
        })
    }

    /// The first state from `from` on that `image` is in. Data written before request `flushed` must be there.
    pub fn find_state(&self, image: &[u8], from: usize, flushed: u64) -> Option<usize> {
        let seen = self.observe(image);
        (from..self.states.len()).find(|state| Model::matches(&self.states[*state], &seen, flushed))
    }

    pub fn assert_state(&self, image: &[u8], state: usize, flushed: u64) {
        let seen = self.observe(image);
        for (index, (cell, seen)) in self.states[state].iter().zip(seen).enumerate() {
            let is_good = Model::matches(&[*cell], &[seen], flushed);
            assert!(is_good, "block {}: {cell:?} expected, {seen:?} found", self.block(index));
        }
    }
}
