//! Words of a line, split as a POSIX shell splits them: blanks, quotes, backslashes and `#`. There are no variables, no `~`, no operators.
//!
//! Who calls it: `script`, which runs lines, and the completion of `shell`, which looks at lines that are not finished.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// What it says, without quotes.
    pub text: OsString,
    /// The same as a pattern: what was quoted has a backslash in front where it would be special.
    pub pattern: Vec<u8>,
    /// Where it begins in the line.
    pub start: usize,
}

/// A line as far as it goes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub words: Vec<Word>,
    /// How the line ends.
    pub end: End,
}

/// What is open at the end of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Nothing: what follows begins a word.
    #[default]
    Blank,
    /// A word that is not in quotes.
    Word,
    /// Single quotes.
    Single,
    /// Double quotes.
    Double,
    /// A backslash that has nothing behind it.
    Backslash,
    /// A comment.
    Comment,
}

/// Splits a line.
pub fn split(line: &[u8]) -> Line {
    let mut out = Line::default();
    let mut text = Vec::new();
    let mut word = Word::default();
    let mut at = 0;
    while let Some(&byte) = line.get(at) {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\n');
        let next = line.get(at + 1).copied();
        at += 1;
        if out.end == End::Blank {
            if is_blank {
                continue;
            }
            if byte == b'#' {
                out.end = End::Comment;
            } else if byte != b'\\' || next != Some(b'\n') {
                (word, text) = (Word { start: at - 1, ..Word::default() }, Vec::new());
                out.end = End::Word;
            }
        }
        match (out.end, byte) {
            (End::Comment, b'\n') => out.end = End::Blank,
            (End::Comment | End::Backslash, _) => {}
            (End::Single, b'\'') | (End::Double, b'"') => out.end = End::Word,
            (End::Single, _) => quoted(&mut text, &mut word.pattern, byte),
            (End::Double, b'\\') if matches!(next, Some(b'$' | b'`' | b'"' | b'\\')) => {
                quoted(&mut text, &mut word.pattern, line[at]);
                at += 1;
            }
            (End::Double | End::Word | End::Blank, b'\\') if next == Some(b'\n') => at += 1,
            (End::Double, _) => quoted(&mut text, &mut word.pattern, byte),
            (_, b'\\') => match next {
                Some(next) => {
                    quoted(&mut text, &mut word.pattern, next);
                    at += 1;
                }
                None => out.end = End::Backslash,
            },
            (_, b'\'') => out.end = End::Single,
            (_, b'"') => out.end = End::Double,
            _ if is_blank => {
                word.text = OsString::from_vec(std::mem::take(&mut text));
                out.words.push(std::mem::take(&mut word));
                out.end = End::Blank;
            }
            _ => {
                text.push(byte);
                word.pattern.push(byte);
            }
        }
    }
    if !matches!(out.end, End::Blank | End::Comment) {
        word.text = OsString::from_vec(text);
        out.words.push(word);
    }
    out
}

/// A character that means itself.
fn quoted(text: &mut Vec<u8>, pattern: &mut Vec<u8>, byte: u8) {
    text.push(byte);
    if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'!' | b'^' | b'-') {
        pattern.push(b'\\');
    }
    pattern.push(byte);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;
    use std::process::Command;

    fn texts(line: &str) -> Vec<String> {
        split(line.as_bytes()).words.into_iter().map(|w| w.text.into_string().unwrap()).collect()
    }

    #[test]
    fn lines_are_split_as_a_shell_does() {
        assert_eq!(texts("mkdir -p 'a b' \"c d\" e\\ f # no"), ["mkdir", "-p", "a b", "c d", "e f"]);
        assert_eq!(texts("  # only"), [""; 0]);
        assert_eq!(texts("a#b ''"), ["a#b", ""]);
        for (line, end) in [
            ("", End::Blank),
            ("a ", End::Blank),
            ("a", End::Word),
            ("'open", End::Single),
            ("a \"b'", End::Double),
            ("a\\", End::Backslash),
            ("a #'", End::Comment),
        ] {
            assert_eq!(split(line.as_bytes()).end, end, "{line}");
        }
    }

    /// The oracle: the host's shell, on lines of all that is special here.
    #[test]
    fn any_line_is_split_as_a_shell_does() {
        let pieces = ["a", " ", "'", "\"", "\\", "#", "b*", "\t", "\n", "é", "[x]", "-", "\\\n"];
        let mut seed = 1u64;
        let mut compared = 0;
        for _ in 0..400 {
            let mut line = String::new();
            for _ in 0..9 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                line += pieces[(seed >> 33) as usize % pieces.len()];
            }
            let split = split(line.as_bytes());
            // New lines end commands there; a comment goes to the next one, backslash or not.
            let has_comment = line.contains('#');
            let joined = line.replace("\\\\", "").replace(if has_comment { "" } else { "\\\n" }, "");
            let is_one = !joined.contains('\n');
            if !is_one || !matches!(split.end, End::Blank | End::Word | End::Comment) {
                continue;
            }
            let script = format!("set -f; printf '%s\\0' . {line}");
            let out = Command::new("sh").args(["-c", &script]).output().unwrap();
            let expected: Vec<&[u8]> = out.stdout.split(|byte| *byte == 0).collect();
            let got: Vec<&[u8]> = split.words.iter().map(|word| word.text.as_bytes()).collect();
            assert_eq!(got, expected[1..expected.len() - 1], "{line:?}");
            compared += 1;
        }
        assert!(compared > 50, "{compared}");
    }

    #[test]
    fn what_is_quoted_is_no_pattern() {
        let patterns = |line: &str| -> Vec<String> {
            split(line.as_bytes()).words.into_iter().map(|w| String::from_utf8(w.pattern).unwrap()).collect()
        };
        assert_eq!(patterns("*.c '*.c' \"*\".c \\*.c a'b'*"), ["*.c", "\\*.c", "\\*.c", "\\*.c", "ab*"]);
    }
}
