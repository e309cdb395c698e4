//! Searches the tokens of one Rust file for what the rules are about.
//!
//! Who calls it: `source`. It works on tokens rather than on text, so that comments and strings do not count, and
//! rather than on a syntax tree, so that what stands inside of macros does.

use crate::Result;
use proc_macro2::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// What was found in a file.
#[derive(Default)]
pub(super) struct Scan {
    /// In the order of the file.
    pub findings: Vec<Place>,
    /// Names of modules in files of their own that are compiled for tests only.
    pub test_modules: Vec<String>,
    /// `#![forbid(unsafe_code)]` is there.
    pub forbids_unsafe: bool,
}

/// A finding and where it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1 on.
    pub line: usize,
    /// Inside an item that is compiled for tests only.
    pub is_in_test: bool,
    pub what: Finding,
}

/// What the rules are about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// The keyword `unsafe`.
    Unsafe,
    /// Global state that can change: says by which means.
    Global(String),
    /// A module of `std` that reaches the host.
    Host(String),
    /// A call of `unwrap`.
    Unwrap,
}

/// The modules of `std` that reach the host.
const HOST_MODULES: &[&str] = &["env", "fs", "net", "process", "thread", "time"];

/// Types that make a `static` changeable; `Atomic*` besides.
const CHANGEABLE: &[&str] =
    &["Cell", "Condvar", "LazyLock", "Mutex", "OnceCell", "OnceLock", "RefCell", "RwLock", "UnsafeCell"];

/// Searches `text`.
///
/// # Errors
/// When `text` is not made of Rust tokens.
pub(super) fn scan(text: &str) -> Result<Scan> {
    let tokens: TokenStream = text.parse().map_err(|e| format!("not Rust: {e}"))?;
    let mut scan = Scan::default();
    scan.stream(tokens, false);
    Ok(scan)
}

impl Scan {
    fn stream(&mut self, stream: TokenStream, is_in_test: bool) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut test_ends_at = 0;
        for (at, token) in tokens.iter().enumerate() {
            let rest = &tokens[at..];
            if attribute(rest).is_some_and(is_for_tests) {
                test_ends_at = test_ends_at.max(at + item_len(rest));
                self.test_modules.extend(module_in_own_file(&rest[..item_len(rest)]));
            }
            self.forbids_unsafe |= is_forbid_unsafe(rest);
            let is_in_test = is_in_test || at < test_ends_at;
            if let Some(what) = finding(rest) {
                self.findings.push(Place { line: token.span().start().line, is_in_test, what });
            }
            self.host_modules(rest, is_in_test);
            if let TokenTree::Group(group) = token {
                self.stream(group.stream(), is_in_test);
            }
        }
    }

    /// `std::fs` and `std::{fmt, fs::File}`.
    fn host_modules(&mut self, rest: &[TokenTree], is_in_test: bool) {
        let [TokenTree::Ident(std), TokenTree::Punct(a), TokenTree::Punct(b), after, ..] = rest else {
            return;
        };
        if std != "std" || a.as_char() != ':' || b.as_char() != ':' {
            return;
        }
        let named = match after {
            TokenTree::Ident(module) => vec![module.clone()],
            TokenTree::Group(group) => first_of_each_branch(group),
            _ => return,
        };
        for module in named.into_iter().filter(|module| HOST_MODULES.iter().any(|name| module == name)) {
            let line = module.span().start().line;
            self.findings.push(Place { line, is_in_test, what: Finding::Host(module.to_string()) });
        }
    }
}

