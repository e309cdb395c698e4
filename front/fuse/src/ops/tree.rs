//! Changes of the tree: names that come, go and move.
//!
//! Whose a new file is: the client's, in its group or the directory's. The client's mask is applied here (`DONT_MASK`), unless the
//! directory has a default access control list, which takes its place.

use super::content::OPENED;
use crate::attr::device_numbers;
use crate::errno::{Answer, errno};
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Server;
use crate::wire::received::{CreateIn, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn};
use crate::wire::sent::CreateOut;
use rumpcap::{Error, File, FileKind, Metadata, Owner, Rename};
use rustix::fs::{OFlags, RenameFlags};
use rustix::io::Errno;

const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

impl Server {
    fn owner(&self, request: &Request<'_>, mode: u32, umask: u32) -> Answer<Owner> {
        let is_masked = mode & umask & 0o777 != 0 && !self.has_default_acl(request.header.nodeid)?;
        let mode = if is_masked { mode & !umask } else { mode };
        Ok(Owner { mode: mode & 0o7777, uid: request.header.uid, gid: request.header.gid })
    }

    fn has_default_acl(&self, node: u64) -> Answer<bool> {
        match self.mount.xattr_id(self.inode(node), DEFAULT_ACL, &mut []) {
            Ok(_) => Ok(true),
            Err(Error::NoAttribute | Error::Unsupported { .. }) => Ok(false),
            Err(error) => Err(errno(error)),
        }
    }

    /// `CREATE`: makes a file and opens it.
    pub(crate) fn create(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: CreateIn = request.take()?;
        let name = request.name()?;
        let dir = self.directory(request.header.nodeid)?;
        let owner = self.owner(&request, args.mode, args.umask)?;
        let file = match self.mount.create_at(dir, name, &owner) {
            // Somebody else made it since it was looked up.
            Err(Error::Exists) if !OFlags::from_bits_retain(args.flags).contains(OFlags::EXCL) => {
                let id = self.mount.metadata_at(dir, name).map_err(errno)?.id();
                let file = self.mount.open_id(id).map_err(errno)?;
                if OFlags::from_bits_retain(args.flags).contains(OFlags::TRUNC) {
                    file.set_len(0).map_err(errno)?;
                }
                file
            }
            file => file.map_err(errno)?,
        };
        self.created(file, reply)
    }

    /// `TMPFILE`: makes a file without a name, and opens it.
    pub(crate) fn tmpfile(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: CreateIn = request.take()?;
        let owner = self.owner(&request, args.mode, args.umask)?;
        let dir = self.directory(request.header.nodeid)?;
        self.created(self.mount.create_nameless(dir, &owner).map_err(errno)?, reply)
    }

    fn created(&self, file: File, reply: &mut Reply<'_>) -> Answer<()> {
        let entry = self.entry(&file.metadata().map_err(errno)?);
        file.keep();
        reply.put(&CreateOut { entry, open: OPENED })
    }

    fn made(&self, metadata: rumpcap::Result<Metadata>, reply: &mut Reply<'_>) -> Answer<()> {
        reply.put(&self.entry(&metadata.map_err(errno)?))
    }

    /// `MKNOD`.
    pub(crate) fn mknod(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: MknodIn = request.take()?;
        let name = request.name()?;
        let kind = FileKind::from_mode(args.mode);
        if matches!(kind, FileKind::Unknown | FileKind::Directory | FileKind::Symlink) {
            return Err(Errno::INVAL);
        }
        let owner = self.owner(&request, args.mode, args.umask)?;
        let dir = self.directory(request.header.nodeid)?;
        self.made(self.mount.create_node_at(dir, name, kind, device_numbers(args.rdev), &owner), reply)
    }

    /// `MKDIR`.
    pub(crate) fn mkdir(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: MkdirIn = request.take()?;
        let name = request.name()?;
        let owner = self.owner(&request, args.mode, args.umask)?;
        self.made(self.mount.create_dir_at(self.directory(request.header.nodeid)?, name, &owner), reply)
    }

    /// `SYMLINK`.
    pub(crate) fn symlink(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let (name, target) = (request.name()?, request.name()?);
        let owner = self.owner(&request, 0o777, 0)?;
        let dir = self.directory(request.header.nodeid)?;
        self.made(self.mount.symlink_at(target, dir, name, &owner), reply)
    }

    /// `LINK`.
    pub(crate) fn link(&self, mut request: Request<'_>, reply: &mut Reply<'_>) -> Answer<()> {
        let args: LinkIn = request.take()?;
        let name = request.name()?;
        let (existing, dir) = (self.number(args.oldnodeid)?, self.directory(request.header.nodeid)?);
        self.made(self.mount.hard_link_at(existing, dir, name), reply)
    }

    /// `UNLINK`.
    pub(crate) fn unlink(&self, mut request: Request<'_>) -> Answer<()> {
        let name = request.name()?;
        self.mount.remove_file_at(self.directory(request.header.nodeid)?, name).map_err(errno)
    }

    /// `RMDIR`.
    pub(crate) fn rmdir(&self, mut request: Request<'_>) -> Answer<()> {
        let name = request.name()?;
        self.mount.remove_dir_at(self.directory(request.header.nodeid)?, name).map_err(errno)
    }

    /// `RENAME`.
    pub(crate) fn rename(&self, mut request: Request<'_>) -> Answer<()> {
        let args: RenameIn = request.take()?;
        self.move_name(request, args.newdir, Rename::Replace)
    }

    /// `RENAME2`.
    pub(crate) fn rename2(&self, mut request: Request<'_>) -> Answer<()> {
        let args: Rename2In = request.take()?;
        let flags = RenameFlags::from_bits_retain(args.flags);
        let how = if flags.is_empty() {
            Rename::Replace
        } else if flags == RenameFlags::NOREPLACE {
            Rename::Refuse
        } else if flags == RenameFlags::EXCHANGE {
            Rename::Exchange
        } else if flags == RenameFlags::WHITEOUT {
            Rename::Whiteout
        } else {
            return Err(Errno::INVAL);
        };
        self.move_name(request, args.newdir, how)
    }

    fn move_name(&self, mut request: Request<'_>, to_dir: u64, how: Rename) -> Answer<()> {
        let (from, to) = (request.name()?, request.name()?);
        let (from_dir, to_dir) = (self.directory(request.header.nodeid)?, self.directory(to_dir)?);
        self.mount.rename_at(from_dir, from, to_dir, to, how).map_err(errno)
    }
}
