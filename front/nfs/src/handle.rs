//! [`Handles`]: the names of inodes that clients keep.
//!
//! Who calls it: `procedures`. 60 bytes:
//! ```text
//! 0 version  1..4 zero  4..8 generation  8..16 inode  16..32 UUID of the file system
//! 32..40 inode of the export  40..44 its generation  44..60 the first 128 bits of HMAC-SHA-256 over what is before
//! ```
//! HA-1. A handle that this server, or an earlier one with the same key, did not give out is `BADHANDLE`: it is looked at no further than to
//! its code, in constant time. So a client comes to an inode only along directories that it may search.
//! HA-2. One that it gave out is `STALE` where it is of another file system or export, and where the inode is gone, even if its number was
//! given again.
//!
//! What a client was given once it keeps, wherever the file is moved within the file system: no path is checked (`no_subtree_check`).

use crate::key::Key;
use hmac::{Hmac, KeyInit, Mac};
use nfs3_types::nfs3::{nfs_fh3, nfsstat3};
use nfs3_types::xdr_codec::Opaque;
use rumpcap::NodeId;
use sha2::Sha256;

/// Bytes of a handle.
pub const HANDLE_BYTES: usize = 60;

const VERSION: u8 = 1;

/// Where the code begins.
const CODE_AT: usize = 44;

/// Makes and reads handles of one export.
pub struct Handles {
    /// With the key already taken in.
    code: Hmac<Sha256>,
    /// UUID and export: what is the same in all of them.
    place: [u8; 28],
}

impl Handles {
    /// Handles for what is below `export` on the file system `uuid`.
    pub fn new(key: &Key, uuid: [u8; 16], export: NodeId) -> Handles {
        let code = Hmac::new_from_slice(&key.0).expect("a key of any length will do");
        let mut place = [0; 28];
        place[..16].copy_from_slice(&uuid);
        place[16..24].copy_from_slice(&export.ino.to_be_bytes());
        place[24..].copy_from_slice(&export.generation.to_be_bytes());
        Handles { code, place }
    }

    /// The handle of an inode.
    pub fn make(&self, id: NodeId) -> [u8; HANDLE_BYTES] {
        let mut handle = [0; HANDLE_BYTES];
        handle[0] = VERSION;
        handle[4..8].copy_from_slice(&id.generation.to_be_bytes());
        handle[8..16].copy_from_slice(&id.ino.to_be_bytes());
        handle[16..CODE_AT].copy_from_slice(&self.place);
        let code = self.code.clone().chain_update(&handle[..CODE_AT]).finalize().into_bytes();
        handle[CODE_AT..].copy_from_slice(&code[..HANDLE_BYTES - CODE_AT]);
        handle
    }

    /// The same, as answers hold it.
    pub fn answer(&self, id: NodeId) -> nfs_fh3 {
        nfs_fh3 { data: Opaque::owned(self.make(id).to_vec()) }
    }

    /// The inode that a handle names; whether it is still there, the file system says.
    ///
    /// # Errors
    /// `BADHANDLE` and `STALE` (HA-1, HA-2).
    pub fn read(&self, handle: &[u8]) -> Result<NodeId, nfsstat3> {
        let handle: &[u8; HANDLE_BYTES] = handle.try_into().map_err(|_| nfsstat3::NFS3ERR_BADHANDLE)?;
        let (said, code) = handle.split_at(CODE_AT);
        let genuine = self.code.clone().chain_update(said).verify_truncated_left(code);
        if genuine.is_err() || said[..4] != [VERSION, 0, 0, 0] {
            return Err(nfsstat3::NFS3ERR_BADHANDLE);
        }
        if said[16..] != self.place {
            return Err(nfsstat3::NFS3ERR_STALE);
        }
        let (generation, ino) = (said[4..].first_chunk(), said[8..].first_chunk());
        let (Some(generation), Some(ino)) = (generation, ino) else {
            return Err(nfsstat3::NFS3ERR_BADHANDLE);
        };
        Ok(NodeId { ino: u64::from_be_bytes(*ino), generation: u32::from_be_bytes(*generation) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: NodeId = NodeId { ino: 2, generation: 0 };

    fn handles(key: u8, uuid: u8, export: NodeId) -> Handles {
        Handles::new(&Key([key; 32]), [uuid; 16], export)
    }

    #[test]
    fn no_bit_of_a_handle_can_be_changed() {
        let handles = handles(1, 2, ROOT);
        let id = NodeId { ino: 0x0102_0304_0506, generation: 77 };
        let handle = handles.make(id);
        assert_eq!(handles.read(&handle), Ok(id));
        for bit in 0..HANDLE_BYTES * 8 {
            let mut forged = handle;
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(handles.read(&forged), Err(nfsstat3::NFS3ERR_BADHANDLE), "bit {bit}");
        }
        for len in 0..HANDLE_BYTES {
            assert_eq!(handles.read(&handle[..len]), Err(nfsstat3::NFS3ERR_BADHANDLE));
        }
    }

    #[test]
    fn a_handle_is_of_one_key_file_system_and_export() {
        let handle = handles(1, 2, ROOT).make(ROOT);
        assert_eq!(handles(1, 2, ROOT).read(&handle), Ok(ROOT), "a restarted server knows it");
        assert_eq!(handles(3, 2, ROOT).read(&handle), Err(nfsstat3::NFS3ERR_BADHANDLE));
        assert_eq!(handles(1, 3, ROOT).read(&handle), Err(nfsstat3::NFS3ERR_STALE));
        let below = NodeId { ino: 12, generation: 5 };
        assert_eq!(handles(1, 2, below).read(&handle), Err(nfsstat3::NFS3ERR_STALE));
    }
}
