//! ONC RPC (RFC 5531): the head of a call, and that of an answer.
//!
//! Who calls it: `dispatch`. A record begins with its mark: 31 bits of length, and whether it is the last of its message.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::xdr::{Garbage, Reader};
use nfs3_types::rpc::{
    RPC_VERSION_2, accept_stat_data, accepted_reply, auth_stat, fragment_header, msg_body, opaque_auth,
    rejected_reply, reply_body, rpc_msg,
};
use nfs3_types::xdr_codec::Pack;

/// Bytes of a record's mark.
pub const MARK_BYTES: usize = 4;

/// The most bytes of credentials or of a verifier (RFC 5531, 8.2).
const AUTH_BYTES_MAX: usize = 400;

/// The most bytes of a call but its arguments: six integers; credentials and a verifier, each with flavour and length.
pub const CALL_HEAD_BYTES_MAX: usize = 6 * 4 + 2 * (8 + AUTH_BYTES_MAX);

/// Says that it is a call.
const CALL: u32 = 0;

/// The head of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The client's number for it.
    pub xid: u32,
    /// Program.
    pub program: u32,
    /// Version of the program.
    pub version: u32,
    /// Procedure.
    pub procedure: u32,
    /// Kind of the credentials.
    pub flavour: u32,
    /// The credentials.
    pub credentials: &'a [u8],
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is no call: whoever sends it does not speak RPC.
    NoCall,
    /// Another version of RPC.
    Version {
        /// The client's number for it.
        xid: u32,
    },
}

impl From<Garbage> for Malformed {
    fn from(_: Garbage) -> Malformed {
        Malformed::NoCall
    }
}

impl<'a> Call<'a> {
    /// Reads a head; the arguments are left in `reader`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(reader: &mut Reader<'a>) -> Result<Call<'a>, Malformed> {
        let xid = reader.u32()?;
        if reader.u32()? != CALL {
            return Err(Malformed::NoCall);
        }
        if reader.u32()? != RPC_VERSION_2 {
            return Err(Malformed::Version { xid });
        }
        let (program, version, procedure) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let (flavour, credentials) = (reader.u32()?, reader.opaque(AUTH_BYTES_MAX)?);
        let _verifier = (reader.u32()?, reader.opaque(AUTH_BYTES_MAX)?);
        Ok(Call { xid, program, version, procedure, flavour, credentials })
    }
}

/// Packs `value` behind what `out` holds.
pub fn pack(out: &mut Vec<u8>, value: &impl Pack) {
    value.pack(out).expect("a vector takes all bytes, and no answer has 4 GiB");
}

fn start(out: &mut Vec<u8>, xid: u32, body: reply_body<'_>) {
    out.clear();
    out.extend_from_slice(&[0; MARK_BYTES]);
    pack(out, &rpc_msg { xid, body: msg_body::REPLY(body) });
}

/// Begins an answer of which `data` says what comes behind the head.
pub fn accept(out: &mut Vec<u8>, xid: u32, data: accept_stat_data) {
    let reply = accepted_reply { verf: opaque_auth::default(), reply_data: data };
    start(out, xid, reply_body::MSG_ACCEPTED(reply));
}

/// An answer that refuses another version of RPC.
pub fn refuse_version(out: &mut Vec<u8>, xid: u32) {
    let denied = rejected_reply::rpc_mismatch(RPC_VERSION_2, RPC_VERSION_2);
    start(out, xid, reply_body::MSG_DENIED(denied));
}

/// An answer that refuses credentials.
pub fn refuse_credentials(out: &mut Vec<u8>, xid: u32, why: auth_stat) {
    start(out, xid, reply_body::MSG_DENIED(rejected_reply::auth_error(why)));
}

/// Writes the mark of an answer that is complete.
pub fn mark(out: &mut [u8]) {
    let len = out.len().saturating_sub(MARK_BYTES);
    let len = u32::try_from(len).expect("an answer is as long as a transfer and a head at most");
    if let Some(mark) = out.first_chunk_mut::<MARK_BYTES>() {
        *mark = fragment_header::new(len, true).into_xdr_buf();
    }
}
