//! Names for people and for other programs: quoting.
//!
//! Who calls it: whatever prints a name. A name is bytes; only `/` and NUL are excluded, so a terminal must be protected from
//! it (an escape sequence in a name can do much), and a pipe must get it as it is.

use std::borrow::Cow;
use std::io::{self, Write};

/// When a name is quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quoting {
    /// Never: other programs read it.
    Raw,
    /// As `ls` does on a terminal: wherever a shell would need it.
    Shell,
    /// Only where the terminal needs it: control characters and broken UTF-8.
    Controls,
}

/// `name` under `quoting`.
pub fn quote(name: &[u8], quoting: Quoting) -> Cow<'_, [u8]> {
    let needed = match quoting {
        Quoting::Raw => false,
        Quoting::Shell => needs_shell_quotes(name),
        Quoting::Controls => has_unprintable(name),
    };
    if needed { Cow::Owned(shell_escape(name)) } else { Cow::Borrowed(name) }
}

/// `name` for a message on standard error.
pub fn for_message(name: &[u8]) -> String {
    String::from_utf8_lossy(&quote(name, Quoting::Shell)).into_owned()
}

/// A piece of a name.
enum Piece<'a> {
    Printable(&'a str),
    /// A byte that is part of no printable character.
    Byte(u8),
}

fn pieces(name: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    name.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().split_inclusive(|_| true).flat_map(|s| {
            let printable = s.chars().all(|c| !c.is_control());
            let bytes = if printable { &[] } else { s.as_bytes() };
            printable.then_some(Piece::Printable(s)).into_iter().chain(bytes.iter().map(|&b| Piece::Byte(b)))
        });
        valid.chain(chunk.invalid().iter().map(|&b| Piece::Byte(b)))
    })
}

fn has_unprintable(name: &[u8]) -> bool {
    pieces(name).any(|p| matches!(p, Piece::Byte(_)))
}

fn needs_shell_quotes(name: &[u8]) -> bool {
    name.is_empty()
        || matches!(name[0], b'#' | b'~')
        || matches!(name, b"{" | b"}")
        || name.iter().any(|b| b" !\"$&'()*;<=>?[\\^`|".contains(b))
        || has_unprintable(name)
}

/// GNU's `shell-escape` style: single quotes, with `$'...'` for what has no other spelling.
fn shell_escape(name: &[u8]) -> Vec<u8> {
    let controls = has_unprintable(name);
    if !controls && name.contains(&b'\'') && !name.iter().any(|b| b"\"$`\\!".contains(b)) {
        return [b"\"", name, b"\""].concat();
    }
    let mut out = vec![b'\''];
    let mut in_dollar = false;
    for piece in pieces(name) {
        match piece {
            Piece::Byte(byte) => {
                if !in_dollar {
                    out.extend_from_slice(b"'$'");
                    in_dollar = true;
                }
                escape_byte(byte, &mut out);
            }
            Piece::Printable(s) => {
                if in_dollar {
                    out.extend_from_slice(b"''");
                    in_dollar = false;
                }
                let spelled = if s == "'" { b"'\\''".as_slice() } else { s.as_bytes() };
                out.extend_from_slice(spelled);
            }
        }
    }
    out.push(b'\'');
    out
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    let letter = match byte {
        7 => b'a',
        8 => b'b',
        9 => b't',
        10 => b'n',
        11 => b'v',
        12 => b'f',
        13 => b'r',
        _ => {
            out.extend_from_slice(format!("\\{byte:03o}").as_bytes());
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// Writes a line of `sha256sum`: a name with a backslash, newline or carriage return has them escaped, and the line then begins
/// with a backslash.
pub fn write_checksum_line(out: &mut dyn Write, hex: &str, name: &[u8]) -> io::Result<()> {
    let escaped = name.iter().any(|b| b"\\\n\r".contains(b));
    if escaped {
        out.write_all(b"\\")?;
    }
    out.write_all(hex.as_bytes())?;
    out.write_all(b"  ")?;
    for &byte in name {
        match byte {
            b'\\' => out.write_all(b"\\\\")?,
            b'\n' => out.write_all(b"\\n")?,
            b'\r' => out.write_all(b"\\r")?,
            other => out.write_all(&[other])?,
        }
    }
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn shell(name: &[u8]) -> String {
        String::from_utf8_lossy(&quote(name, Quoting::Shell)).into_owned()
    }

    const NAMES: &[&[u8]] = &[
        b"plain",
        b"with space",
        b"it's",
        b"a\"b",
        b"it's \"both\"",
        b"tab\there",
        b"nl\nx",
        b"\x1b[31mred",
        b"\xff\xfe",
        b"caf\xc3\xa9",
        b"a\xc3",
        b"$HOME",
        b"~x",
        b"x~",
        b"#x",
        b"a#",
        b"{",
        b"{a}",
        b"a=b",
        b"a,b",
        b"a:b",
        b"[",
        b"-x",
        b"a%b",
        b"\x01a'b",
        b"+",
        b"@",
        b"^",
        b"!",
        b"a\\b",
        b"q\x7f",
        b"'",
        b"''\n",
        b"x\xc2\x85y",
        b"\n",
        b"a\n\nb\x02c",
        b"it's!",
        b"a]b",
        b"a'\\b",
    ];

    /// The oracle: `ls --quoting-style=shell-escape` of the host, on real files.
    #[test]
    fn shell_quoting_is_that_of_gnu_ls() {
        let dir = tempfile::tempdir().unwrap();
        for name in NAMES {
            std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), b"").unwrap();
            let run = std::process::Command::new("ls")
                .args(["--quoting-style=shell-escape", "-d", "--"])
                .arg(std::ffi::OsStr::from_bytes(name))
                .env("LC_ALL", "C.UTF-8")
                .current_dir(dir.path())
                .output()
                .unwrap();
            let expected = String::from_utf8_lossy(&run.stdout).trim_end_matches('\n').to_owned();
            assert_eq!(shell(name), expected, "{:?}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn raw_is_raw_and_controls_only_where_needed() {
        assert_eq!(&*quote(b"a\x1bb", Quoting::Raw), b"a\x1bb");
        assert_eq!(&*quote(b"a b", Quoting::Controls), b"a b");
        assert_eq!(&*quote(b"a\x1bb", Quoting::Controls), b"'a'$'\\033''b'");
    }

    #[test]
    fn checksum_lines_escape_as_sha256sum_does() {
        let mut out = Vec::new();
        write_checksum_line(&mut out, "00", b"a\nb\\c").unwrap();
        write_checksum_line(&mut out, "00", b"\xff").unwrap();
        assert_eq!(out, b"\\00  a\\nb\\\\c\n00  \xff\n");
    }
}
