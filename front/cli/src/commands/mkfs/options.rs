//! From the words of the command line to what the maker wants.

use super::MkfsArgs;
use crate::outcome::{Run, Stop, plain};
use rumpcap_ext4::mkfs::{Options, features_of};
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

/// What was asked for.
pub struct Wanted {
    /// Of the file system.
    pub options: Options,
    /// No time in the image is later.
    pub latest: Option<u64>,
    /// Owner and group of the root directory, where that is not what it is filled with.
    pub root_owner: Option<(u32, u32)>,
}

/// A UUID as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uuid {
    /// Drawn.
    Random,
    /// Said.
    Bytes([u8; 16]),
}

/// Parses a UUID, `random`, `clear`.
///
/// # Errors
/// A message for the user.
pub fn parse_uuid(text: &str) -> Result<Uuid, String> {
    match text {
        "random" | "time" => return Ok(Uuid::Random),
        "clear" => return Ok(Uuid::Bytes([0; 16])),
        _ => {}
    }
    let bad = || "not a UUID: 8-4-4-4-12 hexadecimal digits".to_owned();
    let shape: Vec<usize> = text.split('-').map(str::len).collect();
    if shape != [8, 4, 4, 4, 12] {
        return Err(bad());
    }
    let digits: String = text.split('-').collect();
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(bad());
    }
    let number = u128::from_str_radix(&digits, 16).map_err(|_| bad())?;
    Ok(Uuid::Bytes(number.to_be_bytes()))
}

/// Parses a percentage with up to two decimals, into hundredths.
///
/// # Errors
/// A message for the user.
pub fn parse_percent(text: &str) -> Result<u32, String> {
    let bad = || "not a percentage: 0 to 50, with two decimals at most".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 2 || !(whole.bytes().chain(part.bytes())).all(|digit| digit.is_ascii_digit()) {
        return Err(bad());
    }
    let whole: u32 = whole.parse().map_err(|_| bad())?;
    let part: u32 = format!("{part:0<2}").parse().map_err(|_| bad())?;
    whole.checked_mul(100).map(|n| n + part).filter(|&n| n <= 5000).ok_or_else(bad)
}

fn draw() -> Run<[u8; 16]> {
    let mut bytes = [0; 16];
    let drawn = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    drawn.map_err(|e| Stop::Fatal(format!("/dev/urandom: {}", plain(&e))))?;
    // Version 4: random.
    bytes[6] = bytes[6] & 0x0F | 0x40;
    bytes[8] = bytes[8] & 0x3F | 0x80;
    Ok(bytes)
}

fn bytes_of(uuid: Uuid) -> Run<[u8; 16]> {
    match uuid {
        Uuid::Random => draw(),
        Uuid::Bytes(bytes) => Ok(bytes),
    }
}

/// Reads the command line.
///
/// # Errors
/// `Usage` naming the word that makes no sense.
pub fn read(args: &MkfsArgs) -> Run<Wanted> {
    let mut options = Options::new(args.kind.kind());
    options.features = features_of(args.kind.kind());
    for list in &args.features {
        options.features = options
            .features
            .edited(list)
            .map_err(|word| Stop::Usage(format!("-O: {word}: no feature of that name")))?;
    }
    options.block_size = args.block_size;
    options.inode_size = args.inode_size;
    options.bytes_per_inode = args.bytes_per_inode;
    options.inodes = args.inodes;
    options.reserved_basis_points = args.reserved;
    options.groups_per_flex = args.groups_per_flex;
    options.label = label(args.label.as_deref().unwrap_or_default())?;
    options.journal_bytes = args.journal.as_deref().map(journal).transpose()?;
    options.uuid = bytes_of(args.uuid)?;
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let latest = args.time.map(u64::from);
    options.time = latest.unwrap_or_else(now);
    let mut wanted = Wanted { options, latest, root_owner: None };
    let mut seed = Uuid::Random;
    for word in &args.extended {
        extended(word, &mut wanted, &mut seed)?;
    }
    wanted.options.hash_seed = bytes_of(seed)?;
    Ok(wanted)
}

fn label(text: &str) -> Run<[u8; 16]> {
    let mut label = [0; 16];
    match label.get_mut(..text.len()) {
        Some(part) => part.copy_from_slice(text.as_bytes()),
        None => return Stop::usage("-L: a label has 16 bytes at most"),
    }
    Ok(label)
}

fn journal(text: &str) -> Run<u64> {
    let size = text.strip_prefix("size=").and_then(|size| size.parse::<u32>().ok());
    match size {
        Some(mebibytes) => Ok(u64::from(mebibytes) << 20),
        None => Stop::usage("-J: only size=MEBIBYTES is known"),
    }
}

fn extended(word: &str, wanted: &mut Wanted, seed: &mut Uuid) -> Run {
    let (name, value) = word.split_once('=').unwrap_or((word, ""));
    let bad = |what: &str| Stop::usage(format!("-E {name}: {what}"));
    match name {
        "hash_seed" => match parse_uuid(value) {
            Ok(uuid) => *seed = uuid,
            Err(e) => return bad(&e),
        },
        "lazy_itable_init" => match value {
            "" | "1" => wanted.options.lazy_tables = true,
            "0" => wanted.options.lazy_tables = false,
            _ => return bad("0 or 1"),
        },
        "root_owner" => {
            let owner = value.split_once(':').and_then(|(u, g)| Some((u.parse().ok()?, g.parse().ok()?)));
            match owner {
                Some(owner) => wanted.root_owner = Some(owner),
                None => return bad("UID:GID, two numbers"),
            }
        }
        _ => return bad("no option of that name is known"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_in_hundredths() {
        assert_eq!(parse_percent("5"), Ok(500));
        assert_eq!(parse_percent("0.5"), Ok(50));
        assert_eq!(parse_percent("12.25"), Ok(1225));
        for bad in ["", "-1", "51", "1.234", "x", "1e1"] {
            assert!(parse_percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn uuids() {
        let bytes = parse_uuid("00112233-4455-6677-8899-aabbccddeeff");
        let expected: [u8; 16] = std::array::from_fn(|n| n as u8 * 0x11);
        assert_eq!(bytes, Ok(Uuid::Bytes(expected)));
        for bad in ["", "0011", "00112233-4455-6677-8899-aabbccddeefg", "001122334455-6677-8899-aabbccddeeff"]
        {
            assert!(parse_uuid(bad).is_err(), "{bad}");
        }
    }
}
