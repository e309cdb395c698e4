//! Sizes on the command line and in the output.
//!
//! Who calls it: `args` (parsers of options), `ls`, `du`, `df`, `find`.

/// Parses `600k`, `1m`, `2g`, `1t` (powers of 1024, in either case) or plain bytes.
///
/// # Errors
/// A message for the user.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse_with(text, &[('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40)])
}

/// Parses a byte offset: as [`parse_size`], and `s` for sectors of 512 bytes.
///
/// # Errors
/// A message for the user.
pub fn parse_offset(text: &str) -> Result<u64, String> {
    let units = [('k', 1 << 10), ('m', 1 << 20), ('g', 1 << 30), ('t', 1 << 40), ('s', 512)];
    parse_with(text, &units)
}

/// A limit on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// As much as the host has.
    Unlimited,
    /// So many bytes.
    Bytes(u64),
}

/// Parses a memory limit: a size or `unlimited`.
///
/// # Errors
/// A message for the user.
pub fn parse_memory_limit(text: &str) -> Result<MemoryLimit, String> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(MemoryLimit::Unlimited);
    }
    parse_size(text).map(MemoryLimit::Bytes)
}

fn parse_with(text: &str, units: &[(char, u64)]) -> Result<u64, String> {
    let known: String = units.iter().map(|(c, _)| format!(" {c}")).collect();
    let bad = || format!("not a size: a whole number, then one of{known} or nothing");
    let last = text.chars().last().ok_or_else(bad)?.to_ascii_lowercase();
    let (digits, factor) = match units.iter().find(|(c, _)| *c == last) {
        Some((_, factor)) => (&text[..text.len() - 1], *factor),
        None => (text, 1),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad());
    }
    let number: u64 = digits.parse().map_err(|_| bad())?;
    number.checked_mul(factor).ok_or_else(|| "too large".to_owned())
}

/// Bytes for people, as `ls -h` and `du -h` write them: rounded up, one decimal below ten (`1.5K`, `12M`).
pub fn human(bytes: u64) -> String {
    if bytes < 1024 {
        return bytes.to_string();
    }
    let mut unit: u128 = 1024;
    let mut letters = "KMGTPE".chars().peekable();
    let bytes = u128::from(bytes);
    while let Some(letter) = letters.next() {
        let tenths = (bytes * 10).div_ceil(unit);
        let whole = bytes.div_ceil(unit);
        if tenths < 100 {
            return format!("{}.{}{letter}", tenths / 10, tenths % 10);
        }
        if whole < 1024 || letters.peek().is_none() {
            return format!("{whole}{letter}");
        }
        unit *= 1024;
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_and_without_units() {
        assert_eq!(parse_size("600k"), Ok(614_400));
        assert_eq!(parse_size("1M"), Ok(1 << 20));
        assert_eq!(parse_size("0"), Ok(0));
        assert_eq!(parse_offset("2048s"), Ok(1 << 20));
        for bad in
            ["", "k", "-1", "1.5m", "12q", "1kk", "+3", "2048s", "18446744073709551616", "99999999999t"]
        {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_memory_limit("Unlimited"), Ok(MemoryLimit::Unlimited));
    }

    #[test]
    fn human_sizes_round_up_as_coreutils_do() {
        // Figures from `numfmt --to=iec --round=up` and `ls -h`.
        let cases = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10 * 1024 - 1, "10K"),
            (10 * 1024, "10K"),
            (1024 * 1024 - 1, "1.0M"),
            (1 << 40, "1.0T"),
            (u64::MAX, "16E"),
        ];
        for (bytes, text) in cases {
            assert_eq!(human(bytes), text, "{bytes}");
        }
    }
}
