//! The command line: one definition for parsing, `--help`, shell completions and man pages.
//!
//! Who calls it: `main`. Each command's own options are defined beside its code in `commands/`.

use crate::commands::*;
use crate::units::{MemoryLimit, parse_memory_limit, parse_offset};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, Parser, Subcommand, ValueEnum};
use rumpcap::{DataMode, Owner, PolicyKind};
use std::path::PathBuf;

/// What the kernel gets when nobody says: far above what full speed needs, and little for any machine.
const DEFAULT_MEMORY_LIMIT: &str = "8m";

const ABOUT: &str = "Lists, reads, copies and changes what is in disk images, under a hard memory limit";

const ADDRESSES: &str = "\
Addresses:
  IMAGE          the root directory of the file system in IMAGE
  IMAGE:PATH     PATH in it; always from the root, with or without a leading /
  IMAGE@N:PATH   PATH in the file system of partition N

IMAGE is a file or a block device. Only the commands that change something write to it; one at a time, which a \
lock sees to. Of a disk image with partitions and no @N, the \
only file system is used; if there are several, the command says which. IMAGE may itself contain : and @: \
the longest reading that names an existing file counts.

Exit status:
  0    everything that was asked for was done
  1    something failed; each path was named on standard error
  2    the command line was wrong
  3    somebody else has the image; nothing was done
  130  ended by SIGINT, 143 by SIGTERM; what was done until then is in the image
  141  whoever read the output has gone

Examples:
  rumpcap ls -l disk.img:/etc
  rumpcap cat disk.img@2:/etc/os-release
  rumpcap --memory-limit 512k -v find disk.img -name '*.conf' -size +4k
  rumpcap cp -r disk.img:/home/me restored
  rumpcap tar disk.img:/ | ssh backup 'cat > disk.tar'
  rumpcap mkfs -d rootfs new.img 2g
  rumpcap cp -r site disk.img:/srv
  rumpcap tar -x disk.img:/ < rootfs.tar
  rumpcap shell disk.img";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "rumpcap", version, about = ABOUT, after_help = ADDRESSES, max_term_width = 110)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
pub struct GlobalArgs {
    /// Hard limit on the memory of the kernel: bytes, or with k, m, g; or `unlimited`
    #[arg(long, global = true, value_name = "SIZE", env = "RUMPCAP_MEMLIMIT", default_value = DEFAULT_MEMORY_LIMIT,
        value_parser = parse_memory_limit, help_heading = "Kernel", hide_env_values = true)]
    pub memory_limit: MemoryLimit,
    /// Byte in the image where the file system begins: bytes, or with k, m, g, or s for sectors of 512
    #[arg(long, global = true, value_name = "BYTES", value_parser = parse_offset, help_heading = "Kernel")]
    pub offset: Option<u64>,
    /// Look at the file system as it is on the device, without replaying its journal
    #[arg(long, global = true, help_heading = "Kernel")]
    pub ignore_journal: bool,
    /// Take *, ? and [ in addresses as they are: no patterns
    #[arg(long, global = true, help_heading = "Kernel")]
    pub literal: bool,
    /// Print the memory at boot and a report at the end to standard error
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Kernel")]
    pub verbose: u8,
    /// Print the report to standard error for programs
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Kernel")]
    pub stats: Option<StatsFormat>,
    /// Write a page with plots of the run into a file: memory, queue, I/O, waits over time
    #[arg(long, global = true, value_name = "FILE.html", help_heading = "Kernel")]
    pub report: Option<PathBuf>,
    /// Print the kernel's events to standard error: a level, or `TARGET=LEVEL,...`; `debug` has every round of the pagedaemon
    #[cfg(feature = "tracing")]
    #[arg(long, global = true, value_name = "FILTER", env = "RUMPCAP_LOG", value_parser = crate::log::parse,
        help_heading = "Kernel", hide_env_values = true)]
    pub log: Option<crate::log::Filter>,
    /// Which page goes when memory is needed
    #[arg(long, global = true, value_name = "POLICY", default_value = "s3-fifo", help_heading = "Kernel")]
    pub policy: Policy,
}

/// The page queue's policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// Scan-resistant
    #[value(name = "s3-fifo", alias = "s3fifo")]
    S3Fifo,
    /// The least recently used page first
    Lru,
}

impl Policy {
    /// The library's name for it.
    pub fn kind(self) -> PolicyKind {
        match self {
            Policy::S3Fifo => PolicyKind::S3Fifo,
            Policy::Lru => PolicyKind::Lru,
        }
    }
}

