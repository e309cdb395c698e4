//! The injector over a device in memory: what is hit, how often, and with what effect.

use super::*;
use crate::MemoryDevice;

fn injector(faults: &[(Operation, u64, Effect)]) -> (Arc<MemoryDevice>, FaultInjector) {
    let memory = Arc::new(MemoryDevice::from_bytes(&[1; 100]));
    let injector = FaultInjector::new(memory.clone());
    for (operation, nth, effect) in faults.iter().copied() {
        injector.inject(Fault { operation, nth, effect }).unwrap();
    }
    (memory, injector)
}

#[test]
fn fails_the_nth_and_only_it() {
    let fail = Effect::Fail { errno: 28 };
    let (memory, device) = injector(&[(Operation::Write, 2, fail), (Operation::Flush, 1, fail)]);
    let write = |at| device.write_at(at, &mut [IoSlice::new(&[2])]);
    let results = [write(0), write(1), write(2)];
    assert_eq!(results, [Ok(()), Err(Error::Io { errno: 28, at: 1 }), Ok(())]);
    assert_eq!(memory.to_bytes()[..4], [2, 1, 2, 1]);
    assert!(device.flush().is_err() && device.flush().is_ok());
    device.read_at(0, &mut [IoSliceMut::new(&mut [0])]).unwrap();
    let counts = [Operation::Read, Operation::Write, Operation::Flush].map(|o| device.requests(o));
    assert_eq!((counts, device.fired()), ([1, 3, 2], 2));
}

#[test]
fn a_device_that_is_gone_stays_gone_until_reset() {
    let (_, device) = injector(&[(Operation::Read, 2, Effect::FailFromNowOn { errno: 5 })]);
    let read = || device.read_at(0, &mut [IoSliceMut::new(&mut [0])]);
    assert!(read().is_ok() && read().is_err() && read().is_err());
    device.reset();
    assert!(read().is_ok() && read().is_ok());
}

#[test]
fn tears() {
    let tear = Effect::Tear { bytes: 3 };
    let silently = Effect::TearSilently { bytes: 3 };
    let (memory, device) = injector(&[
        (Operation::Write, 1, tear),
        (Operation::Write, 2, silently),
        (Operation::Read, 1, tear),
        (Operation::Read, 2, silently),
    ]);
    let write = |at| device.write_at(at, &mut [IoSlice::new(&[2, 2]), IoSlice::new(&[3, 3])]);
    assert_eq!(write(0), Err(Error::Io { errno: 5, at: 3 }));
    assert_eq!(write(10), Ok(()));
    assert_eq!(memory.to_bytes()[..15], [2, 2, 3, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 1, 1]);
    let (mut a, mut b) = ([0; 2], [0; 2]);
    let mut read = || device.read_at(0, &mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]);
    assert_eq!(read(), Err(Error::Io { errno: 5, at: 3 }));
    assert_eq!(read(), Ok(()));
    assert_eq!((a, b), ([2, 2], [3, TORN_READ_FILL]));
}

#[test]
fn holds_until_released() {
    let (memory, device) = injector(&[(Operation::Write, 1, Effect::Hold)]);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| device.write_at(0, &mut [IoSlice::new(&[2])]));
        while device.held() == 0 {
            std::thread::yield_now();
        }
        assert_eq!(memory.to_bytes()[0], 1);
        device.release();
        writer.join().unwrap().unwrap();
    });
    assert_eq!((memory.to_bytes()[0], device.held()), (2, 0));
}

#[test]
fn faults_are_bounded() {
    let (_, device) = injector(&[]);
    let fault = Fault { operation: Operation::Read, nth: 1, effect: Effect::Delay { milliseconds: 0 } };
    (0..FaultInjector::MAX_FAULTS).for_each(|_| device.inject(fault).unwrap());
    assert!(device.inject(fault).is_err());
}

#[test]
fn a_fault_that_recurs_comes_again_and_one_that_comes_once_comes_before_it() {
    let (_, device) = injector(&[(Operation::Read, 4, Effect::Fail { errno: 28 })]);
    let fail = Effect::Fail { errno: 5 };
    device.inject_recurring(Recurring { operation: Operation::Read, every: 2, effect: fail }).unwrap();
    let read = || device.read_at(0, &mut [IoSliceMut::new(&mut [0])]).err().map(Error::errno);
    let errors: Vec<_> = (0..6).map(|_| read()).collect();
    assert_eq!(errors, [None, Some(5), None, Some(28), None, Some(5)]);
    device.reset();
    assert_eq!((read(), read()), (None, None));
}