/// What begins at the first token, host modules apart.
fn finding(rest: &[TokenTree]) -> Option<Finding> {
    match rest {
        [TokenTree::Ident(word), ..] if word == "unsafe" => Some(Finding::Unsafe),
        [TokenTree::Ident(word), TokenTree::Ident(next), ..] if word == "static" && next == "mut" => {
            Some(Finding::Global("static mut".into()))
        }
        [TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(p), ..]
            if word == "static" && p.as_char() == ':' =>
        {
            changeable(name, rest)
        }
        [TokenTree::Ident(word), TokenTree::Punct(p), ..] if word == "thread_local" && p.as_char() == '!' => {
            Some(Finding::Global("thread_local!".into()))
        }
        [TokenTree::Punct(dot), TokenTree::Ident(word), TokenTree::Group(arguments), ..]
            if dot.as_char() == '.' && word == "unwrap" && arguments.stream().is_empty() =>
        {
            Some(Finding::Unwrap)
        }
        _ => None,
    }
}

/// `static X: Type` whose type can change behind a shared reference.
fn changeable(name: &Ident, rest: &[TokenTree]) -> Option<Finding> {
    let declared = rest
        .iter()
        .take_while(|token| !matches!(token, TokenTree::Punct(p) if ['=', ';'].contains(&p.as_char())));
    let mut words = declared.flat_map(words_of);
    words.find(|word| is_changeable(word)).map(|word| Finding::Global(format!("static {name} is a {word}")))
}

fn is_changeable(word: &str) -> bool {
    CHANGEABLE.contains(&word) || (word.starts_with("Atomic") && word.len() > "Atomic".len())
}

/// All identifiers of a token, those in its brackets included.
fn words_of(token: &TokenTree) -> Vec<String> {
    match token {
        TokenTree::Ident(word) => vec![word.to_string()],
        TokenTree::Group(group) => group.stream().into_iter().flat_map(|token| words_of(&token)).collect(),
        _ => Vec::new(),
    }
}

/// `a` and `c` of `{a::b, c}`.
fn first_of_each_branch(group: &Group) -> Vec<Ident> {
    let mut begins = true;
    let mut named = Vec::new();
    for token in group.stream() {
        match token {
            TokenTree::Ident(word) if begins => {
                named.push(word);
                begins = false;
            }
            TokenTree::Punct(p) => begins = p.as_char() == ',',
            _ => begins = false,
        }
    }
    named
}

/// The content of the outer attribute that begins at the first token.
fn attribute(rest: &[TokenTree]) -> Option<&Group> {
    match rest {
        [TokenTree::Punct(p), TokenTree::Group(g), ..]
            if p.as_char() == '#' && g.delimiter() == Delimiter::Bracket =>
        {
            Some(g)
        }
        _ => None,
    }
}

/// `test`, `tokio::test`, `cfg(test)`, `cfg(all(test, ...))`; not `cfg(not(test))` or `cfg(any(test, ...))`.
fn is_for_tests(attribute: &Group) -> bool {
    let tokens: Vec<TokenTree> = attribute.stream().into_iter().collect();
    match tokens.as_slice() {
        [TokenTree::Ident(cfg), TokenTree::Group(condition)] if cfg == "cfg" => needs_test(condition),
        [.., TokenTree::Ident(last)] => last == "test",
        _ => false,
    }
}

fn needs_test(condition: &Group) -> bool {
    let tokens: Vec<TokenTree> = condition.stream().into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| match (token, tokens.get(at + 1)) {
        (TokenTree::Ident(all), Some(TokenTree::Group(inner))) => all == "all" && needs_test(inner),
        (TokenTree::Ident(word), _) => word == "test",
        _ => false,
    })
}

/// Tokens of the item that the first token, of its attribute, begins: to its braces or semicolon.
fn item_len(rest: &[TokenTree]) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(p) => p.as_char() == ';',
        _ => false,
    };
    rest.iter().position(is_end).map_or(rest.len(), |end| end + 1)
}

/// The name in `mod name;` at the end of `item`.
fn module_in_own_file(item: &[TokenTree]) -> Option<String> {
    match item {
        [.., TokenTree::Ident(word), TokenTree::Ident(name), TokenTree::Punct(_)] if word == "mod" => {
            Some(name.to_string())
        }
        _ => None,
    }
}

