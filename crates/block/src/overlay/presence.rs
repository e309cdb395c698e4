//! Which granules an overlay holds: a bitmap in a sparse temporary file, with a fixed cache in front.
//!
//! Who calls it: the overlay. The bitmap of a device of 16 TiB is 512 MiB, too much for memory, so memory holds
//! - a *summary* of [`SUMMARY_BITS`] bits, each for an equal power of two of granules: clear means that none of
//!   them is present, which costs a reader neither lock nor I/O. On a device of up to 128 MiB a summary bit is one
//!   granule and the summary is all there is to ask;
//! - [`LINES`] *lines*, pieces of the bitmap, least recently used first out.
//!
//! Invariants: PR-1 a bit of the bitmap is set before its summary bit, and neither is ever cleared. PR-2 a line
//! that is not cached is in the file as it was last.
//!
//! Locks: `lines` guards the lines and the file, held during the host's I/O. The summary is atomic: set with release
//! after the data is written, read with acquire before it is read.
//!
//! Failure: a line that cannot be written back stays; a line that cannot be read is not there. The caller gets the
//! error, and the bitmap is as before.

use rumpcap_host::Result;
use rumpcap_host::file::HostFile;
use rumpcap_host::sync::Mutex;
use rumpcap_host::sync::atomic::{AtomicU64, Ordering};
use std::io::{IoSlice, IoSliceMut};

/// Bits of the summary: 4 KiB, so that an image of up to 128 MiB is told apart granule by granule.
const SUMMARY_BITS: u64 = 32 * 1024;
/// Lines of the cache.
const LINES: usize = 8;
/// Bytes of a line: the bits of 8,192 granules, 32 MiB of the device.
const LINE_BYTES: usize = 1024;
const LINE_BITS: u64 = LINE_BYTES as u64 * 8;

/// Number of a granule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Granule(pub(super) u64);

/// Granules that are all present or all absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) is_present: bool,
    /// The first granule behind.
    pub(super) end: Granule,
}

/// The set of granules that are present.
pub(super) struct Presence {
    summary: Box<[AtomicU64]>,
    /// log2 of the granules of a summary bit.
    summary_shift: u32,
    granules: AtomicU64,
    lines: Mutex<Lines>,
}

impl Presence {
    pub(super) const MEMORY_BYTES: usize = SUMMARY_BITS as usize / 8 + LINES * size_of::<Line>();

    /// An empty set of granules below `granules`. `file` is empty.
    pub(super) fn new(granules: u64, mut file: HostFile) -> Result<Presence> {
        let mut summary_shift = 0;
        while granules.saturating_sub(1) >> summary_shift >= SUMMARY_BITS {
            summary_shift += 1;
        }
        file.set_len(granules.div_ceil(LINE_BITS) * LINE_BYTES as u64)?;
        let summary = (0..SUMMARY_BITS / 64).map(|_| AtomicU64::new(0)).collect();
        let lines = (0..LINES).map(|_| Line::default()).collect();
        let lines = Mutex::new(Lines { file, lines, clock: 0 });
        Ok(Presence { summary, summary_shift, granules: AtomicU64::new(0), lines })
    }

    /// How many granules are present.
    pub(super) fn present_granules(&self) -> u64 {
        self.granules.load(Ordering::Relaxed)
    }

    /// The run of equal granules that begins with `first`, as far as `end`, which is above.
    pub(super) fn run(&self, first: Granule, end: Granule) -> Result<Run> {
        let absent = self.absent_by_summary(first, end);
        if absent == end {
            return Ok(Run { is_present: false, end });
        }
        if self.summary_shift == 0 {
            return Ok(self.run_by_summary(first, end, absent));
        }
        if absent > first {
            // The caller goes on behind; two requests at the border of a region are rare.
            return Ok(Run { is_present: false, end: absent });
        }
        self.lines.lock().run(first, end)
    }

