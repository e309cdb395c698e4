//! Checking one configuration: what must always hold by stateright, that every run ends by a search of our own.
//!
//! Stateright's `eventually` overlooks cycles and joins, as its documentation says. So the model is made to have no cycle
//! at all, which [`endless_run`] checks: each thread has so many operations, and every wait is for a step of another. Then
//! "no deadlock" and "every run ends" say together that under any schedule, fair or not, each operation is served, after a
//! bounded number of steps: no starvation.

use crate::state::State;
use crate::{Config, Kernel, Step, properties};
use stateright::{Checker, Expectation, Model};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What was found.
#[derive(Debug)]
pub struct Verdict {
    /// States, apart from symmetry.
    pub states: usize,
    /// Properties that do not hold.
    pub broken: Vec<&'static str>,
    /// What was seen of that which must be seen somewhere.
    pub seen: Vec<&'static str>,
}

/// Name of the property that every run ends.
pub const ENDS: &str = "every run ends";

/// What must be seen in some configuration, or the properties say little.
pub fn must_be_seen() -> Vec<&'static str> {
    let all = properties::all().into_iter();
    all.filter(|property| property.expectation == Expectation::Sometimes)
        .map(|property| property.name)
        .collect()
}

/// Checks everything.
pub fn check(config: Config) -> Verdict {
    let checker = Kernel(config).checker().spawn_bfs().join();
    let (mut broken, mut seen) = (Vec::new(), Vec::new());
    for property in properties::all() {
        if checker.discovery(property.name).is_some() {
            let list = if property.expectation == Expectation::Sometimes { &mut seen } else { &mut broken };
            list.push(property.name);
        }
    }
    let states = checker.unique_state_count();
    drop(checker);
    if endless_run(&Kernel(config)).is_some() {
        broken.push(ENDS);
    }
    Verdict { states, broken, seen }
}

/// The shortest way to what breaks `property`, and where it leads, for reading; `None` if it holds.
pub fn explain(config: Config, property: &'static str) -> Option<String> {
    if property == ENDS {
        return endless_run(&Kernel(config)).map(|run| format!("for ever: {run:?}"));
    }
    let path = Kernel(config).checker().spawn_bfs().join().discovery(property)?;
    Some(format!("{path}{:#?}", path.last_state()))
}

/// A state on the way of [`endless_run`].
struct Visit {
    name: u64,
    state: State,
    /// The step that led here.
    by: Option<Step>,
    /// Steps from here that are still to be taken.
    steps: Vec<Step>,
}

impl Visit {
    fn new(kernel: &Kernel, state: State, by: Option<Step>) -> Visit {
        let mut steps = Vec::new();
        kernel.actions(&state, &mut steps);
        Visit { name: name(&state), state, by, steps }
    }
}

/// States are told apart by 64 bits, here as in stateright.
fn name(state: &State) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// A run that goes on for ever: the steps of a cycle in the graph of states. Depth first; a cycle is a step back to a state
/// on the way.
pub fn endless_run(kernel: &Kernel) -> Option<Vec<Step>> {
    let mut is_on_way = HashMap::new();
    let mut way: Vec<Visit> =
        kernel.init_states().into_iter().map(|state| Visit::new(kernel, state, None)).collect();
    while let Some(visit) = way.last_mut() {
        is_on_way.entry(visit.name).or_insert(true);
        let Some(step) = visit.steps.pop() else {
            is_on_way.insert(visit.name, false);
            way.pop();
            continue;
        };
        let Some(next) = kernel.next_state(&visit.state, step) else { continue };
        let first = name(&next);
        match is_on_way.get(&first) {
            Some(false) => {}
            Some(true) => {
                let cycle = way.iter().skip_while(|visit| visit.name != first).skip(1);
                return Some(cycle.filter_map(|visit| visit.by).chain([step]).collect());
            }
            None => way.push(Visit::new(kernel, next, Some(step))),
        }
    }
    None
}