/// `#![forbid(unsafe_code)]`, perhaps among others.
fn is_forbid_unsafe(rest: &[TokenTree]) -> bool {
    let [TokenTree::Punct(hash), TokenTree::Punct(bang), TokenTree::Group(group), ..] = rest else {
        return false;
    };
    let words: Vec<String> = group.stream().into_iter().flat_map(|token| words_of(&token)).collect();
    hash.as_char() == '#'
        && bang.as_char() == '!'
        && words.first().is_some_and(|word| word == "forbid")
        && words.iter().any(|word| word == "unsafe_code")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<(usize, Finding)> {
        let found = scan(text).unwrap().findings;
        found.into_iter().filter(|place| !place.is_in_test).map(|place| (place.line, place.what)).collect()
    }

    fn global(what: &str) -> Finding {
        Finding::Global(what.into())
    }

    #[test]
    fn comments_strings_and_names_do_not_count() {
        let text =
            "// unsafe\n/// x.unwrap()\nfn unsafely() -> &'static str { \"unsafe std::fs\" }\nfn unwrap() {}";
        assert_eq!(findings(text), []);
    }

    #[test]
    fn unsafe_and_unwrap_count_inside_macros_too() {
        let text = "macro_rules! m {\n () => { unsafe { f() } } }\nfn g() {\n println!(\"{}\", x.unwrap()) }";
        assert_eq!(findings(text), [(2, Finding::Unsafe), (4, Finding::Unwrap)]);
        assert_eq!(findings("fn f() { x.unwrap_or(1); x.expect(\"y\"); }"), []);
    }

    #[test]
    fn modules_of_the_host_are_found_in_each_spelling() {
        let host = |name: &str| Finding::Host(name.into());
        let text =
            "use std::{cell::Cell,\n time::{Duration, Instant}, thread};\nfn f() { ::std::fs::read(p); }";
        assert_eq!(findings(text), [(2, host("time")), (2, host("thread")), (3, host("fs"))]);
        assert_eq!(findings("use std::fmt; use core::time::Duration; use my::std_like::fs;"), []);
    }

    #[test]
    fn globals_that_can_change_are_found() {
        let text = "static mut A: u8 = 0;\nstatic B: [Mutex<u8>; 2] = x;\nstatic C: AtomicBool = y;\nthread_local! { }";
        let expected = ["static mut", "static B is a Mutex", "static C is a AtomicBool", "thread_local!"];
        let expected: Vec<_> = expected.iter().enumerate().map(|(i, what)| (i + 1, global(what))).collect();
        assert_eq!(findings(text), expected);
        assert_eq!(findings("static NAMES: [&str; 1] = [\"Mutex\"]; fn f(x: &'static Mutex<u8>) {}"), []);
    }

    #[test]
    fn what_is_compiled_for_tests_alone_is_marked() {
        let unwrap = "{ fn f() { x.unwrap(); } }";
        for attribute in ["#[cfg(test)]", "#[cfg(all(test, unix))]", "#[cfg(test)] #[allow(dead_code)]"] {
            assert_eq!(findings(&format!("{attribute} mod tests {unwrap}")), [], "{attribute}");
        }
        for attribute in ["#[cfg(not(test))]", "#[cfg(any(test, unix))]", "#[cfg(unix)]"] {
            assert_eq!(findings(&format!("{attribute} mod tests {unwrap}")).len(), 1, "{attribute}");
        }
        assert_eq!(
            findings("#[test] fn a() { x.unwrap(); }\nfn b() { x.unwrap(); }"),
            [(2, Finding::Unwrap)]
        );
    }

    #[test]
    fn modules_for_tests_in_their_own_file_are_told() {
        let found = scan("#[cfg(test)]\nmod tests;\nmod real;\n#[cfg(test)] mod inline { }").unwrap();
        assert_eq!(found.test_modules, ["tests"]);
    }

    #[test]
    fn the_order_to_forbid_unsafe_code_is_seen() {
        assert!(scan("//! x\n#![forbid(unsafe_code)]").unwrap().forbids_unsafe);
        assert!(!scan("#![deny(unsafe_code)]").unwrap().forbids_unsafe);
    }
}
