//! crc32c and crc16 as the file system computes them.
//!
//! Who calls it: every parser that verifies. No memory, cannot fail.

/// Continues a crc32c over `bytes` from `seed`, without the inversions at beginning and end of the usual form: values
/// chain (`crc32c(crc32c(s, a), b)` is that of `a` and `b` in a row).
pub fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    !crc32c::crc32c_append(!seed, bytes)
}

const CRC16_TABLE: [u16; 256] = crc16_table();

const fn crc16_table() -> [u16; 256] {
    let mut table = [0u16; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { (crc >> 1) ^ 0xA001 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
}

/// Continues a CRC-16 (polynomial 0x8005, reflected, no inversion) over `bytes` from `seed`.
pub fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, byte| (crc >> 8) ^ CRC16_TABLE[usize::from((crc as u8) ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;

    // Check values of the catalogue of parametrised CRC algorithms: CRC-32/ISCSI and CRC-16/MODBUS (that is
    // this CRC-16 with seed 0xFFFF), both over "123456789".
    #[test]
    fn check_values_of_the_catalogue() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xE306_9283);
        assert_eq!(crc16(0xFFFF, b"123456789"), 0x4B37);
    }

    #[test]
    fn values_chain() {
        assert_eq!(crc32c(crc32c(7, b"1234"), b"56789"), crc32c(7, b"123456789"));
        assert_eq!(crc16(crc16(7, b"1234"), b"56789"), crc16(7, b"123456789"));
    }
}
