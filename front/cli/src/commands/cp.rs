//! `rumpcap cp`: copies files and directory trees.
//!
//! `out`: out of an image, onto the host. `into`: into an image, from the host, another image or the same; `copier` does it, `source` is what it reads.

mod attributes;
mod copier;
mod destination;
mod into;
mod out;
mod source;

use crate::args::{OwnerArgs, WriteArgs};
use crate::outcome::{Run, Stop};
use crate::session::Session;
use attributes::Attribute;
use clap::Args;
use std::ffi::OsString;

const EXAMPLES: &str = "\
Where TARGET is IMAGE:PATH, the sources are copied into the image, from the host or, as IMAGE:PATH, from an image, the same one \
too. A name in an image must then have a colon: `disk.img:` or `disk.img:/` is the root. What exists on the host under the whole name is \
the host's.

Kept by default: modes, owners, times to the nanosecond, extended attributes with access control \
lists, hard links, holes, devices, fifos and sockets. Leave some out with --no-preserve. Inode flags \
(chattr) are not copied.

Out of an image: who is not root cannot give files away or set security.* and trusted.* attributes: then owners \
become yours, set-id bits are dropped, and the number of files that this concerns is said at the \
end. With -p or -a that is a failure (exit 1), without it is not. Devices that cannot be made are \
always a failure, each named.

Into an image: owners are those of the host, or --owner. With --time, or SOURCE_DATE_EPOCH in the environment, no \
time of a copy is later. The image itself is left out where it is below a source.

A file in the target that has the name of a new one is replaced, not written into; links in the \
target tree are not followed: nothing outside TARGET is touched, whatever names and links the image \
holds.

Examples:
  rumpcap cp disk.img:/etc/fstab .
  rumpcap cp -r disk.img:/home/me restored        makes restored, or restored/me if restored is there
  rumpcap cp -r disk.img:/ restored               the whole file system into restored
  rumpcap cp -r disk.img:/srv/. restored          what is in /srv into restored
  rumpcap cp fstab disk.img:/etc                  into the image
  rumpcap cp -r --owner 0:0 rootfs/. disk.img:/   what is in rootfs, as root's, into the root directory
  rumpcap cp -a old.img:/home new.img:/           from image to image
  rumpcap cp 'disk.img:/etc/*.conf' backup        what matches";

/// Options of `cp`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct CpArgs {
    /// Directories with all that is in them; symbolic links are copied as links
    #[arg(short = 'r', short_alias = 'R', long)]
    recursive: bool,
    /// It is a failure if an attribute cannot be kept
    #[arg(short = 'p', long)]
    preserve: bool,
    /// -r and -p
    #[arg(short = 'a', long)]
    archive: bool,
    /// Attributes that are not to be kept
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    no_preserve: Vec<Attribute>,
    /// Keep files that are already in the target; that they were skipped is said and counts as failure
    #[arg(short = 'n', long)]
    no_clobber: bool,
    /// Owner and group of all copies in an image
    #[command(flatten)]
    owner: OwnerArgs,
    #[command(flatten)]
    write: WriteArgs,
    /// What is copied: from an image, or from the host into one
    #[arg(required = true, value_name = "[IMAGE:]PATH")]
    sources: Vec<OsString>,
    /// Where it goes: a directory, or the name of the copy; IMAGE:PATH to copy into an image
    #[arg(value_name = "TARGET")]
    target: OsString,
}

/// Runs `cp`.
pub fn run(session: &mut Session, args: &CpArgs) -> Run {
    if session.is_in_image(&args.target) {
        return into::run(session, args);
    }
    if args.owner.owner.is_some() {
        return Stop::usage("cp: --owner is for copies into an image");
    }
    if session.within().is_some() && !args.sources.iter().all(|source| session.is_in_image(source)) {
        return Stop::usage("cp: paths in the image begin with a colon: cp :FILE HOST, cp HOST :DIRECTORY");
    }
    out::run(session, args)
}
