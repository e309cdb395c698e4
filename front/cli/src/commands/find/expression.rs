//! The expressions of find(1): words to a tree.
//!
//! Grammar, lowest precedence first: `or := and (-o and)*`, `and := not ([-a] not)*`, `not := ! not | ( or ) | primary`.
//! Depth of nesting is bounded, so that no command line overflows the stack.

use super::test::{Test, parse_test};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// A tree of tests and actions.
#[derive(Debug)]
pub enum Expression {
    /// Both; the second only if the first holds.
    And(Box<Expression>, Box<Expression>),
    /// Either; the second only if the first does not hold.
    Or(Box<Expression>, Box<Expression>),
    /// Not.
    Not(Box<Expression>),
    /// A test.
    Test(Test),
    /// Prints the path, or the JSON object.
    Print,
    /// Prints the path and a NUL.
    Print0,
    /// Ends the search.
    Quit,
}

/// A parsed command line of `find`.
#[derive(Debug)]
pub struct Plan {
    /// What is decided for each file.
    pub expression: Expression,
    /// Levels to go down.
    pub max_depth: usize,
    /// Levels from the start that are not looked at.
    pub min_depth: usize,
    /// JSON instead of lines.
    pub json: bool,
}

/// Nesting of parentheses and `!` at most.
const DEPTH_MAX: u32 = 100;

/// Whether `word` cannot be an address: the expression begins here.
pub fn begins_expression(word: &OsStr) -> bool {
    let bytes = word.as_bytes();
    (bytes.starts_with(b"-") && bytes.len() > 1) || matches!(bytes, b"!" | b"(" | b")" | b",")
}

struct Parser<'a> {
    words: std::iter::Peekable<std::slice::Iter<'a, OsString>>,
    plan: Plan,
    has_action: bool,
    depth: u32,
}

/// Parses an expression.
///
/// # Errors
/// A message for the user.
pub fn parse(words: &[OsString]) -> Result<Plan, String> {
    let plan = Plan { expression: Expression::Print, max_depth: usize::MAX, min_depth: 0, json: false };
    let mut parser = Parser { words: words.iter().peekable(), plan, has_action: false, depth: 0 };
    if parser.words.peek().is_some() {
        let expression = parser.or()?;
        if let Some(word) = parser.words.next() {
            return Err(format!("unexpected {}", show(word)));
        }
        parser.plan.expression = match parser.has_action {
            true => expression,
            false => Expression::And(Box::new(expression), Box::new(Expression::Print)),
        };
    }
    Ok(parser.plan)
}

fn show(word: &OsStr) -> String {
    crate::quote::for_message(word.as_bytes())
}

impl Parser<'_> {
    fn next_is(&mut self, spellings: &[&[u8]]) -> bool {
        self.words.next_if(|w| spellings.contains(&w.as_bytes())).is_some()
    }

    fn or(&mut self) -> Result<Expression, String> {
        let mut left = self.and()?;
        while self.next_is(&[b"-o", b"-or"]) {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, String> {
        let mut left = self.not()?;
        loop {
            let ends = [b"-o".as_slice(), b"-or", b")"];
            match self.words.peek() {
                None => return Ok(left),
                Some(word) if ends.contains(&word.as_bytes()) => return Ok(left),
                Some(_) => {}
            }
            self.next_is(&[b"-a", b"-and"]);
            left = Expression::And(Box::new(left), Box::new(self.not()?));
        }
    }

    fn not(&mut self) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err("the expression is nested too deeply".to_owned());
        }
        let result = if self.next_is(&[b"!", b"-not"]) {
            Ok(Expression::Not(Box::new(self.not()?)))
        } else if self.next_is(&[b"("]) {
            let inner = self.or()?;
            if self.next_is(&[b")"]) { Ok(inner) } else { Err("a ( has no )".to_owned()) }
        } else {
            self.primary()
        };
        self.depth -= 1;
        result
    }

    fn primary(&mut self) -> Result<Expression, String> {
        let word = self.words.next().ok_or("the expression ends where a test is needed")?;
        let name = word.to_str().unwrap_or_default();
        match name {
            "-print" => return self.action(Expression::Print),
            "-print0" => return self.action(Expression::Print0),
            "-quit" => return self.action(Expression::Quit),
            "-json" | "--json" => self.plan.json = true,
            "-maxdepth" => self.plan.max_depth = self.levels(name)?,
            "-mindepth" => self.plan.min_depth = self.levels(name)?,
            "-true" => {}
            "-false" => return Ok(Expression::Not(Box::new(Expression::Test(Test::True)))),
            _ => return self.test(word).map(Expression::Test),
        }
        Ok(Expression::Test(Test::True))
    }

    /// An action; without any (`-quit` does not count), matches are printed.
    fn action(&mut self, action: Expression) -> Result<Expression, String> {
        self.has_action |= !matches!(action, Expression::Quit);
        Ok(action)
    }

    fn levels(&mut self, name: &str) -> Result<usize, String> {
        let word = self.words.next().ok_or_else(|| format!("{name} needs a number"))?;
        let number = word.to_str().and_then(|w| w.parse().ok());
        number.ok_or_else(|| format!("{name} needs a whole number, not {}", show(word)))
    }

    fn test(&mut self, word: &OsString) -> Result<Test, String> {
        if word == "-empty" {
            return Ok(Test::Empty);
        }
        let Some(name) = word.to_str().filter(|n| super::test::TESTS.contains(n)) else {
            let hint = if word.as_bytes().starts_with(b"--") { "; options go before the image" } else { "" };
            return Err(format!("unknown test or action {}{hint}", show(word)));
        };
        let value = self.words.next().ok_or_else(|| format!("{name} needs a value"))?;
        parse_test(name, value).map_err(|e| format!("{name} {}: {e}", show(value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Plan, String> {
        parse(&text.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn and_binds_closer_than_or() {
        let plan = parsed("-name a -o -name b -name c").unwrap();
        let text = format!("{:?}", plan.expression);
        assert!(text.starts_with("And(Or(Test(Name"), "{text}");
        assert!(text.contains("And(Test(Name"), "{text}");
    }

    #[test]
    fn an_action_replaces_the_implied_print() {
        assert!(!format!("{:?}", parsed("-print0").unwrap().expression).contains("Print)"));
        assert!(format!("{:?}", parsed("-type f").unwrap().expression).contains("Print)"));
        assert!(matches!(parsed("").unwrap().expression, Expression::Print));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "(",
            ")",
            "( -true",
            "-name",
            "-o -true",
            "-true -o",
            "!",
            "-type x",
            "-size 1q",
            "-perm 9",
            "-maxdepth -1",
            "-nosuch",
            "-exec ls",
            "-mtime a",
            "-uid",
            "-true )",
            "--offset 3",
            "-name a b",
            "-uid 1.5",
            "-size +-1",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        let deep = "! ".repeat(5000);
        assert!(parsed(&deep).is_err());
    }

    #[test]
    fn long_chains_do_not_nest_the_parser() {
        assert!(parsed(&"-true ".repeat(5000)).is_ok());
    }
}
