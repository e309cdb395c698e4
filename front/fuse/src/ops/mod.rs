//! The operations: one method of [`crate::server::Server`] for each request, by what they are about.
//!
//! Who calls them: `dispatch`. Whom they call: the library `rumpcap`. Each takes its arguments from the request, and puts its answer into the
//! reply; what it returns as an error is all that the client gets.
//!
//! Memory: stacks and the worker's buffer. Of the library they call what gives nothing on the heap.

mod attributes;
mod content;
mod directory;
mod durable;
mod ioctl;
mod tree;
mod xattr;
