//! [`Pattern`]: shell patterns as `find -name` has them (`fnmatch` without flags).
//!
//! A character is a UTF-8 character where the bytes are valid, else a byte. `*` and `?` match `/` and a leading dot too.
//! Who calls it: `find`. Time: linear in the name for each `*` (only the last star is ever taken back). Memory: none per match.

/// A compiled pattern.
#[derive(Clone, Debug)]
pub struct Pattern {
    pieces: Vec<Piece>,
    case: Case,
}

/// Whether letters' case counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// It does.
    Sensitive,
    /// It does not.
    Insensitive,
}

#[derive(Clone, Debug)]
enum Piece {
    One(u32),
    Any,
    Star,
    Set { negated: bool, members: Vec<Member> },
}

#[derive(Clone, Debug)]
enum Member {
    Range(u32, u32),
    Class(fn(char) -> bool),
}

/// Bytes that are part of no character are numbered from here on.
const BYTE_BASE: u32 = 0x11_0000;

impl Pattern {
    /// Compiles `pattern`; a `[` without its `]` stands for itself, a backslash takes the next character literally.
    pub fn new(pattern: &[u8], case: Case) -> Pattern {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some((c, after)) = split_character(rest) {
            rest = after;
            let piece = match char::from_u32(c) {
                Some('*') => Piece::Star,
                Some('?') => Piece::Any,
                Some('\\') => match split_character(rest) {
                    Some((c, after)) => {
                        rest = after;
                        Piece::One(c)
                    }
                    // As glibc: a pattern that ends with a backslash matches nothing.
                    None => Piece::Set { negated: false, members: Vec::new() },
                },
                Some('[') => match parse_set(rest) {
                    Some((set, after)) => {
                        rest = after;
                        set
                    }
                    None => Piece::One(c),
                },
                _ => Piece::One(c),
            };
            pieces.push(piece);
        }
        Pattern { pieces, case }
    }

    /// Whether all of `name` matches.
    pub fn matches(&self, name: &[u8]) -> bool {
        let (mut piece, mut rest) = (0, name);
        // The piece behind the last star, and what it was tried on.
        let mut retry: Option<(usize, &[u8])> = None;
        loop {
            let step = match (self.pieces.get(piece), split_character(rest)) {
                (Some(Piece::Star), _) => {
                    piece += 1;
                    retry = Some((piece, rest));
                    continue;
                }
                (None, None) => return true,
                (Some(p), Some((c, after))) if self.accepts(p, c) => Some(after),
                _ => None,
            };
            match (step, retry) {
                (Some(after), _) => (piece, rest) = (piece + 1, after),
                (None, Some((behind_star, tried))) => {
                    let Some((_, after)) = split_character(tried) else { return false };
                    retry = Some((behind_star, after));
                    (piece, rest) = (behind_star, after);
                }
                (None, None) => return false,
            }
        }
    }

    fn accepts(&self, piece: &Piece, c: u32) -> bool {
        match piece {
            Piece::Any | Piece::Star => true,
            Piece::One(p) if self.case == Case::Insensitive => fold(*p) == fold(c),
            Piece::One(p) => *p == c,
            Piece::Set { negated, members } => members.iter().any(|m| m.holds(c, self.case)) != *negated,
        }
    }
}

impl Member {
    /// A class is asked about the character as it is, whatever the case, as glibc does.
    fn holds(&self, c: u32, case: Case) -> bool {
        match self {
            Member::Range(from, to) if case == Case::Insensitive => {
                [lower(c), upper(c)].iter().any(|c| (*from..=*to).contains(c))
            }
            Member::Range(from, to) => (*from..=*to).contains(&c),
            Member::Class(is_member) => char::from_u32(c).is_some_and(is_member),
        }
    }
}

/// The first character of `bytes` and what follows it.
fn split_character(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((u32::from(first), rest));
    }
    let window = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&window[..e.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(c) => Some((u32::from(c), &bytes[c.len_utf8()..])),
        None => Some((BYTE_BASE + u32::from(first), rest)),
    }
}

/// Parses what follows a `[`; gives the set and what follows its `]`.
fn parse_set(mut rest: &[u8]) -> Option<(Piece, &[u8])> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    if negated {
        rest = &rest[1..];
    }
    let mut members = Vec::new();
    let mut first = true;
    loop {
        if let Some(after) = rest.strip_prefix(b"[:")
            && let Some(end) = after.windows(2).position(|w| w == b":]")
        {
            members.push(Member::Class(class(&after[..end])?));
            rest = &after[end + 2..];
            first = false;
            continue;
        }
        let (from, after) = split_character(rest)?;
        if from == u32::from(b']') && !first {
            return Some((Piece::Set { negated, members }, after));
        }
        first = false;
        let (from, after) = unescape(from, after)?;
        rest = after;
        let to = match rest {
            [b'-', next, ..] if *next != b']' => {
                let (to, after) = split_character(&rest[1..])?;
                let (to, after) = unescape(to, after)?;
                rest = after;
                to
            }
            _ => from,
        };
        members.push(Member::Range(from, to));
    }
}

