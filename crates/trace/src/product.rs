//! Replays a trace against a real [`Vm`]: the policies that the product has, and no copy of them.
//!
//! Who calls it: `curves`, `cargo xtask policies`. Whom it calls: `vm` through its public interface, with a pager that
//! reads nothing.
//!
//! At the limit and under the policy of the recording, with its read-ahead, by one thread, this sees what the recorded kernel
//! saw as far as a trace tells: there an operation may pin some pages while it asks for another, here one page is pinned at a
//! time, and an object is made when its first page is asked for. Walks come out the same to the page; loops that are longer than the
//! memory make much of small differences (docs/bench/policies.md).
//! At other limits it stands for a kernel under that limit as far as a trace can tell: what was a hit says nothing of how far
//! a read would have asked ahead, and what is wired is in proportion (`wiring`).
//!
//! Memory: the limit, of which the host commits little, since no page is filled.

use crate::load::{Outcome, PageName, Step, Trace};
use crate::wiring::Wiring;
use rumpcap_host::Result;
use rumpcap_vm::{BootOptions, BusyPages, Daemon, ObjectId, PageIndex, Pager, PolicyKind, Vm, WiredRun};
use std::collections::HashMap;
use std::sync::Arc;

/// Whether pages are read ahead in a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadAhead {
    /// Never: what is counted is the policy's doing alone, and the optimum is the least that it can be.
    #[default]
    None,
    /// As the recorded kernel asked for it.
    Recorded,
}

/// What came of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Accesses that did not find their page.
    pub misses: u64,
    /// Of these, of metadata.
    pub metadata_misses: u64,
    /// Pages that were read: one for each miss, and those read ahead.
    pub pages_read: u64,
}

/// Replays `trace` with `policy` under `limit_bytes`.
///
/// # Errors
/// `LimitTooSmall`; `Host` when the host refuses the memory.
pub fn replay(
    trace: &Trace,
    policy: PolicyKind,
    limit_bytes: u64,
    read_ahead: ReadAhead,
) -> Result<Replayed> {
    let options = BootOptions { limit_bytes: Some(limit_bytes), policy, daemon: Daemon::Inline, trace: None };
    let vm = Vm::boot(options)?;
    let wiring = Wiring::new(trace, vm.plan().frames);
    let mut product = Product { objects: Objects::new(&vm), wired: Wired::new(&vm), vm, wiring, read_ahead };
    let mut replayed = Replayed::default();
    for (now, step) in trace.steps.iter().enumerate() {
        match *step {
            Step::Access { page, outcome } => {
                let name = trace.pages[page as usize];
                let may_pass = trace.may_pass[page as usize];
                let is_miss = !product.access(name, outcome, may_pass, now)?;
                replayed.misses += u64::from(is_miss);
                replayed.metadata_misses += u64::from(is_miss && name.is_metadata);
            }
            Step::Gone { object } => product.objects.forget(object),
            Step::Wired { .. } | Step::Unwired { .. } => product.wire(*step),
        }
    }
    replayed.pages_read = replayed.misses + product.vm.report().read_ahead_pages;
    Ok(replayed)
}

/// Fills no page: nobody looks at them.
struct Nothing;

impl Pager for Nothing {
    fn get(&self, _: &mut BusyPages<'_>) -> Result<()> {
        Ok(())
    }
}

struct Product {
    // Before the memory that they are of.
    objects: Objects,
    wired: Wired,
    vm: Arc<Vm>,
    wiring: Wiring,
    read_ahead: ReadAhead,
}

impl Product {
    /// Asks for a page; says whether it was there.
    fn access(&mut self, page: PageName, outcome: Outcome, may_pass: bool, now: usize) -> Result<bool> {
        let object = self.objects.get(page.object, now)?;
        let index = PageIndex(page.index);
        let r = self.vm.reserve(1);
        if self.vm.resident_page(&r, object, index).is_some() {
            return Ok(true);
        }
        let is_asked_whole = outcome == Outcome::Passed || (may_pass && outcome == Outcome::Hit);
        if is_asked_whole && !self.vm.asked_lately(object, index) {
            return Ok(false);
        }
        let ahead = match (self.read_ahead, outcome) {
            (ReadAhead::Recorded, Outcome::Read(ahead)) => ahead.into(),
            _ => 0,
        };
        self.vm.page(&r, object, index, ahead, &Nothing).map(|_| false)
    }

    fn wire(&mut self, step: Step) {
        let has_changed = self.wiring.step(step);
        match step {
            Step::Wired { first, frames } if self.wiring.is_as_recorded() => {
                self.wired.wire_run(first, frames)
            }
            Step::Unwired { first, .. } if self.wiring.is_as_recorded() => self.wired.unwire_run(first),
            _ if has_changed => self.wired.wire_in_all(self.wiring.wired()),
            _ => {}
        }
    }
}

/// The objects of the trace that are alive in the replay.
struct Objects {
    vm: Arc<Vm>,
    /// By their numbers in the trace: the object here, and the step of its last access.
    live: HashMap<u32, (ObjectId, usize)>,
}

impl Objects {
    fn new(vm: &Arc<Vm>) -> Objects {
        Objects { vm: vm.clone(), live: HashMap::new() }
    }

    /// Objects are made in the order in which they were first accessed, so that they have the recording's numbers, and pages
    /// share the buckets that they shared there. Where a small limit has room for fewer objects, the one that was used
    /// longest ago goes, as its vnode would have.
    fn get(&mut self, number: u32, now: usize) -> Result<ObjectId> {
        if let Some((object, last)) = self.live.get_mut(&number) {
            *last = now;
            return Ok(*object);
        }
        let made = self.vm.create_object();
        let object = made.or_else(|error| {
            let oldest = self.live.iter().min_by_key(|(_, (_, last))| *last).map(|(number, _)| *number);
            self.forget(oldest.ok_or(error)?);
            self.vm.create_object()
        })?;
        self.live.insert(number, (object, now));
        Ok(object)
    }

    fn forget(&mut self, number: u32) {
        if let Some((object, _)) = self.live.remove(&number) {
            self.vm.destroy_object(object);
        }
    }
}

/// Frames that are no pages'.
struct Wired {
    vm: Arc<Vm>,
    /// By the first frame in the recording.
    runs: HashMap<u32, WiredRun>,
    singles: Vec<WiredRun>,
}

impl Wired {
    fn new(vm: &Arc<Vm>) -> Wired {
        Wired { vm: vm.clone(), runs: HashMap::new(), singles: Vec::new() }
    }

    /// Frames that are refused stay the pages': the recorded kernel was not refused, so this is rare.
    fn wire_run(&mut self, first: u32, frames: u32) {
        if let Ok(run) = WiredRun::buffer(&self.vm, frames, "a replay") {
            self.runs.insert(first, run);
        }
    }

    fn unwire_run(&mut self, first: u32) {
        self.runs.remove(&first);
    }

    fn wire_in_all(&mut self, frames: u32) {
        self.singles.truncate(frames as usize);
        while self.singles.len() < frames as usize {
            let Ok(run) = WiredRun::buffer(&self.vm, 1, "a replay") else { return };
            self.singles.push(run);
        }
    }
}
