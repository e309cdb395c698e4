//! Recorded page accesses: written while a kernel runs, replayed under every policy and limit, compared with the optimum.
//!
//! Who calls it: the command (`rumpcap trace`) and `cargo xtask policies`. Whom it calls: `vm`, whose real policies it runs.
//! It stands beside the library: neither may depend on the other.
//!
//! Reading order: `format` is the file · `writer`, `reader` · [`Recorder`] listens to a kernel · [`Trace`] is a file in
//! memory · `product` replays one against a real [`rumpcap_vm::Vm`] · `belady` is the optimum, `simulators` are policies that
//! are not in the product · `curves` does all of that for a list of limits · `svg` draws it.
//!
//! Memory: this is the outside; it uses the heap. Writing and reading take a constant amount, a [`Trace`] 12 bytes a step.
#![forbid(unsafe_code)]

mod belady;
mod curves;
pub mod format;
mod load;
mod product;
mod reader;
mod recorder;
mod simulators;
mod svg;
mod wiring;
mod writer;

pub use curves::{Contender, Curves, Limit, Misses, curves};
pub use load::{Outcome, PageName, Recorded, Step, Trace};
pub use product::{ReadAhead, Replayed, replay};
pub use reader::{Fault, Reader};
pub use recorder::Recorder;
pub use svg::draw;
pub use writer::Writer;
