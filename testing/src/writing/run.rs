//! [`Run`]: operations applied to the model and to a target, each answer compared.

use super::apply::Expected;
use super::compare::{Compared, compare};
use super::generator::{Capabilities, Generator};
use super::model::Model;
use super::operation::Op;
use crate::writing::{Answer, Target};

const ENOSPC: i32 = 28;
const EOPNOTSUPP: i32 = 95;
/// Linux's for a value of an attribute that is too long, and ours.
const TOO_LONG: [i32; 2] = [7, 34];

/// How a target differed from the model.
#[derive(Clone, Debug)]
pub struct Failure {
    /// In words.
    pub what: String,
    /// Index of the operation after which it was seen.
    pub at: usize,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "operation {}: {}", self.at, self.what)
    }
}

/// A sequence of operations, on its way.
pub struct Run {
    /// What must be there.
    pub model: Model,
    /// What has been applied.
    pub ops: Vec<Op>,
    /// Operations that were refused for want of space, or not known to the file system.
    pub refused: usize,
    /// Operations that were left out.
    pub skipped: usize,
    /// The file system may be full: every operation may be refused for that.
    pub may_be_full: bool,
}

impl Run {
    /// Begins with what mke2fs makes.
    pub fn new(model: Model) -> Run {
        Run { model, ops: Vec::new(), refused: 0, skipped: 0, may_be_full: false }
    }

    /// Applies one operation to both.
    ///
    /// # Errors
    /// When they differ.
    pub fn step(&mut self, target: &mut dyn Target, op: &Op) -> Result<(), Failure> {
        self.ops.push(op.clone());
        let mut next = self.model.clone();
        let expected = next.apply(op, None);
        if expected == Expected::Skip {
            self.skipped += 1;
            return Ok(());
        }
        let found = target.apply(op);
        match (&expected, &found) {
            (Expected::Gives(Answer::Wrote(all)), Ok(Answer::Wrote(n))) if n < all => {
                self.refused += 1;
                self.model.apply(op, Some(*n));
            }
            (Expected::Gives(answer), Ok(given)) if answer == given => self.model = next,
            (Expected::Refused(errors), Err(given)) if errors.contains(given) => {}
            (Expected::Gives(_), Err(error)) if may_be_refused(op, *error) => self.refused += 1,
            (Expected::Gives(_), Err(ENOSPC)) if self.may_be_full => {
                self.refused += 1;
                return self.step_back(target, op);
            }
            _ => return Err(self.failure(difference(&expected, &found))),
        }
        Ok(())
    }

    /// An operation that works in steps has run out of space: what it has done of the length is taken back, and what it has freed of a range
    /// that was to be zeros is freed altogether.
    fn step_back(&mut self, target: &mut dyn Target, op: &Op) -> Result<(), Failure> {
        match op {
            Op::Allocate { file, .. } => {
                let Some(len) = self.model.len_of(file) else { return Ok(()) };
                self.step(target, &Op::SetLen { file: file.clone(), len })
            }
            Op::ZeroRange { file, range } => {
                self.step(target, &Op::Punch { file: file.clone(), range: range.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Compares all that is there.
    ///
    /// # Errors
    /// When they differ.
    pub fn compare(&self, target: &mut dyn Target) -> Result<(), Failure> {
        let found = target.look().map_err(|what| self.failure(what))?;
        compare(&self.model, &found, Compared::Everything).map_or(Ok(()), |what| Err(self.failure(what)))
    }

    /// Applies `count` operations, and compares all that is there every `interval` of them and at the end.
    ///
    /// # Errors
    /// When they differ.
    pub fn run(
        &mut self,
        target: &mut dyn Target,
        seed: u64,
        can: Capabilities,
        count: usize,
        interval: usize,
    ) -> Result<(), Failure> {
        let mut generator = Generator::new(seed, can);
        for n in 1..=count {
            let op = generator.next(&self.model);
            self.step(target, &op)?;
            if n % interval == 0 || n == count {
                self.compare(target)?;
            }
        }
        Ok(())
    }

    /// Applies operations that were made before; all is compared at the end.
    ///
    /// # Errors
    /// When they differ.
    pub fn replay(&mut self, target: &mut dyn Target, ops: &[Op]) -> Result<(), Failure> {
        ops.iter().try_for_each(|op| self.step(target, op))?;
        self.compare(target)
    }

    /// A failure at the last operation.
    pub fn failure(&self, what: String) -> Failure {
        Failure { what, at: self.ops.len().saturating_sub(1) }
    }
}

/// Whether a file system may refuse an operation with this error, though nothing is wrong with it.
fn may_be_refused(op: &Op, error: i32) -> bool {
    match op {
        Op::SetXattr { .. } | Op::SetAcl { .. } => error == ENOSPC || TOO_LONG.contains(&error),
        Op::Allocate { .. } | Op::Punch { .. } | Op::ZeroRange { .. } => error == EOPNOTSUPP,
        _ => false,
    }
}

fn difference(expected: &Expected, found: &Result<Answer, i32>) -> String {
    if let (Expected::Gives(Answer::Bytes(expected)), Ok(Answer::Bytes(found))) = (expected, found) {
        let at = expected.iter().zip(found).position(|(a, b)| a != b);
        let (is, was) = (found.len(), expected.len());
        return format!("read {is} bytes, expected {was}; the first other byte is {at:?}");
    }
    match found {
        Ok(answer) => format!("expected {expected:?}, it gave {answer:?}"),
        Err(errno) => {
            format!("expected {expected:?}, it gave {}", std::io::Error::from_raw_os_error(*errno))
        }
    }
}
