//! The commands, one per file: its options (`*Args`, with the help that users see) and its `run`.

pub mod cat;
pub mod completions;
pub mod cp;
pub mod df;
pub mod du;
pub mod find;
pub mod fsck;
pub mod head;
pub mod info;
pub mod ls;
pub mod man;
pub mod mkfs;
pub mod readlink;
pub mod sha256;
pub mod stat;
pub mod tar;
pub mod top;
pub mod trace;
pub mod tree;
pub mod xattr;
