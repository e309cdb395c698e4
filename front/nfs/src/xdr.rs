//! [`Reader`]: XDR (RFC 4506) out of bytes that a client sent, without a copy and without trust.
//!
//! Who calls it: `rpc`, `procedures`. Answers are written by `nfs3_types`; arguments are not read by it: it makes room for as many bytes
//! as a length says before it has seen them.
//!
//! XD-1. Nothing is allocated. What has a length is a part of the record, so it is no longer than that.
//! XD-2. Types of the protocol that hold no length are unpacked by `nfs3_types` ([`Fixed`] says which).
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use nfs3_types::nfs3::{createverf3, nfstime3, sattr3, sattrguard3, specdata3};
use nfs3_types::xdr_codec::Unpack;

/// Arguments that are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Garbage;

/// What is left of a record.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
}

/// Types without a length in them.
pub trait Fixed: Unpack {}
impl Fixed for sattr3 {}
impl Fixed for sattrguard3 {}
impl Fixed for nfstime3 {}
impl Fixed for createverf3 {}
impl Fixed for specdata3 {}

impl<'a> Reader<'a> {
    /// Reads `bytes`.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Garbage> {
        let (taken, rest) = self.bytes.split_at_checked(len).ok_or(Garbage)?;
        self.bytes = rest;
        Ok(taken)
    }

    /// An array of `N` bytes; `N` is a multiple of 4.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Garbage> {
        self.take(N)?.try_into().map_err(|_| Garbage)
    }

    /// An integer.
    pub fn u32(&mut self) -> Result<u32, Garbage> {
        self.array().map(u32::from_be_bytes)
    }

    /// A long integer.
    pub fn u64(&mut self) -> Result<u64, Garbage> {
        self.array().map(u64::from_be_bytes)
    }

    /// Bytes with their length in front; at most `most`.
    pub fn opaque(&mut self, most: usize) -> Result<&'a [u8], Garbage> {
        let len = self.u32()? as usize;
        if len > most {
            return Err(Garbage);
        }
        let bytes = self.take(len)?;
        let padding = len.wrapping_neg() & 3;
        self.take(padding)?;
        Ok(bytes)
    }

    /// A value of a type without a length in it.
    pub fn fixed<T: Fixed>(&mut self) -> Result<T, Garbage> {
        T::unpack(&mut self.bytes).map(|(value, _)| value).map_err(|_| Garbage)
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), Garbage> {
        if self.bytes.is_empty() { Ok(()) } else { Err(Garbage) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_beyond_the_record_is_garbage() {
        assert_eq!(Reader::new(&[0xff; 8]).opaque(usize::MAX), Err(Garbage));
        assert_eq!(Reader::new(&[0, 0, 0, 3, 1, 2, 3]).opaque(64), Err(Garbage));
        assert_eq!(Reader::new(&[0, 0, 0, 3, 1, 2, 3, 0]).opaque(2), Err(Garbage));
        assert_eq!(Reader::new(&[0, 0, 0, 3, 1, 2, 3, 0]).opaque(3), Ok(&[1u8, 2, 3][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_end_the_reading(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while reader.opaque(64).is_ok() && reader.fixed::<sattr3>().is_ok() && reader.u64().is_ok() {}
            prop_assert!(reader.bytes.len() <= bytes.len());
        }
    }
}
