//! What makes changes durable, and how much space there is.

use crate::errno::{Answer, errno};
use crate::reply::Reply;
use crate::request::Request;
use crate::server::Server;
use crate::wire::flags::FSYNC_FDATASYNC;
use crate::wire::received::FsyncIn;
use crate::wire::sent::StatfsOut;

/// The longest name of an entry.
const NAME_BYTES_MAX: u32 = 255;

impl Server {
    /// `FSYNC`, `FSYNCDIR`.
    pub(crate) fn fsync(&self, mut request: Request<'_>) -> Answer<()> {
        let args: FsyncIn = request.take()?;
        let file = self.mount.kept(self.inode(request.header.nodeid)).map_err(errno)?;
        let is_data_enough = args.fsync_flags & FSYNC_FDATASYNC != 0;
        if is_data_enough { file.sync_data() } else { file.sync() }.map_err(errno)
    }

    /// `SYNCFS`: everything.
    pub(crate) fn sync(&self) -> Answer<()> {
        self.mount.sync().map_err(errno)
    }

    /// `STATFS`.
    pub(crate) fn statfs(&self, reply: &mut Reply<'_>) -> Answer<()> {
        let sizes = self.mount.stat_fs().map_err(errno)?;
        reply.put(&StatfsOut {
            blocks: sizes.blocks,
            bfree: sizes.blocks_free,
            bavail: sizes.blocks_available,
            files: sizes.inodes,
            ffree: sizes.inodes_free,
            bsize: sizes.block_size,
            namelen: NAME_BYTES_MAX,
            frsize: sizes.block_size,
            ..StatfsOut::default()
        })
    }
}
