//! The proof of writing: random operations, a model of what they do in memory, and the means to compare the two.
//!
//! Who calls it: `testing/tests/writing`. A [`Generator`] looks at the [`Model`] and makes the next [`Op`]; a [`Target`] applies it: the
//! library ([`LibraryTarget`]) or the host's own file system ([`HostTarget`], which judges the model). [`Run`] drives both, compares what they
//! answer and what is there afterwards ([`compare()`]), and makes a failing sequence small. A [`Recorder`] below the library remembers every
//! write and flush, so that the power can fail at any of them ([`cuts`]).
//!
//! An operation names all that it touches, and does what can be foretold in any state (it may be refused). So operations can be left out of a sequence,
//! and the rest still means something.

mod acl;
mod apply;
mod compare;
mod content;
pub mod cuts;
mod generator;
mod host;
mod library;
mod model;
mod operation;
mod permitted;
mod recorder;
mod run;
mod setup;
mod shrink;
mod target;

pub use acl::Acl;
pub use apply::Expected;
pub use compare::{Compared, compare};
pub use content::Sparse;
pub use generator::{Capabilities, Generator};
pub use host::HostTarget;
pub use library::{FIRST_MOUNT, LibraryTarget, Limit, first_model, mount_options};
pub use model::{Inode, InodeId, Kind, Model, SLOTS};
pub use operation::{Handle, Op, data};
pub use recorder::{Recorder, Request};
pub use run::{Failure, Run};
pub use setup::{BEFORE, Setup, setups};
pub use shrink::shrink;
pub use target::{Answer, Target};
