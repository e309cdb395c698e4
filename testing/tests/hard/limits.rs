//! Every limit from 64 KiB to 4 MiB in steps of 4 KiB: boot, mount, walk, read and compare, or be refused with the number
//! that would do. Nothing in between.

use crate::support::HANGS;
use rumpcap::Error;
use rumpcap_testing::images::{Kind, Spec, Tree};
use rumpcap_testing::oracle::{self, Description};
use rumpcap_testing::watchdog::Watchdog;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const FIRST: u64 = 64 << 10;
const LAST: u64 = 4 << 20;
const STEP: u64 = 4 << 10;
const WORKERS: usize = 2;

/// Everything that the image holds, within `limit` bytes, must be what the oracle says.
fn compare(image: &Path, expected: &Description, limit: u64) -> Result<(), Error> {
    let found = oracle::by_library(image, Some(limit))?;
    match oracle::diff(expected, &found) {
        None => Ok(()),
        Some(difference) => panic!("at {limit} bytes: {difference}"),
    }
}

/// Gives the number that would do, where the limit is refused.
fn try_limit(image: &Path, expected: &Description, limit: u64) -> Option<u64> {
    match compare(image, expected, limit) {
        Ok(()) => None,
        Err(Error::LimitTooSmall { need, have }) => {
            assert_eq!(have, limit, "the limit is not the one given");
            assert!(need > have, "{need} bytes would do, it says, and refuses {have}");
            Some(need)
        }
        Err(error) => panic!("at {limit} bytes: {error}"),
    }
}

#[test]
fn every_limit_works_or_names_one_that_does() {
    let spec = Spec::new("limits", Kind::Ext4).tree(Tree::Tiny).size(8).block(1024);
    let image = spec.image();
    let (expected, _) = oracle::describe(&image);
    assert!(expected.entries.len() > 50, "{} entries", expected.entries.len());
    let watchdog = Watchdog::new(WORKERS, HANGS);
    let (next, refusals) = (AtomicU64::new(FIRST), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (image, expected, watchdog, next, refusals) =
                (&image, &expected, &watchdog, &next, &refusals);
            scope.spawn(move || {
                loop {
                    let limit = next.fetch_add(STEP, Relaxed);
                    if limit > LAST {
                        break;
                    }
                    watchdog.begin(worker, format!("a limit of {limit} bytes"));
                    if let Some(need) = try_limit(image, expected, limit) {
                        refusals.fetch_add(1, Relaxed);
                        assert_eq!(try_limit(image, expected, need), None, "{need} bytes do not do");
                        let less = try_limit(image, expected, need - 1);
                        assert_eq!(
                            less,
                            Some(need),
                            "a byte less than {need} does too, or asks for another number"
                        );
                    }
                }
                watchdog.end(worker);
            });
        }
    });
    let refusals = refusals.into_inner();
    println!("{refusals} of {} limits were refused", (LAST - FIRST) / STEP + 1);
    assert!(refusals > 0 && refusals < 50, "{refusals} limits were refused");
}
