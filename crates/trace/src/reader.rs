//! [`Reader`]: reads a trace file, event by event, and believes nothing.
//!
//! Who calls it: [`crate::Trace`], and whoever wants to look at a trace that does not fit memory. Memory: constant.
//! Failure: a [`Fault`] says what is wrong and at which byte; after one there are no more events.

use crate::format::{
    DEVICE, DISTANCE_SHIFT, END, FAR, GONE, HIT, Header, KIND_MASK, LONGEST_LABEL_BYTES, MAGIC, OTHER_OBJECT,
    PASSED, Places, READ, UNWIRED, VERSION, WIRED, policy_of, unzigzag,
};
use rumpcap_vm::TraceEvent;
use std::fmt;
use std::io::{self, BufRead};

/// What is wrong with a trace.
#[derive(Debug)]
pub enum Fault {
    /// It does not begin as a trace does.
    NotATrace,
    /// It is of a version that this code does not know.
    Version(u8),
    /// It ends in the middle: the recording was cut off.
    CutOff {
        /// Its length.
        at: u64,
    },
    /// Something in it cannot be.
    Corrupt {
        /// What.
        what: &'static str,
        /// Behind which byte.
        at: u64,
    },
    /// It is longer than can be loaded.
    TooLong {
        /// The most steps.
        most: usize,
    },
    /// It could not be read.
    Io(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotATrace => write!(f, "not a trace of rumpcap"),
            Fault::Version(version) => {
                write!(f, "a trace of version {version}; this program reads version {VERSION}")
            }
            Fault::CutOff { at } => write!(f, "cut off at byte {at}: the recording did not end"),
            Fault::Corrupt { what, at } => write!(f, "damaged before byte {at}: {what}"),
            Fault::TooLong { most } => write!(f, "more than {most} steps"),
            Fault::Io(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Fault {}

/// Reads a trace; an iterator over its events.
pub struct Reader<R: BufRead> {
    input: R,
    /// Bytes read.
    at: u64,
    header: Header,
    places: Places,
    accesses: u64,
    is_done: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// Any [`Fault`] but `TooLong`.
    pub fn new(input: R) -> Result<Reader<R>, Fault> {
        let header =
            Header { limit_bytes: None, policy: rumpcap_vm::PolicyKind::default(), label: String::new() };
        let mut reader = Reader { input, at: 0, header, places: Places::new(), accesses: 0, is_done: false };
        reader.header = reader.read_header()?;
        Ok(reader)
    }

    /// What was recorded.
    pub fn header(&self) -> &Header {
        &self.header
    }

    fn read_header(&mut self) -> Result<Header, Fault> {
        let mut magic = [0; MAGIC.len()];
        match self.fill(&mut magic) {
            Ok(()) if magic == MAGIC => {}
            Ok(()) | Err(Fault::CutOff { .. }) => return Err(Fault::NotATrace),
            Err(fault) => return Err(fault),
        }
        match self.byte()? {
            VERSION => {}
            other => return Err(Fault::Version(other)),
        }
        let policy = self.byte()?;
        let policy = policy_of(policy).ok_or_else(|| self.corrupt("a policy that there is not"))?;
        let limit_bytes = Some(self.varint()?).filter(|&bytes| bytes > 0);
        let len = self.varint()?;
        if len > LONGEST_LABEL_BYTES as u64 {
            return Err(self.corrupt("the label is too long"));
        }
        let mut label = vec![0; len as usize];
        self.fill(&mut label)?;
        let label = String::from_utf8(label).map_err(|_| self.corrupt("the label is not UTF-8"))?;
        Ok(Header { limit_bytes, policy, label })
    }

    fn read_event(&mut self) -> Result<Option<TraceEvent>, Fault> {
        let tag = self.byte()?;
        let kind = tag & KIND_MASK;
        let is_access = matches!(kind, HIT | READ | PASSED);
        if !is_access && tag != kind {
            return Err(self.corrupt("a tag that there is not"));
        }
        if is_access {
            return self.access(tag).map(Some);
        }
        Ok(Some(match kind {
            DEVICE => TraceEvent::Device { object: self.number()? },
            GONE => TraceEvent::Gone { object: self.number()? },
            WIRED => TraceEvent::Wired { first: self.number()?, frames: self.number()? },
            UNWIRED => TraceEvent::Unwired { first: self.number()?, frames: self.number()? },
            _ => {
                debug_assert_eq!(kind, END);
                return self.end().map(|()| None);
            }
        }))
    }

    fn access(&mut self, tag: u8) -> Result<TraceEvent, Fault> {
        let is_other = tag & OTHER_OBJECT != 0;
        let object = if is_other { self.number()? } else { self.places.last_object() };
        let near = tag >> DISTANCE_SHIFT;
        let distance = if near == FAR { self.varint()? } else { near.into() };
        let page = self.places.last_page(object).wrapping_add_signed(unzigzag(distance));
        self.places.note(object, page);
        self.accesses += 1;
        Ok(match tag & KIND_MASK {
            HIT => TraceEvent::Hit { object, page },
            PASSED => TraceEvent::Passed { object, page },
            _ => TraceEvent::Read { object, page, ahead: self.number()? },
        })
    }

    fn end(&mut self) -> Result<(), Fault> {
        if self.varint()? != self.accesses {
            return Err(self.corrupt("the number of accesses is another"));
        }
        match self.byte() {
            Err(Fault::CutOff { .. }) => Ok(()),
            Ok(_) => Err(self.corrupt("something follows the end")),
            Err(fault) => Err(fault),
        }
    }

    fn corrupt(&self, what: &'static str) -> Fault {
        Fault::Corrupt { what, at: self.at }
    }

    fn fill(&mut self, buf: &mut [u8]) -> Result<(), Fault> {
        self.input.read_exact(buf).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::CutOff { at: self.at },
            _ => Fault::Io(error),
        })?;
        self.at += buf.len() as u64;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        let mut byte = [0];
        self.fill(&mut byte)?;
        Ok(byte[0])
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(self.corrupt("a number that is too large"));
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.corrupt("a number that does not end"))
    }

