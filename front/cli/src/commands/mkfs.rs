//! `rumpcap mkfs`: makes an ext2, ext3 or ext4 file system, empty or filled from a directory or an archive.
//!
//! `image`: the file or device that it is made on, what it holds before, and that it is gone after a failure.
//! `options`: from the words of mke2fs to [`Options`]. `populate`: the tree of the host. `fill`: an archive. `size`: how large
//! it must be for them.
//!
//! Memory: buffers of fixed size; filling: see `populate` and `fill`.

mod fill;
mod image;
mod options;
mod populate;
mod size;

use crate::estimate::Tree;
use crate::outcome::{Run, Stop};
use crate::progress::Place;
use crate::quote;
use crate::session::Session;
use crate::units::human;
use clap::{ArgAction, Args, ValueEnum};
use image::{Force, NewImage};
use rumpcap_ext4::mkfs::{Geometry, Kind, Maker};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
The options are those of mke2fs, and so are the defaults: features, block and inode sizes, journal and \
reserved blocks come out as mke2fs has them for the same size. SIZE is in bytes, or with k, m, g, t.

A file is made sparse. An image that holds a file system, a partition table or any other data is \
refused without --force. With --force all that it held is gone. If anything fails, an image that was \
made is removed, and one that was there holds no file system.

With -d, owners, modes, times to the nanosecond, extended attributes with access control lists, hard \
links, holes, devices, fifos and sockets are kept, and entries are sorted. If anything cannot be read, the whole fails.

With --tar, or -d with something that is no directory, it is filled from an archive, read once, as tar -x does it: every format of \
GNU tar and pax; uncompressed. If a member cannot be extracted, it is named, and the whole fails.

With --time, or SOURCE_DATE_EPOCH in the environment, no time in the image is later; with -U and -E \
hash_seed= as well, two runs on equal trees, or one archive, give equal bytes.

Examples:
  rumpcap mkfs disk.img 10g
  rumpcap mkfs -t ext2 -b 1024 -L floppy floppy.img 1440k
  rumpcap mkfs -d rootfs -U 1b4e28ba-2fa1-11d2-883f-0016d3cca427 --time 0 root.img 2g
  zcat rootfs.tar.gz | rumpcap mkfs --tar - root.img 2g
  rumpcap mkfs -O ^has_journal,^metadata_csum --force /dev/loop0";

/// Options of `mkfs`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct MkfsArgs {
    /// Which file system
    #[arg(short = 't', long = "type", value_name = "TYPE", default_value = "ext4")]
    kind: FsType,
    /// Bytes of a block: 1024 to 65536
    #[arg(short = 'b', long, value_name = "BYTES")]
    block_size: Option<u32>,
    /// Bytes of an inode
    #[arg(short = 'I', long, value_name = "BYTES", default_value = "256")]
    inode_size: u32,
    /// An inode for so many bytes
    #[arg(short = 'i', long, value_name = "BYTES")]
    bytes_per_inode: Option<u32>,
    /// How many inodes
    #[arg(short = 'N', long, value_name = "COUNT")]
    inodes: Option<u32>,
    /// Share of the blocks that is kept for root
    #[arg(short = 'm', long, value_name = "PERCENT", default_value = "5", value_parser = options::parse_percent)]
    reserved: u32,
    /// Name of the volume, 16 bytes at most
    #[arg(short = 'L', long, value_name = "LABEL")]
    label: Option<String>,
    /// UUID, `clear` or `random`
    #[arg(short = 'U', long, value_name = "UUID", default_value = "random", value_parser = options::parse_uuid)]
    uuid: options::Uuid,
    /// Features to add, or with ^ to take away; `none` for none of the type's own
    #[arg(short = 'O', long, value_name = "FEATURES", action = ArgAction::Append)]
    features: Vec<String>,
    /// hash_seed=UUID, lazy_itable_init=0|1, root_owner=UID:GID
    #[arg(short = 'E', long, value_name = "OPTIONS", value_delimiter = ',')]
    extended: Vec<String>,
    /// Groups whose metadata are together
    #[arg(short = 'G', long, value_name = "COUNT", default_value = "16")]
    groups_per_flex: u32,
    /// size=MEBIBYTES of the journal
    #[arg(short = 'J', long, value_name = "OPTIONS")]
    journal: Option<String>,
    /// What the file system is filled with; or an archive, as with --tar
    #[arg(short = 'd', long, value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
    /// The archive that it is filled from; `-` for standard input
    #[arg(long, value_name = "ARCHIVE", conflicts_with = "directory")]
    tar: Option<PathBuf>,
    /// Seconds since 1970 that no time in the image passes
    #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH", hide_env_values = true)]
    time: Option<u32>,
    /// Even over a file system or other data
    #[arg(short = 'F', long)]
    force: bool,
    /// Say nothing when all went well
    #[arg(short = 'q', long)]
    quiet: bool,
    /// File or block device
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// Its size; may be left out where IMAGE has one, or what fills it is a directory or a regular file
    #[arg(value_name = "SIZE", value_parser = crate::units::parse_size)]
    size: Option<u64>,
}

