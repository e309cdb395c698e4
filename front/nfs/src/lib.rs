//! A mount served to NFSv3 clients (RFC 1813), MOUNT included, over TCP: read-only or to be changed, in bounded memory.
//!
//! Who calls it: the command (`rumpcap serve`). Whom it calls: the library `rumpcap`; `nfs3_types` for the protocol's types.
//!
//! Reading order: `server` (listens, admits), `connection` (records, threads), `dispatch` (calls), `procedures` (what each does), then what
//! they stand on: `handle` and `key`, `credentials` and `access`, `stability`, `stripes`, `duplicates`, `xdr` and `rpc`.
//!
//! NF-1. Nothing is kept for what a client has looked up, opened or listed: a handle is the inode's name, signed.
//! NF-2. Memory: each call that is worked on has a thread with buffers of one record and one answer, allocated when the first record comes; there are
//! `connections_max × calls_max` at most. A record that says to be longer than its buffer ends the connection before it is read.
//! NF-3. A client that is silent, or slow, holds its own connection alone, and loses it to others when there is no free one.
//! NF-4. No bytes of a client make it panic: arguments are read by [`xdr`], which trusts no length.
#![forbid(unsafe_code)]

mod access;
mod attributes;
mod connection;
mod credentials;
mod dispatch;
mod duplicates;
mod error;
mod export;
mod handle;
mod key;
mod mount_program;
mod options;
mod procedures;
mod rpc;
mod server;
mod stability;
mod stripes;
mod xdr;

pub use error::{KeyError, StartError};
pub use key::Key;
pub use options::{Network, Options, Owner, Ports, Squash, Stability, Writes};
pub use server::{Refused, Server};
