//! A kernel's memory is recorded and replayed: what was counted then is counted again.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rumpcap_block::BlockDevice;
use rumpcap_host::{Error, Result};
use rumpcap_trace::format::Header;
use rumpcap_trace::{Contender, ReadAhead, Recorder, Step, Trace, curves, replay};
use rumpcap_vm::{BootOptions, Daemon, DeviceObject, PAGE_SIZE, PolicyKind, Vm, WiredRun};
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

const POLICIES: [PolicyKind; 2] = [PolicyKind::S3Fifo, PolicyKind::Lru];
const LIMIT_BYTES: u64 = 256 << 10;

struct Zeros;

impl BlockDevice for Zeros {
    fn len_bytes(&self) -> u64 {
        1 << 40
    }
    fn read_at(&self, _: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        bufs.iter_mut().for_each(|buf| buf.fill(0));
        Ok(())
    }
    fn write_at(&self, _: u64, _: &mut [IoSlice<'_>]) -> Result<()> {
        Err(Error::ReadOnly)
    }
    fn flush(&self) -> Result<()> {
        Ok(())
    }
}

/// What is done to the memory.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Look at a page of one of two devices, with so many behind it.
    Look { device: usize, page: u64, ahead: u32 },
    /// Wire frames; at most four runs at a time, the oldest goes.
    Wire(u32),
    /// The second device goes and another comes.
    Exchange,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let near =
        (0usize..2, 0u64..60, 0u32..4).prop_map(|(device, page, ahead)| Act::Look { device, page, ahead });
    let far =
        (0usize..2, 0u64..400, 0u32..9).prop_map(|(device, page, ahead)| Act::Look { device, page, ahead });
    let act =
        prop_oneof![20 => near, 20 => far, 1 => (1u32..4).prop_map(Act::Wire), 1 => Just(Act::Exchange)];
    proptest::collection::vec(act, 0..600)
}

struct Counts {
    trace: Trace,
    device_reads: u64,
    pages_read: u64,
}

fn record(policy: PolicyKind, acts: &[Act]) -> Counts {
    let header = Header { limit_bytes: Some(LIMIT_BYTES), policy, label: "a test".to_owned() };
    let recorder = Recorder::new(Vec::new(), &header).unwrap();
    let limit_bytes = Some(LIMIT_BYTES);
    let options =
        BootOptions { limit_bytes, policy, daemon: Daemon::Inline, trace: Some(recorder.listener()) };
    let vm = Vm::boot(options).unwrap();
    let attach = || DeviceObject::attach(&vm, Arc::new(Zeros)).unwrap();
    let mut devices = [attach(), attach()];
    let mut wired = std::collections::VecDeque::new();
    for act in acts {
        match *act {
            Act::Look { device, page, ahead } => {
                drop(devices[device].page(&vm.reserve(1), page * PAGE_SIZE as u64, ahead).unwrap());
            }
            Act::Wire(frames) => {
                wired.push_back(WiredRun::buffer(&vm, frames, "a test").unwrap());
                if wired.len() > 4 {
                    wired.pop_front();
                }
            }
            Act::Exchange => {
                let [first, second] = devices;
                drop(second);
                devices = [first, attach()];
            }
        }
    }
    let report = vm.report();
    let (bytes, _) = recorder.finish().unwrap().unwrap();
    let trace = Trace::read(&bytes[..]).unwrap();
    let pages_read = report.device_read_bytes / PAGE_SIZE as u64;
    Counts { trace, device_reads: report.device_reads, pages_read }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// With the recording's read-ahead, at its limit and under its policy, every count is the recording's.
    #[test]
    fn a_replay_as_recorded_counts_the_same(acts in acts()) {
        for policy in POLICIES {
            let counts = record(policy, &acts);
            let again = replay(&counts.trace, policy, LIMIT_BYTES, ReadAhead::Recorded).unwrap();
            prop_assert_eq!(counts.trace.recorded.misses, counts.device_reads);
            prop_assert_eq!(again.misses, counts.device_reads);
            prop_assert_eq!(again.pages_read, counts.pages_read);
            prop_assert_eq!(again.metadata_misses, again.misses);
        }
    }

    /// Nobody is better than the optimum, at any limit; and whoever has room for all reads each page once.
    #[test]
    fn the_optimum_is_the_least(acts in acts()) {
        let trace = record(PolicyKind::S3Fifo, &acts).trace;
        let limits = [192 << 10, LIMIT_BYTES, 512 << 10, 8 << 20];
        let curves = curves(&trace, &limits, &Contender::ALL, ReadAhead::None).unwrap();
        for limit in limits {
            let least = curves.at(Contender::Optimum, limit).unwrap().misses;
            for contender in Contender::ALL {
                let misses = curves.at(contender, limit).unwrap().misses;
                prop_assert!(misses >= least, "{}: {} < {}", contender.name(), misses, least);
            }
        }
        for contender in Contender::ALL {
            prop_assert_eq!(curves.at(contender, 8 << 20).unwrap().misses, trace.distinct(), "{}", contender.name());
        }
    }
}

/// The product's LRU is a list in order of use: the replay runs the policy and not something like it.
#[test]
fn lru_is_a_list() {
    let mut state = 1u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        u64::from(state >> 16)
    };
    let acts: Vec<Act> = (0..3000).map(|_| Act::Look { device: 0, page: random() % 90, ahead: 0 }).collect();
    let trace = record(PolicyKind::Lru, &acts).trace;
    let frames = rumpcap_vm::plan::Plan::new(LIMIT_BYTES).unwrap().frames as usize;
    let mut list: Vec<u32> = Vec::new();
    let mut misses = 0;
    for step in &trace.steps {
        let Step::Access { page, .. } = *step else { continue };
        match list.iter().position(|at| *at == page) {
            Some(at) => drop(list.remove(at)),
            None => misses += 1,
        }
        list.push(page);
        if list.len() > frames {
            list.remove(0);
        }
    }
    assert!(misses > 100, "the pages do not fit");
    assert_eq!(replay(&trace, PolicyKind::Lru, LIMIT_BYTES, ReadAhead::None).unwrap().misses, misses);
}

/// An output that fails does not disturb the kernel; the failure is said at the end.
#[test]
fn a_full_disk_is_said_at_the_end() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let header = Header { limit_bytes: None, policy: PolicyKind::Lru, label: String::new() };
    let recorder = Recorder::new(Full, &header).unwrap();
    let listener = recorder.listener();
    (0..200_000).for_each(|page| listener(rumpcap_vm::TraceEvent::Hit { object: 0, page }));
    assert_eq!(recorder.finish().map(|_| ()).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}