/// Types of file systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FsType {
    /// Block maps, no journal
    Ext2,
    /// ext2 with a journal
    Ext3,
    /// Extents, checksums, journal
    Ext4,
}

impl FsType {
    fn kind(self) -> Kind {
        match self {
            FsType::Ext2 => Kind::Ext2,
            FsType::Ext3 => Kind::Ext3,
            FsType::Ext4 => Kind::Ext4,
        }
    }
}

/// What a file system is filled with.
enum Source<'a> {
    Nothing,
    Directory(&'a Path),
    /// None: standard input.
    Archive(Option<&'a Path>),
}

impl MkfsArgs {
    fn source(&self) -> Source<'_> {
        match (&self.directory, &self.tar) {
            (None, None) => Source::Nothing,
            (_, Some(path)) | (Some(path), None) if path.as_os_str() == "-" => Source::Archive(None),
            (_, Some(path)) => Source::Archive(Some(path)),
            // What is not there fails as a directory.
            (Some(path), None) if path.metadata().map_or(true, |m| m.is_dir()) => Source::Directory(path),
            (Some(path), None) => Source::Archive(Some(path)),
        }
    }
}

/// Runs `mkfs`.
pub fn run(session: &mut Session, args: &MkfsArgs) -> Run {
    let mut wanted = options::read(args)?;
    let force = if args.force { Force::Overwrite } else { Force::Refuse };
    let offset = session.options().offset.unwrap_or(0);
    let source = args.source();
    let size = match args.size {
        None if args.image.symlink_metadata().is_err() => size::choose(&source, &mut wanted.options)?,
        said => said,
    };
    let image = NewImage::open(&args.image, offset, size, force)?;
    wanted.options.prior = image.prior();
    make(session, args, &wanted, (&image, source)).map_err(|e| image.discard(e))
}

fn make(
    session: &mut Session,
    args: &MkfsArgs,
    wanted: &options::Wanted,
    (image, source): (&NewImage, Source<'_>),
) -> Run {
    let geometry = lay_out(session, args, wanted, image, &source)?;
    if let Source::Archive(archive) = source {
        fill::fill(session, archive, wanted, image)?;
    }
    if !args.quiet {
        let size = human(geometry.len_bytes());
        let journal = match geometry.journal_blocks {
            0 => "no journal".to_owned(),
            blocks => format!("a journal of {}", human(u64::from(blocks) << geometry.block_log)),
        };
        session.say(format_args!(
            "{}: {} of {size}, {} blocks of {}, {} inodes, {journal}",
            show(&args.image),
            geometry.features.kind(),
            geometry.blocks_count,
            geometry.block_size,
            geometry.inodes_count,
        ));
    }
    Ok(())
}

/// The file system, empty or with the tree of a directory.
fn lay_out(
    session: &mut Session,
    args: &MkfsArgs,
    wanted: &options::Wanted,
    image: &NewImage,
    source: &Source<'_>,
) -> Run<Geometry> {
    let device = image.device();
    let mut maker = Maker::new(&**device, &wanted.options).map_err(|e| failed(&args.image, &e))?;
    match source {
        Source::Nothing | Source::Archive(_) => {
            populate::empty(&mut maker, wanted).map_err(|e| failed(&args.image, &e))?;
        }
        Source::Directory(directory) => {
            session.watch_signals()?;
            crate::host_tree::raise_open_files();
            let mut progress = session.plain_progress(Place::Free);
            progress.expect_trees([Tree::Host(directory.to_path_buf())]);
            let interrupt = session.interrupt().cloned();
            let mut filler =
                populate::Populate::new(&mut maker, wanted, image.identity(), &mut progress, interrupt);
            if let Err(stop) = filler.tree(directory) {
                if let Stop::Code(_) = stop {
                    session.say(format_args!("mkfs: interrupted: {} is not made", show(&args.image)));
                }
                return Err(stop);
            }
        }
    }
    let geometry = *maker.geometry();
    maker.finish().map_err(|e| failed(&args.image, &e))?;
    Ok(geometry)
}

/// The message for the image, or a file that goes into it, that failed.
fn failed(path: &Path, error: &dyn std::fmt::Display) -> Stop {
    Stop::Fatal(format!("{}: {error}", show(path)))
}

fn show(path: &Path) -> String {
    quote::for_message(path.as_os_str().as_bytes())
}
