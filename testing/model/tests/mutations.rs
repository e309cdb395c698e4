//! Each rule that is taken away is missed: the property that it stands for fails.

use rumpcap_model::check::{ENDS, check};
use rumpcap_model::{Config, Daemon, Mix, Mutation};

const DEADLOCK: &str = "no deadlock";

/// A mutation, the configuration that shows it (threads, objects, frames, daemon, mix), and what must fail there.
type Case = (Mutation, (u8, u8, u8), Daemon, Mix, &'static [&'static str]);

#[rustfmt::skip]
const CASES: &[Case] = &[
    (Mutation::NoGate,             (2, 2, 3), Daemon::Thread, Mix::Reads,        &["F2", "F6", ENDS]),
    (Mutation::NoFifo,             (3, 1, 3), Daemon::Thread, Mix::Reads,        &["F1"]),
    (Mutation::NoReserve,          (2, 2, 3), Daemon::Inline, Mix::Transactions, &["F3", ENDS]),
    (Mutation::ReserveOnlyCounted, (3, 1, 3), Daemon::Inline, Mix::Transactions, &["F3", "F6", ENDS]),
    (Mutation::NoGateWake,         (2, 2, 3), Daemon::Thread, Mix::Reads,        &[DEADLOCK]),
    (Mutation::NoBusyWake,         (2, 2, 3), Daemon::Thread, Mix::Reads,        &[DEADLOCK]),
    (Mutation::NoFrameWake,        (2, 2, 4), Daemon::Inline, Mix::Reads,        &[DEADLOCK]),
    (Mutation::ForgetsWake,        (2, 2, 4), Daemon::Inline, Mix::Reads,        &[DEADLOCK]),
    (Mutation::ForgetsWake,        (2, 2, 4), Daemon::Thread, Mix::Reads,        &[DEADLOCK]),
    (Mutation::NoDaemonWake,       (2, 2, 3), Daemon::Inline, Mix::Transactions, &[DEADLOCK]),
    (Mutation::BlockingLock,       (3, 1, 4), Daemon::Thread, Mix::Transactions, &["F3", DEADLOCK]),
    (Mutation::CreditsNotCounted,  (2, 2, 3), Daemon::Inline, Mix::Transactions, &["F2", "F6", ENDS]),
    (Mutation::JournalNotCounted,  (3, 1, 3), Daemon::Inline, Mix::Transactions, &["F5", ENDS]),
    (Mutation::CommitNeedsMemory,  (3, 1, 3), Daemon::Thread, Mix::Transactions, &["F2", "F3", DEADLOCK]),
    (Mutation::CommitBlocks,       (2, 2, 3), Daemon::Thread, Mix::Transactions, &["F3"]),
    (Mutation::CommitInside,       (2, 2, 3), Daemon::Inline, Mix::Transactions, &["F3"]),
    (Mutation::NoCommitForFrames,  (2, 2, 3), Daemon::Inline, Mix::Transactions, &[DEADLOCK]),
    (Mutation::WritesRunning,      (2, 2, 3), Daemon::Inline, Mix::Transactions, &["F5"]),
    (Mutation::ModifiesCommitting, (3, 2, 4), Daemon::Thread, Mix::Transactions, &["F5"]),
    (Mutation::NoPinCheck,         (2, 2, 3), Daemon::Inline, Mix::Reads,        &["pins"]),
    (Mutation::NoSelfRecycling,    (3, 2, 5), Daemon::Inline, Mix::Reads,        &["F4"]),
    (Mutation::LateJudgement,      (2, 2, 3), Daemon::Thread, Mix::Transactions, &["F6"]),
    (Mutation::EndlessRound,       (3, 2, 4), Daemon::Thread, Mix::Reads,        &[ENDS]),
];

#[test]
fn every_mutation_is_caught() {
    for (mutation, (threads, objects, frames), daemon, mix, must_fail) in CASES {
        let sound = Config { operations: 1, ..Config::new(*threads, *objects, *frames, *daemon, *mix) };
        let broken = check(sound.with(*mutation)).broken;
        let missing: Vec<_> = must_fail.iter().filter(|property| !broken.contains(property)).collect();
        assert!(missing.is_empty(), "{mutation:?}: {missing:?} should fail; what fails is {broken:?}");
    }
}

#[test]
fn no_mutation_is_forgotten() {
    let is_shown = |mutation: &Mutation| CASES.iter().any(|(shown, ..)| shown == mutation);
    assert!(Mutation::ALL.iter().all(is_shown));
}
