//! Power cuts: every prefix of the requests, with what was not flushed lost, reordered or torn at sectors.

use crate::image::{Image, path_text, run_any};
use crate::model::Model;
use crate::scenario::{Scenario, Setup, Sizes};
use crate::{EXT3, PLAIN, SHORT, SHORT_V3, V3, is_thorough, seeds};
use rumpcap_block::{BlockDevice, MemoryDevice};
use rumpcap_ext4::journal;
use rumpcap_host::Result;
use rumpcap_testing::seed::Random;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex};

const SECTOR: usize = 512;
/// Byte of the device and bit of "needs recovery".
const INCOMPAT: usize = 1024 + 0x60;
const NEEDS_RECOVERY: u8 = 4;

/// A request that changes the device.
#[derive(Clone)]
enum Request {
    Write(u64, Vec<u8>),
    Flush,
}

impl Request {
    fn is_commit(&self) -> bool {
        let begins = [0xC0, 0x3B, 0x39, 0x98, 0, 0, 0, 2];
        matches!(self, Request::Write(_, bytes) if bytes.starts_with(&begins))
    }
}

/// A device that remembers the writes and flushes to it.
struct Recorder {
    device: MemoryDevice,
    requests: Mutex<Vec<Request>>,
}

impl Recorder {
    fn new(bytes: &[u8]) -> Recorder {
        Recorder { device: MemoryDevice::from_bytes(bytes), requests: Mutex::default() }
    }

    fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

impl BlockDevice for Recorder {
    fn len_bytes(&self) -> u64 {
        self.device.len_bytes()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.device.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        let bytes = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
        self.requests.lock().unwrap().push(Request::Write(offset, bytes));
        self.device.write_at(offset, bufs)
    }

    fn flush(&self) -> Result<()> {
        self.requests.lock().unwrap().push(Request::Flush);
        self.device.flush()
    }
}

/// A device that is made of bytes and taken apart again without a copy.
pub struct Bytes(Mutex<Vec<u8>>);

impl Bytes {
    pub fn new(bytes: &[u8]) -> Bytes {
        Bytes(Mutex::new(bytes.to_vec()))
    }

