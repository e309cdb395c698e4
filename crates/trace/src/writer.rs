//! [`Writer`]: writes a trace file, event by event.
//!
//! Who calls it: [`crate::Recorder`], under its lock. Memory: the last pages of some objects; the caller brings the buffer.
//! Failure: the writer's own errors; what was written before them is a trace that was cut off.

use crate::format::{
    DEVICE, DISTANCE_SHIFT, END, FAR, GONE, HIT, Header, LONGEST_LABEL_BYTES, MAGIC, OTHER_OBJECT, PASSED,
    Places, READ, UNWIRED, VERSION, WIRED, policy_byte, zigzag,
};
use rumpcap_vm::TraceEvent;
use std::io::{Result, Write};

/// The longest record: a tag and three varints.
const LONGEST_RECORD_BYTES: usize = 1 + 3 * 10;

/// Writes a trace.
pub struct Writer<W: Write> {
    out: W,
    places: Places,
    accesses: u64,
}

/// One record, in pieces.
struct Record {
    bytes: [u8; LONGEST_RECORD_BYTES],
    len: usize,
}

impl Record {
    fn new(tag: u8) -> Record {
        let mut record = Record { bytes: [0; LONGEST_RECORD_BYTES], len: 0 };
        record.byte(tag);
        record
    }

    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn varint(mut self, mut number: u64) -> Record {
        while number >= 0x80 {
            self.byte(number as u8 | 0x80);
            number >>= 7;
        }
        self.byte(number as u8);
        self
    }

    fn put(&self, out: &mut impl Write) -> Result<()> {
        out.write_all(&self.bytes[..self.len])
    }
}

impl<W: Write> Writer<W> {
    /// Writes the header; a label that is too long is cut.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W, header: &Header) -> Result<Writer<W>> {
        out.write_all(&MAGIC)?;
        out.write_all(&[VERSION])?;
        Record::new(policy_byte(header.policy)).varint(header.limit_bytes.unwrap_or(0)).put(&mut out)?;
        let fits = |(at, c): (usize, char)| Some(at + c.len_utf8()).filter(|end| *end <= LONGEST_LABEL_BYTES);
        let cut = header.label.char_indices().map_while(fits).last().unwrap_or(0);
        let label = &header.label[..cut];
        let mut len = label.len();
        while len >= 0x80 {
            out.write_all(&[len as u8 | 0x80])?;
            len >>= 7;
        }
        out.write_all(&[len as u8])?;
        out.write_all(label.as_bytes())?;
        Ok(Writer { out, places: Places::new(), accesses: 0 })
    }

    /// Writes one event.
    ///
    /// # Errors
    /// Those of the output.
    pub fn event(&mut self, event: TraceEvent) -> Result<()> {
        let record = match event {
            TraceEvent::Hit { object, page } => self.access(HIT, object, page),
            TraceEvent::Read { object, page, ahead } => self.access(READ, object, page).varint(ahead.into()),
            TraceEvent::Passed { object, page } => self.access(PASSED, object, page),
            TraceEvent::Device { object } => Record::new(DEVICE).varint(object.into()),
            TraceEvent::Gone { object } => Record::new(GONE).varint(object.into()),
            TraceEvent::Wired { first, frames } => {
                Record::new(WIRED).varint(first.into()).varint(frames.into())
            }
            TraceEvent::Unwired { first, frames } => {
                Record::new(UNWIRED).varint(first.into()).varint(frames.into())
            }
        };
        record.put(&mut self.out)
    }

    fn access(&mut self, kind: u8, object: u32, page: u64) -> Record {
        self.accesses += 1;
        let distance = zigzag(page.wrapping_sub(self.places.last_page(object)) as i64);
        let is_near = distance < u64::from(FAR);
        let near = if is_near { distance as u8 } else { FAR };
        let is_other = object != self.places.last_object();
        let other = if is_other { OTHER_OBJECT } else { 0 };
        self.places.note(object, page);
        let mut record = Record::new(kind | other | near << DISTANCE_SHIFT);
        if is_other {
            record = record.varint(object.into());
        }
        if is_near { record } else { record.varint(distance) }
    }

    /// How many accesses were written.
    pub fn accesses(&self) -> u64 {
        self.accesses
    }

    /// Ends the trace and gives the output back, flushed.
    ///
    /// # Errors
    /// Those of the output.
    pub fn finish(mut self) -> Result<W> {
        Record::new(END).varint(self.accesses).put(&mut self.out)?;
        self.out.flush()?;
        Ok(self.out)
    }
}
