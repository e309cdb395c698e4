//! The Nth write, flush or read fails, for every N: the journal stops for good, and the image recovers.

use crate::image::{Image, path_text, run_any};
use crate::model::Cell;
use crate::power::Bytes;
use crate::scenario::{Scenario, Sizes};
use crate::{PLAIN, V3, is_thorough, seeds};
use rumpcap_block::{Effect, Fault, FaultInjector, MemoryDevice, Operation};
use rumpcap_ext4::journal;
use rumpcap_host::Error;
use rumpcap_testing::seed::Random;
use std::sync::Arc;

/// Runs a scenario until it fails; what there is then recovers to a state from the durable one on. Whether the fault
/// was met.
fn fail(image: &Image, setup: &crate::Setup, bytes: &[u8], fault: Fault, seed: u64, by_e2fsck: bool) -> bool {
    let memory = Arc::new(Bytes::new(bytes));
    let device = Arc::new(FaultInjector::new(memory.clone()));
    device.inject(fault).unwrap();
    let opened = Scenario::try_new(setup, image, device.clone(), Sizes::SMALL_MAP, seed, Box::new(|| 0));
    let Ok(mut scenario) = opened else {
        assert!(device.fired() > 0);
        return true;
    };
    let failed = (0..40).map(|_| scenario.try_step()).find(Result::is_err);
    if device.fired() == 0 {
        assert!(failed.is_none());
        return false;
    }
    // A write of data may have met it: that is not the journal's.
    assert!(scenario.wrote_data || scenario.device.stopped().is_some(), "{fault:?}: not noticed");
    if let Some(stopped) = scenario.device.stopped() {
        assert!(matches!(stopped, Error::Io { .. }), "{stopped:?}");
        assert!(failed.is_some());
        let calls = [
            scenario.device.sync(scenario.now),
            scenario.device.checkpoint(scenario.now),
            scenario.device.record_if_due(scenario.now),
            scenario.device.commit([].into_iter(), &[], scenario.now).map(drop),
            scenario.device.close(scenario.now, &mut journal::MarkOnDevice(&*memory)),
        ];
        assert_eq!(calls, [Err(stopped); 5], "an abort is for good");
    }
    let durable = scenario.durable();
    let after = memory.copy();
    let mut map = image.journal_map();
    let recovery = journal::recover(&*memory, &mut map, &image.geometry(), &mut [0; 16384]).unwrap();
    let found = scenario.model.find_state(&memory.copy(), durable, 0);
    assert!(found.is_some(), "{fault:?} seed {seed}: {recovery:?}, no state from {durable} on");
    if by_e2fsck {
        let copy = image.directory.path().join("failed");
        std::fs::write(&copy, after).unwrap();
        let said = run_any("e2fsck", &["-fy", path_text(&copy)]);
        assert!(said.status.code().is_some_and(|code| code < 4), "{said:?}");
        assert_eq!(run_any("e2fsck", &["-fn", path_text(&copy)]).status.code(), Some(0));
        let theirs = std::fs::read(&copy).unwrap();
        assert_eq!(scenario.model.find_state(&theirs, durable, 0), found, "{fault:?} seed {seed}: e2fsck");
    }
    true
}

#[test]
fn the_nth_request_fails() {
    let effects =
        [Effect::Fail { errno: 5 }, Effect::Tear { bytes: 700 }, Effect::FailFromNowOn { errno: 28 }];
    for (setup, seed) in [&V3, &PLAIN].into_iter().flat_map(|setup| seeds(1).map(move |seed| (setup, seed))) {
        let image = setup.image();
        let bytes = std::fs::read(&image.path).unwrap();
        let mut random = Random::new(seed);
        let mut met = 0;
        for operation in [Operation::Write, Operation::Flush] {
            for effect in effects {
                let mut nth = 1;
                let fault = |nth| Fault { operation, nth, effect };
                while fail(&image, setup, &bytes, fault(nth), seed, random.one_in(40)) {
                    let is_first = matches!(effect, Effect::Fail { .. });
                    nth += if is_first || is_thorough() { 1 } else { 1 + random.below(8) };
                    met += 1;
                }
            }
        }
        eprintln!("{setup:?} seed {seed}: {met} faults");
        assert!(met > 100, "{met}");
    }
}

/// A commit that fails leaves readable what was, and its error in the journal's super block.
#[test]
fn what_an_abort_leaves() {
    let image = V3.image();
    let bytes = std::fs::read(&image.path).unwrap();
    let memory = Arc::new(MemoryDevice::from_bytes(&bytes));
    let device = Arc::new(FaultInjector::new(memory.clone()));
    let mut scenario = Scenario::new(&V3, &image, device.clone(), Sizes::ROOMY, 4);
    scenario.steps(20);
    let next = device.requests(Operation::Write) + 1;
    device
        .inject(Fault { operation: Operation::Write, nth: next, effect: Effect::Fail { errno: 5 } })
        .unwrap();
    let before = scenario.model.get(2600);
    assert!(matches!(scenario.try_commit(50, 5), Err(Error::Io { errno: 5, .. })));
    scenario.model.undo_commit();
    assert!(matches!(before, Cell::Logged(_) | Cell::Free | Cell::Data(..)));
    scenario.check_reads();
    let errno = image.journal_byte(0) as usize + 32;
    assert_eq!(memory.to_bytes()[errno..errno + 4], (-5i32).to_be_bytes());
    std::fs::write(&image.path, memory.to_bytes()).unwrap();
    let said = run_any("e2fsck", &["-fy", path_text(&image.path)]);
    assert!(said.status.code().is_some_and(|code| code < 4), "{said:?}");
    let mut map = image.journal_map();
    let recovery = journal::recover(&*memory, &mut map, &image.geometry(), &mut [0; 16384]).unwrap();
    assert_eq!(recovery.journal_errno, (-5i32).cast_unsigned());
}
