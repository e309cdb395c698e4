//! FSSTAT, FSINFO, PATHCONF: what the file system and the server can do.

use super::{Caller, Done};
use crate::attributes::{option, status};
use crate::procedures::names::NAME_BYTES_MAX;
use crate::rpc::pack;
use crate::xdr::{Garbage, Reader};
use nfs3_types::nfs3::{
    FSF3_CANSETTIME, FSF3_HOMOGENEOUS, FSF3_LINK, FSF3_SYMLINK, FSINFO3res, FSINFO3resfail, FSINFO3resok,
    FSSTAT3res, FSSTAT3resfail, FSSTAT3resok, NFS3_FHSIZE, PATHCONF3res, PATHCONF3resfail, PATHCONF3resok,
    nfstime3, post_op_attr,
};

/// Transfers are best of whole pages.
const PAGE_BYTES: u32 = 4096;

/// Names that ext4 can count for one file.
const LINKS_MAX: u32 = 65_000;

impl Caller<'_> {
    /// The attributes of a handle alone.
    fn known(&self, mut args: Reader<'_>) -> Result<Done<post_op_attr>, Garbage> {
        let handle = args.opaque(NFS3_FHSIZE)?;
        args.end()?;
        let metadata = self.id(handle).and_then(|id| self.export.mount.metadata_id(id).map_err(status));
        Ok(metadata.map(|metadata| option(Some(self.attributes(&metadata)))))
    }

    /// FSSTAT.
    pub fn fsstat(&self, args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let known = self.known(args)?;
        let stat = || self.export.mount.stat_fs().map_err(status);
        let answer = match known.and_then(|attributes| Ok((attributes, stat()?))) {
            Ok((obj_attributes, stat)) => {
                let bytes = |blocks: u64| blocks.saturating_mul(u64::from(stat.block_size));
                FSSTAT3res::Ok(FSSTAT3resok {
                    obj_attributes,
                    tbytes: bytes(stat.blocks),
                    fbytes: bytes(stat.blocks_free),
                    abytes: bytes(stat.blocks_available),
                    tfiles: stat.inodes,
                    ffiles: stat.inodes_free,
                    afiles: stat.inodes_free,
                    invarsec: 0,
                })
            }
            Err(status) => FSSTAT3res::Err((status, FSSTAT3resfail::default())),
        };
        pack(out, &answer);
        Ok(())
    }

    /// FSINFO.
    pub fn fsinfo(&self, args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let known = self.known(args)?;
        let transfer = u32::try_from(self.export.options.transfer_bytes).unwrap_or(PAGE_BYTES);
        let stat = || self.export.mount.stat_fs().map_err(status);
        let answer = match known.and_then(|attributes| Ok((attributes, stat()?))) {
            Ok((obj_attributes, stat)) => FSINFO3res::Ok(FSINFO3resok {
                obj_attributes,
                rtmax: transfer,
                rtpref: transfer,
                rtmult: PAGE_BYTES,
                wtmax: transfer,
                wtpref: transfer,
                wtmult: PAGE_BYTES,
                dtpref: transfer.min(32 << 10),
                // A file's blocks have numbers of 32 bits; a file without extents may end sooner, which it is told by FBIG.
                maxfilesize: u64::from(u32::MAX) * u64::from(stat.block_size),
                time_delta: nfstime3 { seconds: 0, nseconds: 1 },
                properties: FSF3_LINK | FSF3_SYMLINK | FSF3_HOMOGENEOUS | FSF3_CANSETTIME,
            }),
            Err(status) => FSINFO3res::Err((status, FSINFO3resfail::default())),
        };
        pack(out, &answer);
        Ok(())
    }

    /// PATHCONF.
    pub fn pathconf(&self, args: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Garbage> {
        let answer = match self.known(args)? {
            Ok(obj_attributes) => PATHCONF3res::Ok(PATHCONF3resok {
                obj_attributes,
                linkmax: LINKS_MAX,
                name_max: NAME_BYTES_MAX as u32,
                no_trunc: true,
                chown_restricted: true,
                case_insensitive: false,
                case_preserving: true,
            }),
            Err(status) => PATHCONF3res::Err((status, PATHCONF3resfail::default())),
        };
        pack(out, &answer);
        Ok(())
    }
}
