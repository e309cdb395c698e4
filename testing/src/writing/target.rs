//! [`Target`]: what operations are applied to.

use crate::oracle::Description;
use crate::writing::Op;

/// What an operation gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing but that it is done.
    Done,
    /// Bytes that were written.
    Wrote(usize),
    /// Bytes that were read.
    Bytes(Vec<u8>),
}

/// A file system that operations are applied to.
pub trait Target {
    /// Applies an operation.
    ///
    /// # Errors
    /// The errno.
    fn apply(&mut self, op: &Op) -> Result<Answer, i32>;

    /// All that is there.
    ///
    /// # Errors
    /// In words.
    fn look(&mut self) -> Result<Description, String>;
}
