//! GETATTR, LOOKUP, ACCESS, READLINK.

use super::{Caller, Done};
use crate::access::{self, EXECUTE, READ, WRITE};
use crate::attributes::{option, status};
use crate::handle::HANDLE_BYTES;
use crate::procedures::names::Name;
use crate::rpc::pack;
use crate::xdr::{Garbage, Reader};
use nfs3_types::nfs3::{
    ACCESS3_DELETE, ACCESS3_EXECUTE, ACCESS3_EXTEND, ACCESS3_LOOKUP, ACCESS3_MODIFY, ACCESS3_READ,
    ACCESS3res, ACCESS3resfail, ACCESS3resok, GETATTR3res, GETATTR3resok, LOOKUP3res, LOOKUP3resfail,
    LOOKUP3resok, NFS3_FHSIZE, READLINK3res, READLINK3resfail, READLINK3resok, nfspath3, nfsstat3,
    post_op_attr,
};
use nfs3_types::xdr_codec::{Opaque, Void};
use rumpcap::{File, Metadata};

/// The longest target of a symbolic link.
const TARGET_BYTES_MAX: usize = 4_096;

const _: () = assert!(HANDLE_BYTES <= NFS3_FHSIZE);

impl Caller<'_> {
    /// GETATTR.
    pub fn getattr(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let handle = args.opaque(NFS3_FHSIZE)?;
        args.end()?;
        let metadata = self.id(handle).and_then(|id| self.export.mount.metadata_id(id).map_err(status));
        let answer = match metadata {
            Ok(metadata) => GETATTR3res::Ok(GETATTR3resok { obj_attributes: self.attributes(&metadata) }),
            Err(status) => GETATTR3res::Err((status, Void)),
        };
        pack(out, &answer);
        Ok(())
    }

    /// LOOKUP.
    pub fn lookup(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, name) = (args.opaque(NFS3_FHSIZE)?, args.opaque(usize::MAX)?);
        args.end()?;
        let mut dir_attributes = post_op_attr::None;
        let answer = match self.find(handle, name, &mut dir_attributes) {
            Ok(found) => LOOKUP3res::Ok(LOOKUP3resok {
                object: self.export.handles.answer(found.id()),
                obj_attributes: option(Some(self.attributes(&found))),
                dir_attributes,
            }),
            Err(status) => LOOKUP3res::Err((status, LOOKUP3resfail { dir_attributes })),
        };
        pack(out, &answer);
        Ok(())
    }

    fn find(&self, handle: &[u8], name: &[u8], attributes: &mut post_op_attr) -> Done<Metadata> {
        let dir = self.open(handle)?;
        let metadata = self.metadata(&dir)?;
        *attributes = option(Some(self.attributes(&metadata)));
        if !metadata.is_dir() {
            return Err(nfsstat3::NFS3ERR_NOTDIR);
        }
        self.check(&metadata, EXECUTE)?;
        match Name::of(name)? {
            Name::Dot => Ok(metadata),
            // Nothing above what is exported is shown.
            Name::DotDot if metadata.id() == self.export.root => Ok(metadata),
            Name::DotDot | Name::Plain(_) => self.entry(&dir, name),
        }
    }

    /// The entry `name` of a directory.
    pub(super) fn entry(&self, dir: &File, name: &[u8]) -> Done<Metadata> {
        self.export.mount.metadata_at(dir.ino(), super::names::os(name)).map_err(status)
    }

    /// ACCESS.
    pub fn access(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let (handle, asked) = (args.opaque(NFS3_FHSIZE)?, args.u32()?);
        args.end()?;
        let metadata = self.id(handle).and_then(|id| self.export.mount.metadata_id(id).map_err(status));
        let granted = metadata.and_then(|metadata| Ok((metadata, self.granted(&metadata, asked)?)));
        let answer = match granted {
            Ok((metadata, access)) => ACCESS3res::Ok(ACCESS3resok {
                obj_attributes: option(Some(self.attributes(&metadata))),
                access,
            }),
            Err(status) => ACCESS3res::Err((status, ACCESS3resfail::default())),
        };
        pack(out, &answer);
        Ok(())
    }

    /// Which of the rights that are asked for somebody has.
    fn granted(&self, file: &Metadata, asked: u32) -> Done<u32> {
        let is_dir = file.is_dir();
        let rights = [
            (ACCESS3_READ, READ, true),
            (ACCESS3_LOOKUP, EXECUTE, is_dir),
            (ACCESS3_MODIFY, WRITE, self.export.is_writable()),
            (ACCESS3_EXTEND, WRITE, self.export.is_writable()),
            (ACCESS3_DELETE, WRITE, is_dir && self.export.is_writable()),
            (ACCESS3_EXECUTE, EXECUTE, !is_dir),
        ];
        let mut granted = 0;
        for (right, wanted, is_possible) in rights {
            if asked & right != 0
                && is_possible
                && access::permits(&self.export.mount, file, &self.who, wanted)?
            {
                granted |= right;
            }
        }
        Ok(granted)
    }

    /// READLINK.
    pub fn readlink(&self, mut args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let handle = args.opaque(NFS3_FHSIZE)?;
        args.end()?;
        let mut target = [0; TARGET_BYTES_MAX];
        let mut symlink_attributes = post_op_attr::None;
        let answer = match self.target(handle, &mut target, &mut symlink_attributes) {
            Ok(data) => READLINK3res::Ok(READLINK3resok { symlink_attributes, data }),
            Err(status) => READLINK3res::Err((status, READLINK3resfail { symlink_attributes })),
        };
        pack(out, &answer);
        Ok(())
    }

    fn target<'b>(
        &self,
        handle: &[u8],
        target: &'b mut [u8],
        attributes: &mut post_op_attr,
    ) -> Done<nfspath3<'b>> {
        let id = self.id(handle)?;
        let metadata = self.export.mount.metadata_id(id).map_err(status)?;
        *attributes = option(Some(self.attributes(&metadata)));
        let len = self.export.mount.read_link_id(id, target).map_err(status)?;
        Ok(nfspath3(Opaque::borrowed(target.get(..len).ok_or(nfsstat3::NFS3ERR_IO)?)))
    }
}