    fn number(&mut self) -> Result<u32, Fault> {
        let number = self.varint()?;
        u32::try_from(number).map_err(|_| self.corrupt("a number that is too large"))
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<TraceEvent, Fault>;

    fn next(&mut self) -> Option<Result<TraceEvent, Fault>> {
        if self.is_done {
            return None;
        }
        let event = self.read_event().transpose();
        self.is_done = !matches!(event, Some(Ok(_)));
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Writer;
    use proptest::prelude::*;
    use rumpcap_vm::PolicyKind;

    fn header() -> Header {
        Header { limit_bytes: Some(600 << 10), policy: PolicyKind::Lru, label: "find disk.img".to_owned() }
    }

    fn written(events: &[TraceEvent]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &header()).unwrap();
        events.iter().for_each(|event| writer.event(*event).unwrap());
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<TraceEvent>, Fault> {
        Reader::new(bytes)?.collect()
    }

    fn any_event() -> impl Strategy<Value = TraceEvent> {
        // Neighbours, and anything at all.
        let page = prop_oneof![0u64..40, any::<u64>()];
        let object = prop_oneof![0u32..4, 60u32..70, any::<u32>()];
        (0u8..7, object, page, any::<u32>()).prop_map(|(kind, object, page, n)| match kind {
            0 => TraceEvent::Hit { object, page },
            1 => TraceEvent::Read { object, page, ahead: n },
            2 => TraceEvent::Passed { object, page },
            3 => TraceEvent::Device { object },
            4 => TraceEvent::Gone { object },
            5 => TraceEvent::Wired { first: object, frames: n },
            _ => TraceEvent::Unwired { first: object, frames: n },
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(events in proptest::collection::vec(any_event(), 0..200)) {
            let bytes = written(&events);
            let reader = Reader::new(&bytes[..]).unwrap();
            prop_assert_eq!(reader.header(), &header());
            prop_assert_eq!(read(&bytes).unwrap(), events);
        }

        /// Every beginning of a trace is told from a whole one.
        #[test]
        fn a_trace_that_was_cut_off_is_known(events in proptest::collection::vec(any_event(), 0..50), at: prop::sample::Index) {
            let bytes = written(&events);
            let cut = &bytes[..at.index(bytes.len())];
            let fault = read(cut).unwrap_err();
            prop_assert!(matches!(fault, Fault::CutOff { .. } | Fault::NotATrace), "{fault}");
        }

        /// Anything at all is read to its end or to a fault.
        #[test]
        fn damage_does_no_harm(events in proptest::collection::vec(any_event(), 0..50), at: prop::sample::Index, byte: u8) {
            let mut bytes = written(&events);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read(&bytes);
        }
    }

    #[test]
    fn each_fault_is_named() {
        let good = written(&[TraceEvent::Hit { object: 0, page: 1 }]);
        let said = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        assert_eq!(said(b""), "not a trace of rumpcap");
        assert_eq!(said(b"PK\x03\x04 and so on"), "not a trace of rumpcap");
        let mut newer = good.clone();
        newer[8] = 9;
        assert_eq!(said(&newer), "a trace of version 9; this program reads version 1");
        assert!(said(&good[..good.len() - 1]).starts_with("cut off at byte"));
        let mut more = good.clone();
        more.push(0);
        assert!(said(&more).ends_with("something follows the end"));
        let mut other = good.clone();
        *other.last_mut().unwrap() = 7;
        assert!(said(&other).ends_with("the number of accesses is another"));
    }

    #[test]
    fn a_long_label_is_cut_between_characters() {
        let long = Header { label: "\u{e9}".repeat(LONGEST_LABEL_BYTES), ..header() };
        let bytes = Writer::new(Vec::new(), &long).unwrap().finish().unwrap();
        let label = Reader::new(&bytes[..]).unwrap().header().label.clone();
        assert_eq!(label.len(), LONGEST_LABEL_BYTES);
        assert!(long.label.starts_with(&label));
    }

    #[test]
    fn a_page_beside_the_last_takes_a_byte() {
        let events: Vec<_> = (0..1000).map(|page| TraceEvent::Hit { object: 3, page }).collect();
        assert!(written(&events).len() < written(&[]).len() + 1010);
    }
}