    pub fn copy(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl BlockDevice for Bytes {
    fn len_bytes(&self) -> u64 {
        self.0.lock().unwrap().len() as u64
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        let (bytes, mut at) = (self.0.lock().unwrap(), offset as usize);
        for buf in bufs {
            let end = at + buf.len();
            buf.copy_from_slice(&bytes[at..end]);
            at = end;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bufs: &mut [IoSlice<'_>]) -> Result<()> {
        let (mut bytes, mut at) = (self.0.lock().unwrap(), offset as usize);
        for buf in bufs {
            bytes[at..at + buf.len()].copy_from_slice(buf);
            at += buf.len();
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// What a power cut leaves of writes that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    Nothing,
    Everything,
    /// Whole requests, at random.
    Requests,
    /// Sectors, at random.
    Sectors,
    /// All but one request.
    One,
}

const LOSSES: [Loss; 5] = [Loss::Nothing, Loss::Everything, Loss::Requests, Loss::Sectors, Loss::One];

/// The device after a cut: `flushed` and what survived of `pending`. Any survivor may be the last of its sector, so this
/// is also any order.
fn survivors(flushed: &[u8], pending: &[Request], loss: Loss, random: &mut Random) -> Vec<u8> {
    let mut bytes = flushed.to_vec();
    let (one, keep) = (random.below(pending.len() as u64), 1 + random.below(4));
    for (index, request) in pending.iter().enumerate() {
        let Request::Write(offset, written) = request else { continue };
        let is_whole = match loss {
            Loss::Nothing => true,
            Loss::Everything => false,
            Loss::Requests => random.below(4) < keep,
            Loss::Sectors => false,
            Loss::One => index as u64 != one,
        };
        // The super block of the file system has a field in one sector and its checksum in the other: nobody can make that
        // safe on sectors of 512 bytes, Linux does not either, and e2fsck mends it from a backup. So it is one here.
        let piece_bytes = if *offset == 1024 && written.len() == 1024 { 1024 } else { SECTOR };
        let mut at = *offset as usize;
        for piece in written.chunks(piece_bytes) {
            if is_whole || loss == Loss::Sectors && random.below(4) < keep {
                bytes[at..at + piece.len()].copy_from_slice(piece);
            }
            at += piece.len();
        }
    }
    bytes
}

/// Recovers `bytes`, as a mount that writes does.
fn recover(image: &Image, device: &dyn BlockDevice, bytes: &[u8]) {
    if bytes[INCOMPAT] & NEEDS_RECOVERY != 0 {
        let mut map = image.journal_map();
        journal::recover(device, &mut map, &image.geometry(), &mut [0; 16384]).unwrap();
    }
}

fn recovered(image: &Image, bytes: &[u8]) -> Vec<u8> {
    let device = Bytes::new(bytes);
    recover(image, &device, bytes);
    device.0.into_inner().unwrap()
}

fn recovered_by_e2fsck(image: &Image, bytes: &[u8]) -> Vec<u8> {
    let copy = image.directory.path().join("cut");
    std::fs::write(&copy, bytes).unwrap();
    let said = run_any("e2fsck", &["-fy", "-E", "journal_only", path_text(&copy)]);
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.status.code().is_some_and(|code| code < 4), "{said:?}");
    assert!(!text.contains("orrupt") && !text.contains("hecksum"), "damage is no crash: {text}");
    let said = run_any("e2fsck", &["-fn", path_text(&copy)]);
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    std::fs::read(&copy).unwrap()
}

/// A scenario's requests, and how many commits were durable after each.
struct Tape {
    start: Vec<u8>,
    requests: Vec<Request>,
    durable: Vec<(usize, usize)>,
    model: Model,
}

fn record(setup: &Setup, image: &Image, sizes: Sizes, seed: u64, steps: usize) -> Tape {
    let start = std::fs::read(&image.path).unwrap();
    let recorder = Arc::new(Recorder::new(&start));
    let count = recorder.clone();
    let requests = Box::new(move || count.count() as u64);
    let mut scenario = Scenario::try_new(setup, image, recorder.clone(), sizes, seed, requests).unwrap();
    let mut durable = Vec::new();
    for _ in 0..steps {
        scenario.steps(1);
        durable.push((recorder.count(), scenario.durable()));
    }
    scenario.sync();
    durable.push((recorder.count(), scenario.durable()));
    if seed % 2 == 1 {
        scenario.device.close(scenario.now, &mut journal::MarkOnDevice(&*recorder)).unwrap();
    }
    let requests = recorder.requests.lock().unwrap().clone();
    Tape { start, requests, durable, model: scenario.model }
}

impl Tape {
    /// Calls `cut` with every prefix: what is flushed, what is pending, how many commits must have survived, and the
    /// request that flushed last.
    fn cuts(&self, mut cut: impl FnMut(&[u8], &[Request], usize, u64)) {
        let mut flushed = self.start.clone();
        let mut from = 0;
        for end in 0..=self.requests.len() {
            if let Some(Request::Flush) = end.checked_sub(1).map(|last| &self.requests[last]) {
                flushed = survivors(&flushed, &self.requests[from..end], Loss::Nothing, &mut Random::new(0));
                from = end;
            }
            let durable = self.durable.iter().take_while(|(count, _)| *count <= end).last();
            cut(&flushed, &self.requests[from..end], durable.map_or(0, |(_, commits)| *commits), from as u64);
        }
    }
}

/// Cuts one scenario everywhere; gives how many cuts, and how many were shown to e2fsck.
fn cut_everywhere(setup: &Setup, sizes: Sizes, seed: u64, steps: usize, e2fsck_one_in: u64) -> (u32, u32) {
    let image = setup.image();
    let tape = record(setup, &image, sizes, seed, steps);
    let mut random = Random::new(seed);
    let (mut cuts, mut checked, mut open) = (0, 0, 0);
    tape.cuts(|flushed, pending, durable, last_flush| {
        for loss in LOSSES {
            let is_same = pending.is_empty() && loss != Loss::Nothing;
            // Tools differ in what they make of a part of a commit block.
            let is_torn_commit =
                loss == Loss::Sectors && pending.len() == 1 && pending[0].is_commit() && random.one_in(3);
            if is_same || !is_thorough() && !is_torn_commit && random.one_in(2) {
                continue;
            }
            let bytes = survivors(flushed, pending, loss, &mut random);
            let context = format!("{setup:?} {sizes:?} seed {seed}, {loss:?} of {} pending", pending.len());
            let ours = recovered(&image, &bytes);
            let state = tape.model.find_state(&ours, durable, last_flush);
            assert!(state.is_some(), "{context}: no state from {durable} on");
            open += u32::from(state != Some(durable));
            cuts += 1;
            if is_torn_commit || random.one_in(e2fsck_one_in) {
                let theirs = recovered_by_e2fsck(&image, &bytes);
                assert_eq!(tape.model.find_state(&theirs, durable, last_flush), state, "{context}: e2fsck");
                checked += 1;
            }
        }
    });
    eprintln!("{setup:?} {sizes:?} seed {seed}: {cuts} cuts, {checked} by e2fsck, {open} beyond the durable");
    assert!(cuts > 100 && open > 0, "the scenario is too tame");
    (cuts, checked)
}

#[test]
fn a_power_cut_anywhere_leaves_a_prefix() {
    let kinds = [
        (&V3, Sizes::ROOMY),
        (&PLAIN, Sizes::ROOMY),
        (&SHORT_V3, Sizes::ROOMY),
        (&SHORT, Sizes::ROOMY),
        (&V3, Sizes::SMALL_MAP),
        (&EXT3, Sizes::SMALL_MAP),
    ];
    for (setup, sizes) in kinds {
        for seed in seeds(2) {
            let (_, checked) = cut_everywhere(setup, sizes, seed, 40, 60);
            assert!(checked > 0);
        }
    }
}

/// A recovery in place that is itself cut off is begun again, and gives the same.
#[test]
fn a_power_cut_in_recovery() {
    for setup in [&V3, &PLAIN] {
        let image = setup.image();
        let tape = record(setup, &image, Sizes::ROOMY, 4, 40);
        let mut random = Random::new(5);
        let crashed = {
            let mut last = Vec::new();
            tape.cuts(|flushed, pending, _, _| {
                last = survivors(flushed, pending, Loss::Nothing, &mut random)
            });
            last
        };
        let expected = recovered(&image, &crashed);
        let recorder = Recorder::new(&crashed);
        recover(&image, &recorder, &crashed);
        let requests = recorder.requests.into_inner().unwrap();
        let tape = Tape { start: crashed, requests, durable: Vec::new(), model: tape.model };
        let mut cuts = 0;
        tape.cuts(|flushed, pending, _, _| {
            for loss in LOSSES {
                let again = recovered(&image, &survivors(flushed, pending, loss, &mut random));
                let differs = again.chunks(1024).zip(expected.chunks(1024)).position(|(a, b)| a != b);
                // The journal's super block counts one more transaction when a recovery is begun again.
                let differs = differs.filter(|unit| *unit as u64 * 1024 != image.journal_byte(0));
                assert_eq!(differs, None, "{setup:?} {loss:?}");
                cuts += 1;
            }
        });
        assert!(cuts > 50);
    }
}

/// The recorder's cuts find a log that does not flush before its commit blocks.
#[test]
fn a_missing_flush_would_be_found() {
    let image = PLAIN.image();
    let mut tape = record(&PLAIN, &image, Sizes::ROOMY, 0, 40);
    tape.durable.clear();
    let all = std::mem::take(&mut tape.requests);
    let kept = all.iter().enumerate().filter(|(at, request)| {
        !matches!(request, Request::Flush) || !all.get(at + 1).is_some_and(Request::is_commit)
    });
    tape.requests = kept.map(|(_, request)| request.clone()).collect();
    assert!(tape.requests.len() < all.len());
    let mut random = Random::new(1);
    let mut torn = 0;
    tape.cuts(|flushed, pending, durable, _| {
        let bytes = survivors(flushed, pending, Loss::Requests, &mut random);
        let device = Bytes(Mutex::new(bytes));
        let mut map = image.journal_map();
        let recovery = journal::recover(&device, &mut map, &image.geometry(), &mut [0; 16384]);
        torn += u32::from(
            recovery.is_err() || tape.model.find_state(&device.0.lock().unwrap(), durable, 0).is_none(),
        );
    });
    assert!(torn > 0, "cuts that find nothing prove nothing");
}
