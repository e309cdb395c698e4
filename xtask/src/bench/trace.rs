//! A recorded trace of page accesses, as the kernel writes it: records of 12 bytes, little-endian: the object (u32), the
//! index of the page in it (u64).
//!
//! Who calls it: `bench`. Pages are renumbered densely, so that the simulators can use tables.

use crate::Result;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// Bytes of one record.
const RECORD_BYTES: usize = 12;

/// Page accesses in order; pages are numbered from 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The page of each access.
    pub(crate) accesses: Vec<u32>,
    /// How many different pages there are.
    pub(crate) pages: u32,
}

impl Trace {
    /// Reads a trace file.
    pub(crate) fn read(path: &Path) -> Result<Trace> {
        let file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        Trace::from_records(BufReader::with_capacity(1 << 20, file))
    }

    /// Reads records until the end. A last record that was cut off is left out.
    pub(crate) fn from_records(mut records: impl Read) -> Result<Trace> {
        let mut numbers = HashMap::new();
        let mut trace = Trace::default();
        let mut record = [0; RECORD_BYTES];
        loop {
            match records.read_exact(&mut record) {
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(trace),
                other => other?,
            }
            let next = u32::try_from(numbers.len()).map_err(|_| "more than 2^32 pages in the trace")?;
            let page = *numbers.entry(record).or_insert(next);
            trace.pages = trace.pages.max(page + 1);
            trace.accesses.push(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_pages_by_object_and_index() {
        let mut bytes = Vec::new();
        for (object, index) in [(1u32, 7u64), (2, 7), (1, 7), (1, 8)] {
            bytes.extend(object.to_le_bytes());
            bytes.extend(index.to_le_bytes());
        }
        bytes.extend([1, 2, 3]);
        let trace = Trace::from_records(&bytes[..]).unwrap();
        assert_eq!(trace, Trace { accesses: vec![0, 1, 0, 2], pages: 3 });
    }
}
