//! Patterns in the words of a line, and which side's files a word means.
//!
//! Who calls it: `script` before a line is read as a command; completion asks [`side_of`].

use super::is_expression;
use crate::outcome::Run;
use crate::path_pattern::{OnHost, PathPattern};
use crate::session::{InImage, Session};
use crate::words::Word;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Which files a word of a line can mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Those of the image.
    Image,
    /// Those of the image, behind a colon.
    Colon,
    /// Those of the host.
    Host,
    /// It is no path.
    Neither,
}

/// Which files the word `text` can mean behind the words `before`.
pub fn side_of(before: &[Word], text: &[u8]) -> Side {
    let Some((command, arguments)) = before.split_first() else { return Side::Neither };
    if text.first() == Some(&b'-') {
        return Side::Neither;
    }
    let previous = arguments.last().map(|word| word.text.as_bytes()).unwrap_or_default();
    match command.text.as_bytes() {
        b"cp" if text.first() == Some(&b':') => Side::Colon,
        b"cp" => Side::Host,
        b"tar" if matches!(previous, b"-f" | b"-xf" | b"-o" | b"--output" | b"--file") => Side::Host,
        b"write" if matches!(previous, b"-i" | b"--input") => Side::Host,
        b"find" if arguments.iter().any(|word| is_expression(&word.text)) => Side::Neither,
        b"help" | b"?" => Side::Neither,
        _ => Side::Image,
    }
}

/// The words of a line, patterns replaced by what they match. A pattern that matches nothing stays as it is.
pub(super) fn expand(session: &mut Session, line: Vec<Word>) -> Run<Vec<OsString>> {
    let mut words = Vec::new();
    for (at, word) in line.iter().enumerate() {
        let side = side_of(&line[..at], word.text.as_bytes());
        let (colon, pattern) = match side {
            Side::Colon => word.pattern.split_at(1),
            _ => word.pattern.split_at(0),
        };
        let matches = match (PathPattern::parse(pattern), side) {
            (None, _) | (_, Side::Neither) => Vec::new(),
            (Some(pattern), Side::Host) => pattern.matches(&OnHost),
            (Some(pattern), Side::Image | Side::Colon) => {
                let here = session.target(OsStr::new(":"))?;
                pattern.matches(&InImage { mount: &here.mount, directory: &here.path })
            }
        };
        if matches.is_empty() {
            words.push(word.text.clone());
        }
        words.extend(matches.into_iter().map(|path| {
            // A name is no option, and its colon its own.
            let dot = if matches!(path.first(), Some(b'-' | b':')) { b"./".as_slice() } else { b"" };
            OsString::from_vec([colon, dot, &path].concat())
        }));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_mean_files_of_the_image_or_the_host() {
        let side = |line: &str| {
            let mut words = crate::words::split(line.as_bytes()).words;
            let last = words.pop().unwrap();
            side_of(&words, last.text.as_bytes())
        };
        assert_eq!(side("rm *.log"), Side::Image);
        assert_eq!(side("rm"), Side::Neither);
        assert_eq!(side("rm -r"), Side::Neither);
        assert_eq!(side("cp *.c"), Side::Host);
        assert_eq!(side("cp a b :x"), Side::Colon);
        assert_eq!(side("tar -x -f a.tar"), Side::Host);
        assert_eq!(side("find sub*"), Side::Image);
        assert_eq!(side("find . -name *.c"), Side::Neither);
    }
}
