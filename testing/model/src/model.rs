//! The steps that are possible in a state, as [`stateright::Model`] wants them.

use crate::config::{Config, MAX_THREADS, Mix};
use crate::properties;
use crate::state::{Kind, Op, Phase, Round, State, bit};
use stateright::{Model, Property};

/// The model of one configuration.
#[derive(Clone, Debug)]
pub struct Kernel(pub Config);

/// A step. Numbers of threads and frames are those of the state that it is taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A thread comes to the gate.
    Enter(usize, Op),
    /// A thread in the queue looks whether it is its turn.
    Turn(usize),
    /// Takes the lock of the cache.
    TakeLock(usize),
    /// Finds its page in a frame.
    Hit(usize, usize),
    /// Finds its page under I/O.
    WaitForPage(usize, usize),
    /// Takes a frame for a page that is not here.
    Miss {
        /// Who.
        thread: usize,
        /// What of.
        object: u8,
        /// The clean page that goes for it, if no frame is free.
        victim: Option<usize>,
        /// With a page read ahead.
        ahead: bool,
    },
    /// Finds no frame, and holds the resident lock.
    NoFrame(usize),
    /// Goes on in `wait_for_frame`.
    Wait(usize),
    /// Its read ends.
    Fill(usize),
    /// Tells those who wait for frames.
    Tell(usize),
    /// Its read fails.
    Fail(usize),
    /// Modifies and unpins.
    Unpin(usize),
    /// Leaves the gate.
    Leave(usize),
    /// A cache wires a frame.
    Wire,
    /// The daemon begins a round.
    Round,
    /// The daemon ends a round.
    Judge,
    /// The daemon's I/O ends.
    IoDone,
    /// The daemon gets what it waited for (mutations only).
    GoOn,
    /// Unmount, when all is done.
    Flush,
}

impl Model for Kernel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        State::initials(&self.0)
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for thread in 0..MAX_THREADS {
            self.steps_of(state, thread, steps);
        }
        let is_locked = state.resident_is_locked();
        if state.can_wire(&self.0) && !is_locked && !state.all_done() {
            steps.push(Step::Wire);
        }
        let daemon = match state.daemon {
            Round::None if state.is_asked() => Some(Step::Round),
            Round::None if state.all_done() && !is_flushed(state) => Some(Step::Flush),
            Round::Judging { .. } => Some(Step::Judge),
            Round::Cleaning | Round::Journal => Some(Step::IoDone),
            Round::OnLock if !state.lock_is_taken() => Some(Step::GoOn),
            Round::OnHandles if state.open_handles() == 0 => Some(Step::GoOn),
            _ => None,
        };
        steps.extend(daemon.filter(|_| !is_locked));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = *last;
        self.take(&mut state, step);
        Some(state.canonical())
    }

    fn properties(&self) -> Vec<Property<Kernel>> {
        properties::all()
    }
}

impl Kernel {
    /// Whether something must happen: a cache need not wire.
    pub(crate) fn has_step(&self, state: &State) -> bool {
        let is_awake =
            |phase| matches!(phase, Phase::Outside | Phase::Turn | Phase::Holding | Phase::Filling);
        if state.threads.iter().any(|thread| is_awake(thread.phase)) {
            return true;
        }
        let mut steps = Vec::new();
        self.actions(state, &mut steps);
        steps.iter().any(|step| *step != Step::Wire)
    }

    fn steps_of(&self, state: &State, thread: usize, steps: &mut Vec<Step>) {
        let is_locked = state.resident_is_locked();
        match state.threads[thread].phase {
            Phase::Outside => steps.extend(self.operations().iter().map(|op| Step::Enter(thread, *op))),
            Phase::Turn => steps.push(Step::Turn(thread)),
            Phase::TakeLock if !state.lock_is_taken() => steps.push(Step::TakeLock(thread)),
            Phase::Look => self.looks(state, thread, steps),
            Phase::NoFrame | Phase::Counted | Phase::LookedAgain => steps.push(Step::Wait(thread)),
            Phase::Ask if state.daemon == Round::None && !is_locked => steps.push(Step::Wait(thread)),
            Phase::Asked if !is_locked => steps.push(Step::Wait(thread)),
            Phase::Filling => {
                steps.push(Step::Fill(thread));
                if state.faults_left > 0 && !is_locked {
                    steps.push(Step::Fail(thread));
                }
            }
            Phase::Filled if !is_locked => steps.push(Step::Tell(thread)),
            Phase::Holding => steps.push(Step::Unpin(thread)),
            Phase::Unpinned if !is_locked => steps.push(Step::Leave(thread)),
            _ => {}
        }
    }

