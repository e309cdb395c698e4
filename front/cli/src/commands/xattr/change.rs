//! `rumpcap xattr set` and `rumpcap xattr remove`: in the manner of setfattr(1).

use crate::args::WriteArgs;
use crate::outcome::{Run, Stop};
use crate::session::{Links, Session};
use clap::{ArgAction, Args, Subcommand, ValueEnum};
use rumpcap::SetXattr;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

const EXAMPLES: &str = "\
VALUE is a text as it is, or in double quotes with \\ooo, \\\\ and \\\" in it; 0x and hexadecimal digits; or 0s and base64: \
what `rumpcap xattr -d` prints.

Examples:
  rumpcap xattr set user.comment hello disk.img:/srv/a
  rumpcap xattr set security.capability 0sAQAAAgAgAAAAAAAAAAAAAAAAAAA= disk.img:/bin/ping";

/// What is done to attributes.
#[derive(Debug, Subcommand)]
pub enum Change {
    /// Set an extended attribute
    Set(SetArgs),
    /// Remove an extended attribute
    Remove(RemoveArgs),
}

/// Options of `xattr set`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES, disable_help_flag = true)]
pub struct SetArgs {
    /// Only where it is not there yet, or only where it is
    #[arg(long, value_name = "WHEN")]
    only: Option<Only>,
    #[command(flatten)]
    common: CommonArgs,
    /// Its full name: user.*, trusted.*, security.*, system.posix_acl_*
    name: OsString,
    /// Its value
    #[arg(allow_hyphen_values = true)]
    value: OsString,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Options of `xattr remove`.
#[derive(Debug, Args)]
#[command(args_override_self = true, disable_help_flag = true)]
pub struct RemoveArgs {
    #[command(flatten)]
    common: CommonArgs,
    /// Its full name
    name: OsString,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// Options of both.
#[derive(Debug, Args)]
struct CommonArgs {
    /// Symbolic links themselves
    #[arg(short = 'h', long)]
    no_dereference: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    write: WriteArgs,
}

/// Where an attribute is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Only {
    /// Where it is not there
    New,
    /// Where it is there
    Existing,
}

/// Runs `xattr set` or `xattr remove`.
pub fn run(session: &mut Session, change: &Change) -> Run {
    let (common, name, paths) = match change {
        Change::Set(args) => (&args.common, &args.name, &args.paths),
        Change::Remove(args) => (&args.common, &args.name, &args.paths),
    };
    let value =
        match change {
            Change::Set(args) => Some(decode(&args.value).ok_or_else(|| {
                Stop::Usage(format!("xattr: {}: not a value", args.value.to_string_lossy()))
            })?),
            Change::Remove(_) => None,
        };
    let how = match change {
        Change::Set(SetArgs { only: Some(Only::New), .. }) => SetXattr::Create,
        Change::Set(SetArgs { only: Some(Only::Existing), .. }) => SetXattr::Replace,
        _ => SetXattr::Any,
    };
    let links = if common.no_dereference { Links::Keep } else { Links::Follow };
    for target in session.all_writable(paths, common.write)? {
        session.check_interrupt()?;
        let Some(metadata) = session.metadata(&target, links) else { continue };
        let (ino, name) = (metadata.ino(), name.as_bytes());
        let done = match &value {
            Some(value) => target.mount.set_xattr_ino(ino, name, value, how),
            None => target.mount.remove_xattr_ino(ino, name),
        };
        if let Err(e) = done {
            session.fail(&target.path, &e);
        }
    }
    Ok(())
}

/// A value as setfattr(1) reads it.
fn decode(text: &OsStr) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    match bytes {
        [b'0', b'x' | b'X', digits @ ..] => hex(digits),
        [b'0', b's' | b'S', digits @ ..] => base64(digits),
        [b'"', inner @ .., b'"'] => unescape(inner),
        _ => Some(bytes.to_vec()),
    }
}

fn hex(digits: &[u8]) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16);
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => u8::try_from(nibble(*high)? << 4 | nibble(*low)?).ok(),
        _ => None,
    });
    pairs.collect()
}

fn base64(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(4) {
        return None;
    }
    let unpadded = digits.strip_suffix(b"==").or_else(|| digits.strip_suffix(b"=")).unwrap_or(digits);
    let mut out = Vec::with_capacity(unpadded.len() * 3 / 4);
    let (mut bits, mut held) = (0u32, 0);
    for digit in unpadded {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    Some(out)
}

/// `\\ooo`, and a backslash in front of what is to stand for itself.
fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let digits = rest.iter().take(3).take_while(|b| (b'0'..=b'7').contains(*b)).count();
        if digits == 3 {
            let value = rest.iter().take(3).fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
            out.push(u8::try_from(value).ok()?);
            rest = rest.get(3..)?;
        } else {
            let (&escaped, tail) = rest.split_first()?;
            out.push(escaped);
            rest = tail;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read() {
        let values: [&[u8]; 7] = [b"", b"f", b"fo", b"foo", b"a\"b\\c\n", b"\x01\0\xff", b"0x"];
        for value in values {
            for encoding in ["text", "hex", "base64"] {
                let encoding = super::super::Encoding::from_str(encoding, true).ok();
                let text = super::super::encode(value, encoding);
                assert_eq!(decode(OsStr::new(&text)).as_deref(), Some(value), "{text}");
            }
        }
        assert_eq!(decode(OsStr::new("plain \\ text")).unwrap(), b"plain \\ text");
        for bad in ["0x1", "0xg0", "0sA", "0s****", "\"\\\""] {
            assert_eq!(decode(OsStr::new(bad)), None, "{bad}");
        }
    }
}
