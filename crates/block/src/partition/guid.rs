//! GUIDs as a GPT stores them: the first three groups little-endian, the last two as they are spelt.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

#[derive(FromBytes, Immutable, KnownLayout, Unaligned, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Guid {
    time_low: U32,
    time_middle: U16,
    time_high: U16,
    rest: [u8; 8],
}

impl Guid {
    pub(super) fn is_zero(&self) -> bool {
        let Guid { time_low, time_middle, time_high, rest } = self;
        time_low.get() == 0 && time_middle.get() == 0 && time_high.get() == 0 && *rest == [0; 8]
    }
}

impl std::fmt::Display for Guid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08X}-{:04X}-{:04X}-", self.time_low, self.time_middle, self.time_high)?;
        for (i, byte) in self.rest.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 2 { "-" } else { "" })?;
        }
        Ok(())
    }
}
