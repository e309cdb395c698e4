//! The command line: one definition for parsing, `--help`, shell completions and man pages.
//!
//! Who calls it: `main`. Each command's own options are defined beside its code in `commands/`.

use crate::commands::*;
use crate::units::{MemoryLimit, parse_memory_limit, parse_offset};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use rumpcap::PolicyKind;
use std::path::PathBuf;

/// What the kernel gets when nobody says: far above what full speed needs, and little for any machine.
const DEFAULT_MEMORY_LIMIT: &str = "8m";

const ABOUT: &str = "Lists, reads and copies out of disk images, under a hard memory limit";

const ADDRESSES: &str = "\
Addresses:
  IMAGE          the root directory of the file system in IMAGE
  IMAGE:PATH     PATH in it; always from the root, with or without a leading /
  IMAGE@N:PATH   PATH in the file system of partition N

IMAGE is a file or a block device; only mkfs writes to it. Of a disk image with partitions and no @N, the \
only file system is used; if there are several, the command says which. IMAGE may itself contain : and @: \
the longest reading that names an existing file counts.

Exit status:
  0    everything that was asked for was done
  1    something failed; each path was named on standard error
  2    the command line was wrong
  141  whoever read the output has gone

Examples:
  rumpcap ls -l disk.img:/etc
  rumpcap cat disk.img@2:/etc/os-release
  rumpcap --memory-limit 512k -v find disk.img -name '*.conf' -size +4k
  rumpcap cp -r disk.img:/home/me restored
  rumpcap tar disk.img:/ | ssh backup 'cat > disk.tar'
  rumpcap mkfs -d rootfs new.img 2g";

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
    /// Copy files and directory trees out of an image
    Cp(cp::CpArgs),
    /// Write a directory tree as a tar archive
    Tar(tar::TarArgs),
    /// Print SHA-256 digests of files or of a whole tree
    Sha256(sha256::Sha256Args),
    /// Show extended attributes
    Xattr(xattr::XattrArgs),
    /// Run another command and watch the kernel's memory meanwhile
    Top(top::TopArgs),
    /// Record the page accesses of a command; replay them under every policy and limit
    Trace(trace::TraceArgs),
    /// Make an ext2, ext3 or ext4 file system, empty or filled from a directory
    Mkfs(mkfs::MkfsArgs),
    /// Tell what is inconsistent in a file system, without repairing it
    Fsck(fsck::FsckArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write the man pages into a directory
    Man(man::ManArgs),
}
