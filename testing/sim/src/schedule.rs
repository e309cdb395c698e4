//! [`Schedule`]: which thread runs next, from the seed and nothing else.
//!
//! Who calls it: the model checker, at every access to a lock, an atomic or a condition variable of the kernel.
//!
//! Not one of the model checker's own schedulers: those by priority learn the length of a run from the run before, and
//! a run here is alone; and a seed shall mean the same schedule with every version of the model checker.
//!
//! Source of the kind by priorities: S. Burckhardt, P. Kothari, M. Musuvathi, S. Nagarakatte, "A randomized scheduler with
//! probabilistic guarantees of finding bugs", 2010; here with a chance of change at every step.

use crate::trace::{Event, Trace};
use rumpcap_testing::seed::Random;
use shuttle::scheduler::{self, Task, TaskId};
use std::sync::Arc;

/// How the next thread is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any, at every step.
    Uniform,
    /// The same as before, until a chance of one in so many steps.
    Sticky(u64),
    /// The one of highest priority; every so many steps on average it falls to the lowest. Who yields falls too.
    Priorities(u64),
}

/// A schedule of one run.
pub struct Schedule {
    kind: Kind,
    random: Random,
    trace: Arc<Trace>,
    /// Of threads by number: the higher, the sooner.
    priorities: Vec<u64>,
    /// What the next thread to fall gets: below all before.
    lowest: u64,
    is_over: bool,
}

impl Schedule {
    /// The schedule of `kind` that `seed` means.
    pub fn new(kind: Kind, seed: u64, trace: Arc<Trace>) -> Schedule {
        Schedule {
            kind,
            random: Random::new(seed),
            trace,
            priorities: Vec::new(),
            lowest: u64::MAX / 2,
            is_over: false,
        }
    }

    fn choose(&mut self, runnable: &[&Task], current: Option<TaskId>, is_yielding: bool) -> Option<TaskId> {
        let before = runnable.iter().map(|task| task.id()).find(|id| Some(*id) == current);
        match (self.kind, before) {
            (Kind::Sticky(one_in), Some(same)) if !is_yielding && !self.random.one_in(one_in) => Some(same),
            (Kind::Priorities(one_in), _) => {
                if let Some(falls) = current.filter(|_| is_yielding || self.random.one_in(one_in)) {
                    self.lowest -= 1;
                    let lowest = self.lowest;
                    *self.priority(falls) = lowest;
                }
                let mut best = None;
                for id in runnable.iter().map(|task| task.id()) {
                    let priority = *self.priority(id);
                    if best.is_none_or(|(highest, _)| priority > highest) {
                        best = Some((priority, id));
                    }
                }
                best.map(|(_, id)| id)
            }
            _ => Some(self.random.pick(runnable).id()),
        }
    }

    fn priority(&mut self, task: TaskId) -> &mut u64 {
        let at = usize::from(task);
        while self.priorities.len() <= at {
            let above_the_fallen = u64::MAX / 2 + self.random.next() / 2;
            self.priorities.push(above_the_fallen);
        }
        &mut self.priorities[at]
    }
}

impl scheduler::Scheduler for Schedule {
    fn new_execution(&mut self) -> Option<scheduler::Schedule> {
        let was_over = std::mem::replace(&mut self.is_over, true);
        (!was_over).then(|| scheduler::Schedule::new(0))
    }

    fn next_task(
        &mut self,
        runnable: &[&Task],
        current: Option<TaskId>,
        is_yielding: bool,
    ) -> Option<TaskId> {
        let chosen = self.choose(runnable, current, is_yielding)?;
        self.trace.add(Event::Step { task: usize::from(chosen) as u64 });
        Some(chosen)
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next()
    }
}
