//! WRITE and COMMIT.
//!
//! WR-1. What was written `UNSTABLE` is in the kernel's pages, under its limit, and seen by all; it is durable when a COMMIT has answered with the
//! verifier that the WRITE had (`stability`, DU-1).
//! WR-2. A WRITE has its verifier from before it began: if it changes meanwhile the client sends the data again.

use super::{Caller, Done};
use crate::access::{WRITE, check_opened};
use crate::attributes::status;
use crate::rpc::pack;
use crate::stability::Verifier;
use crate::xdr::{Garbage, Reader};
use nfs3_types::nfs3::{
    COMMIT3res, COMMIT3resfail, COMMIT3resok, NFS3_FHSIZE, WRITE3res, WRITE3resfail, WRITE3resok, nfsstat3,
    stable_how, wcc_data, writeverf3,
};
use rumpcap::{File, Metadata};

/// Data to be written.
struct Data<'a> {
    offset: u64,
    bytes: &'a [u8],
    stable: stable_how,
}

/// What became of it.
struct Written {
    count: u32,
    committed: stable_how,
    verifier: Verifier,
}

impl Caller<'_> {
    /// WRITE.
    pub fn write(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, offset, count) = (args.opaque(NFS3_FHSIZE)?, args.u64()?, args.u32()? as usize);
        let stable = match args.u32()? {
            0 => stable_how::UNSTABLE,
            1 => stable_how::DATA_SYNC,
            2 => stable_how::FILE_SYNC,
            _ => return Err(Garbage),
        };
        let bytes = args.opaque(usize::MAX)?;
        args.end()?;
        if bytes.len() != count {
            return Err(Garbage);
        }
        let mut file_wcc = wcc_data::default();
        let answer = match self.store(handle, &Data { offset, bytes, stable }, &mut file_wcc) {
            Ok(Written { count, committed, verifier }) => {
                WRITE3res::Ok(WRITE3resok { file_wcc, count, committed, verf: writeverf3(verifier) })
            }
            Err(status) => WRITE3res::Err((status, WRITE3resfail { file_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }

    fn store(&self, handle: &[u8], data: &Data<'_>, wcc: &mut wcc_data) -> Done<Written> {
        self.may_change()?;
        let file = self.open(handle)?;
        let verifier = self.export.durable.verifier();
        let count = self.change(&file, wcc, |old| self.put(&file, old, data))?;
        let count = u32::try_from(count).map_err(|_| nfsstat3::NFS3ERR_SERVERFAULT)?;
        let verifier = match data.stable {
            stable_how::UNSTABLE => Ok(verifier),
            stable_how::DATA_SYNC => self.export.durable.sync_data(&file),
            stable_how::FILE_SYNC => self.export.durable.sync(&file),
        };
        Ok(Written { count, committed: data.stable, verifier: verifier.map_err(status)? })
    }

    fn put(&self, file: &File, old: &Metadata, data: &Data<'_>) -> Done<usize> {
        self.may_write(old)?;
        if data.bytes.is_empty() {
            return Ok(0);
        }
        self.drop_privileges(old)?;
        file.write_at(data.bytes, data.offset).map_err(status)
    }

    fn may_write(&self, file: &Metadata) -> Done<()> {
        if file.is_dir() {
            return Err(nfsstat3::NFS3ERR_ISDIR);
        }
        if !file.is_file() {
            return Err(nfsstat3::NFS3ERR_INVAL);
        }
        check_opened(&self.export.mount, file, &self.who, WRITE)
    }

    /// COMMIT, of the whole file whatever part is meant.
    pub fn commit(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, _offset, _count) = (args.opaque(NFS3_FHSIZE)?, args.u64()?, args.u32()?);
        args.end()?;
        let mut file_wcc = wcc_data::default();
        let done = self.open(handle).and_then(|file| {
            self.change(&file, &mut file_wcc, |metadata| self.may_write(metadata))?;
            if self.export.is_writable() {
                self.export.durable.sync(&file).map_err(status)
            } else {
                Ok(self.export.durable.verifier())
            }
        });
        let answer = match done {
            Ok(verifier) => COMMIT3res::Ok(COMMIT3resok { file_wcc, verf: writeverf3(verifier) }),
            Err(status) => COMMIT3res::Err((status, COMMIT3resfail { file_wcc })),
        };
        pack(out, &answer);
        Ok(())
    }
}