fn unescape(c: u32, rest: &[u8]) -> Option<(u32, &[u8])> {
    if c == u32::from(b'\\') { split_character(rest) } else { Some((c, rest)) }
}

fn class(name: &[u8]) -> Option<fn(char) -> bool> {
    Some(match name {
        b"alpha" => char::is_alphabetic,
        b"digit" => |c| c.is_ascii_digit(),
        b"alnum" => char::is_alphanumeric,
        b"upper" => char::is_uppercase,
        b"lower" => char::is_lowercase,
        b"space" => char::is_whitespace,
        b"blank" => |c| c == ' ' || c == '\t',
        b"punct" => |c| c.is_ascii_punctuation(),
        b"cntrl" => char::is_control,
        b"xdigit" => |c| c.is_ascii_hexdigit(),
        b"print" => |c| !c.is_control(),
        b"graph" => |c| !c.is_control() && !c.is_whitespace(),
        _ => return None,
    })
}

fn fold(c: u32) -> u32 {
    lower(upper(c))
}

fn lower(c: u32) -> u32 {
    single(char::from_u32(c).map(char::to_lowercase), c)
}

fn upper(c: u32) -> u32 {
    single(char::from_u32(c).map(char::to_uppercase), c)
}

/// The one character of a case mapping; `c` itself where it has none or several.
fn single(mapped: Option<impl Iterator<Item = char>>, c: u32) -> u32 {
    let Some(mut mapped) = mapped else { return c };
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => u32::from(one),
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    const NAMES: &[&[u8]] = &[
        b"a",
        b"A",
        b"ab",
        b"abc",
        b"aXbXc",
        b".hidden",
        b"]",
        b"[",
        b"[a",
        b"a-b",
        b"-",
        b"caf\xc3\xa9",
        b"\xff",
        b"a\xffb",
        b"a*b",
        b"a\\b",
        b"!x",
        b"^",
        b"CAF\xc3\x89",
        b"5",
        b"a b",
        b"aaab",
        b"*",
        b"?",
        b"\\",
        b"x]y",
        b"a\nb",
    ];
    const PATTERNS: &[&[u8]] = &[
        b"a",
        b"*",
        b"?",
        b"??",
        b"a*",
        b"*b",
        b"*b*",
        b"a*b*c",
        b"[ab]",
        b"[a-c]*",
        b"[!a]*",
        b"[^a]*",
        b"[]]",
        b"[!]]*",
        b"[",
        b"[a",
        b"\\*",
        b"a\\*b",
        b"a\\\\b",
        b".*",
        b"caf?",
        b"caf\xc3\xa9",
        b"[[:upper:]]*",
        b"[[:digit:]]",
        b"[a-]*",
        b"*[!b]",
        b"",
        b"a*a*b",
        b"[\\]]",
        b"\\",
        b"[\xc3\xa9]",
        b"*\xc3\xa9",
        b"[[:space:]]",
        b"*[[:space:]]*",
        b"[a-c",
        b"[-a]*",
        b"x]y",
        b"***",
        b"[!!]*",
        b"[--0]",
    ];

    /// The oracle: GNU find on real files.
    #[test]
    fn patterns_match_what_gnu_find_matches() {
        let dir = tempfile::tempdir().unwrap();
        for name in NAMES {
            std::fs::write(dir.path().join(OsStr::from_bytes(name)), b"").unwrap();
        }
        for (option, case) in [("-name", Case::Sensitive), ("-iname", Case::Insensitive)] {
            for pattern in PATTERNS {
                let run = std::process::Command::new("find")
                    .args([".", "-mindepth", "1", option])
                    .arg(OsStr::from_bytes(pattern))
                    .args(["-printf", "%f\\0"])
                    .env("LC_ALL", "C.UTF-8")
                    .current_dir(dir.path())
                    .output()
                    .unwrap();
                let mut expected: Vec<&[u8]> =
                    run.stdout.split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
                let compiled = Pattern::new(pattern, case);
                let mut got: Vec<&[u8]> = NAMES.iter().copied().filter(|n| compiled.matches(n)).collect();
                expected.sort_unstable();
                got.sort_unstable();
                let show = |l: &[&[u8]]| {
                    l.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect::<Vec<_>>()
                };
                assert_eq!(show(&got), show(&expected), "{option} {:?}", String::from_utf8_lossy(pattern));
            }
        }
    }

    #[test]
    fn many_stars_take_linear_time() {
        let name = vec![b'a'; 255];
        let pattern = b"a*".repeat(60);
        assert!(!Pattern::new(&[&pattern[..], b"b"].concat(), Case::Sensitive).matches(&name));
    }
}