/// Options of every command that writes to an image.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct WriteArgs {
    /// Seconds since 1970 that are the time of all changes, instead of now
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SOURCE_DATE_EPOCH",
        hide_env_values = true,
        allow_negative_numbers = true
    )]
    pub time: Option<i64>,
    /// When content is written; only `mount` lets it be said.
    #[arg(skip)]
    pub data: DataMode,
}

/// Whose new files are.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct OwnerArgs {
    /// Whose new files are, by numbers; 0:0 if it is not said
    #[arg(long, value_name = "UID:GID", value_parser = parse_owner)]
    pub owner: Option<(u32, u32)>,
}

impl OwnerArgs {
    /// Owner of a new file with permission bits `mode`.
    pub fn with_mode(self, mode: u32) -> Owner {
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        Owner { mode, uid, gid }
    }
}

/// Parses `1000:1000`.
///
/// # Errors
/// A message for the user.
pub fn parse_owner(text: &str) -> Result<(u32, u32), String> {
    let ids = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    ids.ok_or_else(|| "not two numbers with a colon between".to_owned())
}

/// How `--stats` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsFormat {
    /// One JSON object.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what an image holds: partitions, superblock, features
    Info(info::InfoArgs),
    /// List directories
    Ls(ls::LsArgs),
    /// Draw a directory tree
    Tree(tree::TreeArgs),
    /// Print files
    Cat(cat::CatArgs),
    /// Print the beginning of files
    Head(head::HeadArgs),
    /// Show all attributes of files
    Stat(stat::StatArgs),
    /// Print the target of symbolic links
    Readlink(readlink::ReadlinkArgs),
    /// Search for files, with the expressions of find(1)
    Find(find::FindArgs),
    /// Sum up the space that directories take
    Du(du::DuArgs),
    /// Show the space of a file system
    Df(df::DfArgs),
    /// Copy files and directory trees out of an image, or into one
    Cp(cp::CpArgs),
    /// Write a directory tree as a tar archive, or extract one into an image
    Tar(tar::TarArgs),
    /// Print SHA-256 digests of files or of a whole tree
    Sha256(sha256::Sha256Args),
    /// Show, set and remove extended attributes
    Xattr(xattr::XattrArgs),
    /// Make directories
    Mkdir(mkdir::MkdirArgs),
    /// Remove files and directories
    Rm(rm::RmArgs),
    /// Remove empty directories
    Rmdir(rmdir::RmdirArgs),
    /// Rename and move
    Mv(mv::MvArgs),
    /// Make hard and symbolic links
    Ln(ln::LnArgs),
    /// Change permissions
    Chmod(chmod::ChmodArgs),
    /// Change owners and groups
    Chown(chown::ChownArgs),
    /// Change times; make empty files
    Touch(touch::TouchArgs),
    /// Change the length of files
    Truncate(truncate::TruncateArgs),
    /// Write standard input into a file
    Write(write::WriteFileArgs),
    /// Allocate, punch or zero ranges of files
    Fallocate(fallocate::FallocateArgs),
    /// Work in an image by commands that are typed
    Shell(shell::ShellArgs),
    /// Run the commands of a script in an image that is mounted once
    Batch(batch::BatchArgs),
    /// Mount a file system as one of the host's, by FUSE
    Mount(mount::MountArgs),
    /// Unmount it, and wait until the image is in order
    Umount(umount::UmountArgs),
    /// Run another command and watch the kernel's memory meanwhile
    Top(top::TopArgs),
    /// Record the page accesses of a command; replay them under every policy and limit
    Trace(trace::TraceArgs),
    /// Make an ext2, ext3 or ext4 file system, empty or filled from a directory
    Mkfs(mkfs::MkfsArgs),
    /// Tell what is inconsistent in a file system, without repairing it
    Fsck(fsck::FsckArgs),
    /// Serve a directory of an image to NFS clients
    Serve(serve::ServeArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write the man pages into a directory
    Man(man::ManArgs),
}

/// An option of the kernel that was given to the command itself, at whichever level.
pub fn kernel_option(matches: &ArgMatches) -> Option<String> {
    let kernel = GlobalArgs::augment_args(clap::Command::new(""));
    let given = |id: &str| matches!(matches.try_contains_id(id), Ok(true)) && is_from_the_line(matches, id);
    let mine = kernel.get_arguments().find(|arg| given(arg.get_id().as_str()));
    let name = mine.map(|arg| arg.get_long().unwrap_or(arg.get_id().as_str()).to_owned());
    name.or_else(|| matches.subcommand().and_then(|(_, below)| kernel_option(below)))
}

fn is_from_the_line(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}
