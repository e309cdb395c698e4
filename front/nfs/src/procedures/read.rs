//! READ: content goes from the kernel's pages into the answer, without a copy between.

use super::{Caller, Done};
use crate::access::{self, EXECUTE, READ};
use crate::attributes::{option, status};
use crate::rpc::pack;
use crate::xdr::{Garbage, Reader};
use nfs3_types::nfs3::{NFS3_FHSIZE, READ3res, READ3resfail, fattr3, nfsstat3, post_op_attr};
use nfs3_types::xdr_codec::Pack;
use rumpcap::Metadata;

/// Bytes of an answer before the content: status, whether there are attributes and these, count, end, length.
const HEAD_BYTES: usize = 4 + 4 + 84 + 4 + 4 + 4;

impl Caller<'_> {
    /// READ.
    pub fn read(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, offset, count) = (args.opaque(NFS3_FHSIZE)?, args.u64()?, args.u32()?);
        args.end()?;
        let start = out.len();
        let mut file_attributes = post_op_attr::None;
        if let Err(status) = self.content(handle, offset, count, &mut file_attributes, out) {
            out.truncate(start);
            pack(out, &READ3res::Err((status, READ3resfail { file_attributes })));
        }
        Ok(())
    }

    fn content(
        &self,
        handle: &[u8],
        offset: u64,
        count: u32,
        attributes: &mut post_op_attr,
        out: &mut Vec<u8>,
    ) -> Done<()> {
        let file = self.open(handle)?;
        let metadata = self.metadata(&file)?;
        *attributes = option(Some(self.attributes(&metadata)));
        self.may_read(&metadata)?;
        let count = (count as usize).min(self.export.options.transfer_bytes);
        let start = out.len();
        out.resize(start + HEAD_BYTES + count, 0);
        let (head, content) = out[start..].split_at_mut(HEAD_BYTES);
        let len = file.read_at(content, offset).map_err(status)?;
        let now = self.metadata(&file)?;
        let is_end = offset.saturating_add(len as u64) >= now.len();
        write_head(head, &self.attributes(&now), len, is_end).map_err(|_| nfsstat3::NFS3ERR_SERVERFAULT)?;
        out.truncate(start + HEAD_BYTES + len);
        out.resize(start + HEAD_BYTES + len.next_multiple_of(4), 0);
        Ok(())
    }

    /// Whether it can be read, and by this caller. What can be executed can be read: a client's kernel does the one by the other.
    fn may_read(&self, file: &Metadata) -> Done<()> {
        if file.is_dir() {
            return Err(nfsstat3::NFS3ERR_ISDIR);
        }
        if !file.is_file() {
            return Err(nfsstat3::NFS3ERR_INVAL);
        }
        match access::check_opened(&self.export.mount, file, &self.who, READ) {
            Err(nfsstat3::NFS3ERR_ACCES) => self.check(file, EXECUTE),
            done => done,
        }
    }
}

fn write_head(
    mut head: &mut [u8],
    attributes: &fattr3,
    len: usize,
    is_end: bool,
) -> nfs3_types::xdr_codec::Result<()> {
    let count = u32::try_from(len).unwrap_or(u32::MAX);
    nfsstat3::NFS3_OK.pack(&mut head)?;
    true.pack(&mut head)?;
    attributes.pack(&mut head)?;
    count.pack(&mut head)?;
    is_end.pack(&mut head)?;
    count.pack(&mut head)?;
    Ok(())
}