    /// Adds `first..end`, whose data is in place.
    pub(super) fn insert(&self, first: Granule, end: Granule) -> Result<()> {
        if self.summary_shift > 0 {
            let added = self.lines.lock().insert(first, end)?;
            self.granules.fetch_add(added, Ordering::Relaxed);
        }
        for bit in first.0 >> self.summary_shift..=(end.0 - 1) >> self.summary_shift {
            let mask = 1 << (bit % 64);
            let before = self.summary[(bit / 64) as usize].fetch_or(mask, Ordering::Release);
            if self.summary_shift == 0 && before & mask == 0 {
                self.granules.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn summary_bit(&self, granule: Granule) -> bool {
        let bit = granule.0 >> self.summary_shift;
        self.summary[(bit / 64) as usize].load(Ordering::Acquire) >> (bit % 64) & 1 == 1
    }

    /// The first granule from `first` on that is not known absent by the summary, `end` at most.
    fn absent_by_summary(&self, mut first: Granule, end: Granule) -> Granule {
        while first < end && !self.summary_bit(first) {
            first = Granule(((first.0 >> self.summary_shift) + 1) << self.summary_shift);
        }
        first.min(end)
    }

    /// [`Presence::run`] where a summary bit is one granule. `absent` is the end of the absent ones.
    fn run_by_summary(&self, first: Granule, end: Granule, absent: Granule) -> Run {
        if absent > first {
            return Run { is_present: false, end: absent };
        }
        let present = (first.0..end.0).find(|g| !self.summary_bit(Granule(*g)));
        Run { is_present: true, end: present.map_or(end, Granule) }
    }
}

/// The cached pieces of the bitmap.
struct Lines {
    file: HostFile,
    lines: Box<[Line]>,
    /// Counts the uses; the line with the smallest number is the least recently used.
    clock: u64,
}

/// A piece of the bitmap.
struct Line {
    /// Which piece; [`Line::NONE`] if none.
    index: u64,
    is_dirty: bool,
    used: u64,
    bits: [u8; LINE_BYTES],
}

impl Line {
    const NONE: u64 = u64::MAX;

    fn has(&self, granule: u64) -> bool {
        let bit = granule % LINE_BITS;
        self.bits[(bit / 8) as usize] >> (bit % 8) & 1 == 1
    }

    /// Sets the bit of a granule; whether it was clear.
    fn set(&mut self, granule: u64) -> bool {
        let bit = granule % LINE_BITS;
        let byte = &mut self.bits[(bit / 8) as usize];
        let was_clear = *byte >> (bit % 8) & 1 == 0;
        *byte |= 1 << (bit % 8);
        self.is_dirty |= was_clear;
        was_clear
    }
}

impl Default for Line {
    fn default() -> Line {
        Line { index: Line::NONE, is_dirty: false, used: 0, bits: [0; LINE_BYTES] }
    }
}

impl Lines {
    fn run(&mut self, first: Granule, end: Granule) -> Result<Run> {
        let is_present = self.line_of(first.0)?.has(first.0);
        let mut granule = first.0;
        while granule < end.0 {
            let line_end = end.0.min((granule / LINE_BITS + 1) * LINE_BITS);
            let line = self.line_of(granule)?;
            if let Some(other) = (granule..line_end).find(|g| line.has(*g) != is_present) {
                return Ok(Run { is_present, end: Granule(other) });
            }
            granule = line_end;
        }
        Ok(Run { is_present, end })
    }

    /// Sets the bits of `first..end`; how many were clear.
    fn insert(&mut self, first: Granule, end: Granule) -> Result<u64> {
        let mut added = 0;
        for granule in first.0..end.0 {
            added += u64::from(self.line_of(granule)?.set(granule));
        }
        Ok(added)
    }

    /// The line that holds `granule`, read if need be.
    fn line_of(&mut self, granule: u64) -> Result<&mut Line> {
        let index = granule / LINE_BITS;
        self.clock += 1;
        let slot = match self.lines.iter().position(|line| line.index == index) {
            Some(slot) => slot,
            None => self.load(index)?,
        };
        let line = &mut self.lines[slot];
        line.used = self.clock;
        Ok(line)
    }

    /// Reads a line in the place of the least recently used; gives its slot.
    fn load(&mut self, index: u64) -> Result<usize> {
        let least = self.lines.iter().enumerate().min_by_key(|(_, line)| line.used);
        let (slot, _) = least.expect("the number of lines is a constant above 0");
        let line = &mut self.lines[slot];
        if line.is_dirty {
            self.file.write_all_at(&mut [IoSlice::new(&line.bits)], line.index * LINE_BYTES as u64)?;
            line.is_dirty = false;
        }
        // From here on its old content is only in the file; a failed read leaves it empty.
        line.index = Line::NONE;
        self.file.read_exact_at(&mut [IoSliceMut::new(&mut line.bits)], index * LINE_BYTES as u64)?;
        line.index = index;
        Ok(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn presence(granules: u64) -> Presence {
        Presence::new(granules, HostFile::temporary(&std::env::temp_dir()).unwrap()).unwrap()
    }

    /// All runs of `0..granules` give exactly `set`.
    fn check(presence: &Presence, granules: u64, places: &BTreeSet<u64>, set: &BTreeSet<u64>) {
        for place in places {
            let (first, end) = (Granule(place.saturating_sub(3)), Granule((place + 4).min(granules)));
            let mut at = first;
            while at < end {
                let run = presence.run(at, end).unwrap();
                assert!(run.end > at && run.end <= end);
                for granule in at.0..run.end.0 {
                    assert_eq!(run.is_present, set.contains(&granule), "granule {granule}");
                }
                at = run.end;
            }
        }
        assert_eq!(presence.present_granules(), set.len() as u64);
    }

    /// More places than lines, far apart, so that lines are evicted and read again.
    #[test]
    fn far_places_of_a_large_device() {
        // 64 TiB, 16 GiB, 128 MiB and a little more, a few granules
        for granules in [1u64 << 34, 1 << 22, SUMMARY_BITS, SUMMARY_BITS + 1, 5] {
            let presence = presence(granules);
            let places: BTreeSet<u64> = (0..40).map(|i| (granules - 1) / 39 * i).collect();
            let mut set = BTreeSet::new();
            for place in &places {
                check(&presence, granules, &places, &set);
                presence.insert(Granule(*place), Granule((place + 2).min(granules))).unwrap();
                set.extend(*place..(place + 2).min(granules));
            }
            check(&presence, granules, &places, &set);
        }
    }

    #[test]
    fn runs_go_on_across_lines() {
        let presence = presence(1 << 22);
        presence.insert(Granule(5), Granule(LINE_BITS * 3 + 7)).unwrap();
        let run = presence.run(Granule(5), Granule(1 << 20)).unwrap();
        assert_eq!(run, Run { is_present: true, end: Granule(LINE_BITS * 3 + 7) });
    }
}
