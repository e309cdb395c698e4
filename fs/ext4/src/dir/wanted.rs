//! [`Wanted`]: the name that a lookup looks for, and when an entry's name is it.
//!
//! Who calls it: `dir`, `htree`. Whom it calls: `casefold`. Memory: a folded name, on the stack.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::casefold::Folded;
use rumpcap_host::{Error, Result};

/// `s_encoding` of UTF-8 12.1, the only encoding there is.
const ENCODING_UTF8_12_1: u16 = 1;
/// `s_encoding_flags`: names that are not valid do not exist.
const STRICT: u16 = 1;

/// A name that is looked for.
pub(crate) struct Wanted<'n> {
    name: &'n [u8],
    comparison: Comparison,
    /// The folded name, where the directory folds and the name is valid; else only the same bytes are equal.
    folded: Option<Folded>,
}

/// How a directory compares names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Exact,
    Folded,
}

impl<'n> Wanted<'n> {
    /// A name that only the same bytes match.
    pub(crate) fn exactly(name: &'n [u8]) -> Wanted<'n> {
        Wanted { name, comparison: Comparison::Exact, folded: None }
    }

    /// A name in a directory that folds.
    ///
    /// # Errors
    /// `InvalidInput` for a name that is not valid where the encoding is strict; `Unsupported` for another encoding.
    pub(crate) fn folded(name: &'n [u8], encoding: u16, flags: u16) -> Result<Wanted<'n>> {
        if encoding != ENCODING_UTF8_12_1 {
            return Err(Error::Unsupported { what: "casefold encoding other than utf8-12.1" });
        }
        let folded = Folded::new(name);
        if folded.is_none() && flags & STRICT != 0 {
            return Err(Error::InvalidInput { what: "name: not UTF-8 12.1, in a strict directory" });
        }
        Ok(Wanted { name, comparison: Comparison::Folded, folded })
    }

    /// Whether the directory folds.
    pub(crate) fn is_folded(&self) -> bool {
        self.comparison == Comparison::Folded
    }

    /// The bytes that a tree's hash is made of.
    pub(crate) fn hashed_bytes(&self) -> &[u8] {
        self.folded.as_ref().map_or(self.name, Folded::as_bytes)
    }

    /// Whether an entry of this name is the wanted one.
    #[inline]
    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        name == self.name || self.folded.as_ref().is_some_and(|folded| folded.matches(name))
    }
}
