//! Tests of the events of `tracing`: every round of the pagedaemon is told once, with what the report counts.

use crate::{BootOptions, Daemon, Reclaim, Vm};
use core::sync::atomic::Ordering::Relaxed;
use rumpcap_host::sync::Arc;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Mutex;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// An event's fields, as text.
type Fields = BTreeMap<&'static str, String>;

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Listener(std::sync::Arc<Mutex<Vec<Fields>>>);

struct Fill<'a>(&'a mut Fields);

impl Visit for Fill<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let metadata = event.metadata();
        let about = [("target", metadata.target().to_owned()), ("level", metadata.level().to_string())];
        let mut fields = Fields::from(about);
        event.record(&mut Fill(&mut fields));
        self.0.lock().expect("nobody panics with it").push(fields);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// A cache that gives 7 items for each call, and two empty slabs at the first.
#[derive(Default)]
struct Cache(std::sync::atomic::AtomicBool);

impl Reclaim for Cache {
    fn give_back_empty(&self) -> u64 {
        if self.0.swap(true, Relaxed) { 0 } else { 2 }
    }
    fn reclaim(&self) -> u64 {
        7
    }
}

#[test]
fn every_round_of_the_daemon_is_told() {
    let listener = Listener::default();
    let limit_bytes = Some(256 << 10);
    let vm = Vm::boot(BootOptions { limit_bytes, daemon: Daemon::Inline, ..BootOptions::default() })
        .expect("booting");
    let cache: Arc<dyn Reclaim> = Arc::new(Cache::default());
    vm.register_reclaim(Arc::downgrade(&cache));
    vm.daemon_round();
    tracing::subscriber::with_default(listener.clone(), || {
        vm.daemon_round();
        // Somebody waits for a frame, and there is none to give.
        vm.frame_waiters.fetch_add(1, Relaxed);
        vm.daemon_round();
        vm.frame_waiters.fetch_sub(1, Relaxed);
    });
    let (events, report) = (listener.0.lock().expect("nobody panics with it").clone(), vm.report());
    assert_eq!((report.daemon_rounds, report.stuck), (3, 1));
    let [second, warning, third] = &events[..] else { panic!("{events:?}") };
    let told = |event: &Fields, fields: &[(&str, &str)]| {
        fields.iter().all(|(field, value)| event.get(field).is_some_and(|is| is == value))
    };
    let counts = [("caches", "0"), ("pages", "0"), ("callbacks", "7"), ("pools", "0"), ("hungry", "true")];
    assert!(told(second, &counts) && told(second, &[("round", "2"), ("stuck", "false"), ("waiters", "0")]));
    assert!(told(third, &counts) && told(third, &[("round", "3"), ("stuck", "true"), ("waiters", "1")]));
    assert!(told(warning, &[("level", "WARN"), ("round", "3"), ("waiters", "1")]), "{warning:?}");
    assert!(events.iter().all(|event| event["target"] == "rumpcap_vm::pagedaemon"), "{events:?}");
}
