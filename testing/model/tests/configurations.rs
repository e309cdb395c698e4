//! The small configurations of the sweep: everything holds, and what the properties are about has been seen.

use rumpcap_model::check::{check, explain, must_be_seen};
use rumpcap_model::{Config, Daemon, Mix};

fn all_holds(config: Config) -> Vec<&'static str> {
    let verdict = check(config);
    if let Some(property) = verdict.broken.first() {
        panic!("{property} fails in {config:?}: {}", explain(config, property).unwrap_or_default());
    }
    verdict.seen
}

#[test]
fn the_small_configurations_hold_and_show_what_matters() {
    let mut seen = Vec::new();
    for daemon in [Daemon::Thread, Daemon::Inline] {
        for (threads, objects, frames) in [(1, 3, 6), (2, 1, 3), (2, 2, 3), (3, 1, 4), (3, 2, 3), (4, 1, 3)] {
            seen.extend(all_holds(Config::new(threads, objects, frames, daemon, Mix::All)));
        }
        seen.extend(all_holds(Config { operations: 1, ..Config::new(2, 2, 4, daemon, Mix::All) }));
    }
    let missing: Vec<_> = must_be_seen().into_iter().filter(|what| !seen.contains(what)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}");
}

/// Not only from an empty memory: from every mixture of clean, dirty and logged pages.
#[test]
fn whatever_was_left_in_memory_the_rest_holds() {
    for (threads, objects, frames) in [(2, 1, 3), (2, 1, 4), (2, 2, 4)] {
        let config = Config::new(threads, objects, frames, Daemon::Inline, Mix::All);
        all_holds(Config { operations: 1, is_aged: true, ..config });
    }
}

#[test]
fn the_kernel_as_it_is_today_holds() {
    for daemon in [Daemon::Thread, Daemon::Inline] {
        for (objects, frames) in [(1, 3), (2, 4), (1, 6)] {
            all_holds(Config::new(3, objects, frames, daemon, Mix::Reads));
        }
    }
}

#[test]
fn the_sweep_is_every_configuration() {
    let sweep = Config::sweep();
    assert_eq!(sweep.len(), 4 * 3 * 4 * 2);
    assert!(sweep.iter().all(|config| config.mutation.is_none() && config.mix == Mix::All));
}