    fn operations(&self) -> &'static [Op] {
        match (self.0.mix, self.0.objects) {
            (Mix::Reads, _) | (Mix::Data, 1) => &[Op::Read, Op::ReadTwo, Op::ReadLocked],
            (Mix::Data, _) => &[Op::Read, Op::ReadTwo, Op::ReadLocked, Op::Write],
            (Mix::Transactions, _) | (Mix::All, 1) => {
                &[Op::Read, Op::ReadTwo, Op::ReadLocked, Op::Transaction]
            }
            (Mix::All, _) => &[Op::Read, Op::ReadTwo, Op::ReadLocked, Op::Write, Op::Transaction],
        }
    }

    /// What a look for the next page may meet.
    fn looks(&self, state: &State, thread: usize, steps: &mut Vec<Step>) {
        let op = state.threads[thread].op;
        for (n, frame) in state.frames.iter().enumerate() {
            let is_same_as_last = n > 0 && state.frames[n - 1] == *frame;
            let is_ours = frame.pins & bit(thread) != 0;
            if frame.is_page() && op.may_use(frame.object) && !is_same_as_last && !is_ours {
                let waits = State::must_wait_for(&self.0, op, frame.kind);
                steps.push(if waits { Step::WaitForPage(thread, n) } else { Step::Hit(thread, n) });
            }
        }
        if state.resident_is_locked() {
            return;
        }
        for object in (0..self.0.objects).filter(|object| op.may_use(*object)) {
            self.misses(state, thread, object, steps);
        }
    }

    fn misses(&self, state: &State, thread: usize, object: u8, steps: &mut Vec<Step>) {
        let may_read_ahead = state.can_read_ahead(&self.0);
        let mut take = |victim| {
            steps.push(Step::Miss { thread, object, victim, ahead: false });
            if may_read_ahead {
                steps.push(Step::Miss { thread, object, victim, ahead: true });
            }
        };
        if state.count(Kind::Free) > 0 {
            return take(None);
        }
        let victims = state.victims(&self.0, object);
        victims.iter().for_each(|victim| take(Some(*victim)));
        if victims.is_empty() && !steps.contains(&Step::NoFrame(thread)) {
            steps.push(Step::NoFrame(thread));
        }
    }

    fn take(&self, state: &mut State, step: Step) {
        let config = &self.0;
        match step {
            Step::Enter(thread, op) => state.enter(config, thread, op),
            Step::Turn(thread) => state.turn(config, thread),
            Step::TakeLock(thread) => state.threads[thread].phase = Phase::Look,
            Step::Hit(thread, frame) => state.hit(thread, frame),
            Step::WaitForPage(thread, frame) => state.wait_for_page(thread, frame),
            Step::Miss { thread, object, victim, ahead } => {
                state.take_frame(config, thread, object, victim);
                if ahead {
                    state.read_ahead(config, thread, object);
                }
            }
            Step::NoFrame(thread) => state.threads[thread].phase = Phase::NoFrame,
            Step::Wait(thread) => self.wait(state, thread),
            Step::Fill(thread) => state.fill(config, thread),
            Step::Tell(thread) => state.tell(config, thread),
            Step::Fail(thread) => state.fail(config, thread),
            Step::Unpin(thread) => state.unpin(thread),
            Step::Leave(thread) => state.leave(config, thread),
            Step::Wire => state.wire(),
            Step::Round => state.round(config),
            Step::Judge => {
                if let Round::Judging { freed, is_fruitless } = state.daemon {
                    state.judge(config, freed, is_fruitless);
                }
            }
            Step::IoDone => state.io_done(config),
            Step::GoOn => self.go_on(state),
            Step::Flush => state.flush(config),
        }
    }

    fn wait(&self, state: &mut State, thread: usize) {
        match state.threads[thread].phase {
            Phase::NoFrame => state.threads[thread].phase = Phase::Counted,
            Phase::Counted => state.look_again(thread),
            Phase::LookedAgain => state.sleep_or_ask(&self.0, thread),
            Phase::Ask => state.round_inside(&self.0, thread),
            _ => state.look_last(thread),
        }
    }

    fn go_on(&self, state: &mut State) {
        let was = state.daemon;
        state.daemon = Round::None;
        match was {
            Round::OnLock if state.count(Kind::Wired) > 0 => state.unwire(),
            Round::OnHandles => state.commit(&self.0),
            _ => {}
        }
        if state.daemon == Round::None {
            state.judge(&self.0, was == Round::OnLock, false);
        }
    }
}

/// Whether nothing is left to be written.
pub(crate) fn is_flushed(state: &State) -> bool {
    let is_at_rest = |kind| matches!(kind, Kind::None | Kind::Free | Kind::Clean | Kind::Wired);
    state.frames.iter().all(|frame| is_at_rest(frame.kind)) && !state.is_closed
}
