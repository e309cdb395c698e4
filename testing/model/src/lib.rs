//! A model of the gate, page allocation, the pagedaemon and transactions, for a model checker: are F1 to F6 true of the
//! design, in every order of events?
//!
//! Who uses it: `cargo test -p rumpcap-model` (small configurations, and every [`Mutation`] must be caught), `cargo run
//! --release -p rumpcap-model` (every configuration up to 4 threads, 3 objects and 6 frames; the result is docs/model.md).
//! It depends on nothing of the kernel and nothing depends on it.
//!
//! Reading order: [`Config`] the sizes · `state` what there is (`symmetry`: by no names) · `gate`, `fault`, `pagedaemon`, `journal` the steps, each
//! file named as the one in `crates/vm/src` that it is a model of · `model` which step is possible when · `properties` what
//! must hold · [`check`] how it is checked.
//!
//! | in the model | in the code |
//! |---|---|
//! | `enter`, `turn`, `leave`, `notify_first` | `Gate::enter`, the loop of `Gate::enter_in_turn`, `Gate::leave`, the notification of a channel |
//! | `wire`, `unwire` | `WiredRun::new`, `WiredRun::drop` (`Gate::try_wire`, `Resident::wire`) |
//! | `hit`, `wait_for_page` | `PageTable::find` and `Page::pin`, `BusyWait::sleep` |
//! | `take_frame`, `read_ahead` | `Resident::take_frame`, `Vm::make_busy`, `Page::begin` |
//! | `NoFrame`, `look_again`, `sleep_or_ask`, `look_last` | `Vm::wait_for_frame`, from lock to unlock, line by line |
//! | `fill` then `tell`; `fail` | `BusyPages::finish` then `Vm::frame_may_be_free`; `BusyPages::drop` |
//! | `unpin` then `leave` | `Page::unpin` in `PageRef::drop`, then `frame_may_be_free` and `Reservation::drop` |
//! | `round`, `judge` | `Vm::daemon_round`: until the eviction, its end |
//! | `clean`, `io_done` | `dirty::Writing`, which nothing calls for a file system yet |
//! | `serve_gate`, all of `journal` | nothing yet: the plan for writing |
//!
//! What is one step in the model is one critical section, or one access to an atomic, in the code. Threads unpin and pin
//! without the resident lock, so that these steps come between those of a thread that holds it.
//!
//! What the model leaves to chance: which operation a thread begins, which page it wants (one that is here, one that is
//! being read, one that is absent), which clean page is evicted, whether a page is read ahead, whether a read fails,
//! when a cache wires a frame.
//!
//! What it leaves out: the content of pages; the atomics' memory order (`vm/src/atomics.rs` and `vm/tests/schedules` are for
//! that); hits that copy without a reservation; that an eviction looks at one page after the other while others pin; a
//! failed write (the page is clean then, and its error kept); data that must be written before the commit that refers to it; more than one request of
//! the daemon at a time.
//!
//! What it says about writing, for whoever builds it:
//! - The reserve has to be frames that no page ever fills. To leave it out of the gate's count, which is all that reading
//!   needs, is not enough once pages are dirty ([`Mutation::ReserveOnlyCounted`]).
//! - Who waits for frames at the gate has to ask for the commit of the running transaction, even when its own kind of
//!   operation has nothing to do with it ([`Mutation::NoCommitForFrames`]).
//! - Who is woken before it has fallen asleep must look again ([`Mutation::ForgetsWake`]): with dirty pages one more look
//!   for a clean one does not replace that.
//! - The daemon has to remember for whom it was woken, gate or frames, rather than look who waits when it comes to it: who
//!   is just awake to look again is not seen waiting, and asks again, for ever.
//! - Commit waits for open handles beside the daemon's rounds, not in one ([`Mutation::CommitBlocks`]), and only who holds
//!   nothing waits for it ([`Mutation::CommitInside`]). Both break F3 here; that everything then stands still takes more
//!   frames and operations than these configurations have.
//! - The last handle of a transaction need not wake the daemon: leaving the gate wakes the first there, which asks.
#![forbid(unsafe_code)]

pub mod check;
mod config;
mod fault;
mod gate;
mod journal;
mod model;
mod mutation;
mod pagedaemon;
mod properties;
mod state;
mod symmetry;

pub use config::{Config, Daemon, Mix};
pub use model::{Kernel, Step};
pub use mutation::Mutation;
pub use state::{Op, State};
