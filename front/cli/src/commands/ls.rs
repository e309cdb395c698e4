//! `rumpcap ls`: lists directories.
//!
//! Memory: a directory that is sorted, or set in columns, is held while it is listed: about 50 bytes an entry, 250 with attributes.
//! `-U` with one entry per line holds nothing.

mod entry;
mod show;

use crate::accounts::Accounts;
use crate::colour::{Colours, When};
use crate::json::Array;
use crate::outcome::Run;
use crate::quote::{Quoting, quote};
use crate::session::{Links, Session, Target};
use crate::times::Clock;
use clap::{ArgAction, Args};
use entry::{Entry, Reader};
use rumpcap::Metadata;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Names are sorted by their bytes. User and group names are those of the image's /etc/passwd and \
/etc/group. Sorting holds the directory in memory, outside the limit; -U -1 and -U -l do not.

Examples:
  rumpcap ls disk.img
  rumpcap ls -la disk.img:/etc
  rumpcap ls -lhS disk.img:/var/log        largest first
  rumpcap ls -1U disk.img:/huge            in the order of the device, in no memory
  rumpcap ls --json disk.img:/etc | jq -r '.[] | select(.type == \"symlink\").path'";

/// Options of `ls`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES, disable_help_flag = true)]
pub struct LsArgs {
    /// One line per entry with its attributes
    #[arg(short = 'l', long)]
    pub long: bool,
    /// Like -l, with numbers for users and groups
    #[arg(short = 'n', long)]
    pub numeric_uid_gid: bool,
    /// Also entries that begin with a dot, and `.` and `..`
    #[arg(short = 'a', long)]
    all: bool,
    /// Also entries that begin with a dot
    #[arg(short = 'A', long)]
    almost_all: bool,
    /// Directories' content too, all the way down
    #[arg(short = 'R', long)]
    recursive: bool,
    /// With -l, sizes for people (1.5K, 12M)
    #[arg(short = 'h', long)]
    pub human_readable: bool,
    /// Inode numbers
    #[arg(short = 'i', long)]
    pub inode: bool,
    /// One entry per line
    #[arg(short = '1')]
    one_per_line: bool,
    /// Columns, even where standard output is no terminal
    #[arg(short = 'C', conflicts_with_all = ["one_per_line", "long"])]
    columns: bool,
    /// The directory itself, not its content
    #[arg(short = 'd', long)]
    directory: bool,
    /// Newest first
    #[arg(short = 't', overrides_with_all = ["by_size", "unsorted"])]
    by_time: bool,
    /// Largest first
    #[arg(short = 'S', overrides_with_all = ["by_time", "unsorted"])]
    by_size: bool,
    /// In the order of the device
    #[arg(short = 'U', overrides_with_all = ["by_time", "by_size"])]
    unsorted: bool,
    /// Backwards
    #[arg(short = 'r', long)]
    reverse: bool,
    /// Like -l, with times to the nanosecond
    #[arg(long)]
    pub full_time: bool,
    /// When to colour names, by LS_COLORS
    #[arg(long, value_name = "WHEN", default_value = "auto", num_args = 0..=1, require_equals = true,
        default_missing_value = "always")]
    color: When,
    /// One JSON array of objects, all directories' entries in one
    #[arg(long)]
    json: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// Directories or files
    #[arg(required = true, value_name = "IMAGE[:PATH]")]
    paths: Vec<OsString>,
}

/// How entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Long,
    OnePerLine,
    Columns,
    Json,
}

/// How entries are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Name,
    Time,
    Size,
    None,
}

/// Which entries are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hidden {
    Skip,
    Show,
    ShowWithDots,
}

/// One run of `ls`.
struct Ls<'a> {
    args: &'a LsArgs,
    format: Format,
    sort: Sort,
    hidden: Hidden,
    quoting: Quoting,
    colours: Colours,
    clock: Clock,
    accounts: Accounts,
    array: Array,
    /// Whether something stands above, so that a header needs a blank line.
    begun: bool,
}

/// Runs `ls`.
pub fn run(session: &mut Session, args: &LsArgs) -> Run {
    let mut ls = Ls::new(session, args);
    let targets = session.targets(&args.paths)?;
    let (mut files, mut directories) = (Vec::new(), Vec::new());
    for target in targets {
        let Some(metadata) = ls.argument_metadata(session, &target) else { continue };
        let list = if metadata.is_dir() && !args.directory { &mut directories } else { &mut files };
        list.push((target, metadata));
    }
    ls.list_arguments(session, files)?;
    let headers = args.recursive || args.paths.len() > 1;
    for (target, metadata) in directories {
        ls.list_tree(session, target, &metadata, headers)?;
    }
    if ls.format == Format::Json {
        std::mem::take(&mut ls.array).end(&mut session.out)?;
    }
    Ok(())
}

impl<'a> Ls<'a> {
    fn new(session: &Session, args: &'a LsArgs) -> Ls<'a> {
        let terminal = session.out.is_terminal();
        let format = match args {
            LsArgs { json: true, .. } => Format::Json,
            LsArgs { long: true, .. }
            | LsArgs { numeric_uid_gid: true, .. }
            | LsArgs { full_time: true, .. } => Format::Long,
            LsArgs { columns: true, .. } => Format::Columns,
            LsArgs { one_per_line: true, .. } => Format::OnePerLine,
            _ if terminal => Format::Columns,
            _ => Format::OnePerLine,
        };
        let sort = match args {
            LsArgs { unsorted: true, .. } => Sort::None,
            LsArgs { by_time: true, .. } => Sort::Time,
            LsArgs { by_size: true, .. } => Sort::Size,
            _ => Sort::Name,
        };
        let hidden = match args {
            LsArgs { all: true, .. } => Hidden::ShowWithDots,
            LsArgs { almost_all: true, .. } => Hidden::Show,
            _ => Hidden::Skip,
        };
        Ls {
            args,
            format,
            sort,
            hidden,
            quoting: if terminal { Quoting::Shell } else { Quoting::Raw },
            colours: Colours::new(args.color, terminal),
            clock: Clock::host(),
            accounts: Accounts::default(),
            array: Array::default(),
            begun: false,
        }
    }

    /// As GNU: a link on the command line is followed, except with -l and -d; a dangling one is listed itself.
    fn argument_metadata(&self, session: &mut Session, target: &Target) -> Option<Metadata> {
        let follow = self.format != Format::Long && !self.args.directory;
        if follow && let Ok(metadata) = target.mount.metadata(&target.path) {
            return Some(metadata);
        }
        session.metadata(target, Links::Keep)
    }

    /// Lists the arguments that are no directories, under the names that they were given by.
    fn list_arguments(&mut self, session: &mut Session, files: Vec<(Target, Metadata)>) -> Run {
        if files.is_empty() {
            return Ok(());
        }
        let mut groups: Vec<(Target, Vec<Entry>)> = Vec::new();
        for (target, metadata) in files {
            let entry = Entry::of_argument(&target, metadata, self.needs_acl());
            // All of one image stand together, as in one directory.
            match groups.last_mut().filter(|(t, _)| t.image == target.image) {
                Some((_, entries)) => entries.push(entry),
                None => groups.push((target, vec![entry])),
            }
        }
        for (target, mut entries) in groups {
            self.learn_names(&target);
            self.order(&mut entries);
            self.show(session, &target.mount, Path::new(""), &entries)?;
        }
        self.begun = true;
        Ok(())
    }

    /// Lists a directory and, with -R, all that is below it, each directory's subdirectories behind it.
    fn list_tree(
        &mut self,
        session: &mut Session,
        target: Target,
        metadata: &Metadata,
        headers: bool,
    ) -> Run {
        self.learn_names(&target);
        let mut waiting = vec![(target.path.clone(), vec![metadata.ino()])];
        while let Some((path, ancestors)) = waiting.pop() {
            let here = Target { path, ..target.clone() };
            let subdirectories = self.list_directory(session, &here, headers)?;
            for (name, ino) in subdirectories.into_iter().rev() {
                let path = here.path.join(PathBuf::from(OsString::from_vec(name)));
                if ancestors.contains(&ino) {
                    session.fail(&path, &"directory loop: it is inside itself");
                    continue;
                }
                let mut below = ancestors.clone();
                below.push(ino);
                waiting.push((path, below));
            }
        }
        Ok(())
    }

    /// Lists one directory; gives the subdirectories to go on with.
    fn list_directory(
        &mut self,
        session: &mut Session,
        here: &Target,
        headers: bool,
    ) -> Run<Vec<(Vec<u8>, u64)>> {
        if headers && self.format != Format::Json {
            session.out.write_all(if self.begun { b"\n" } else { b"" })?;
            session.out.write_all(&quote(here.path.as_os_str().as_bytes(), self.quoting))?;
            session.out.write_all(b":\n")?;
        }
        self.begun = true;
        if self.sort == Sort::None && !self.args.reverse && self.format != Format::Columns {
            return self.stream_directory(session, here);
        }
        let mut entries = Vec::new();
        for found in Reader::new(session, here, self.hidden) {
            match found {
                Ok(entry) => entries.push(entry),
                Err(e) => session.fail(&here.path, &e),
            }
        }
        self.fetch(session, here, &mut entries);
        self.order(&mut entries);
        self.show_total(session, &entries)?;
        self.show(session, &here.mount, &here.path, &entries)?;
        Ok(self.subdirectories(&entries))
    }

    /// Lists one directory as it is read, holding one entry.
    fn stream_directory(&mut self, session: &mut Session, here: &Target) -> Run<Vec<(Vec<u8>, u64)>> {
        let mut subdirectories = Vec::new();
        for found in Reader::new(session, here, self.hidden) {
            match found {
                Ok(entry) => {
                    let mut one = [entry];
                    self.fetch(session, here, &mut one);
                    self.show(session, &here.mount, &here.path, &one)?;
                    subdirectories.extend(self.subdirectories(&one));
                }
                Err(e) => session.fail(&here.path, &e),
            }
        }
        Ok(subdirectories)
    }

    fn subdirectories(&self, entries: &[Entry]) -> Vec<(Vec<u8>, u64)> {
        if !self.args.recursive {
            return Vec::new();
        }
        let below = entries.iter().filter(|e| e.is_directory() && !matches!(&*e.name, b"." | b".."));
        below.map(|e| (e.name.to_vec(), e.ino)).collect()
    }

    fn needs_metadata(&self) -> bool {
        self.colours.are_on()
            || matches!(self.format, Format::Long | Format::Json)
            || matches!(self.sort, Sort::Time | Sort::Size)
    }

    fn needs_acl(&self) -> bool {
        self.format == Format::Long
    }

    /// Reads the attributes of `entries`, by inode number: neighbours share a block of the device.
    fn fetch(&self, session: &mut Session, here: &Target, entries: &mut [Entry]) {
        if !self.needs_metadata() {
            return;
        }
        let mut by_ino: Vec<&mut Entry> = entries.iter_mut().collect();
        by_ino.sort_unstable_by_key(|e| e.ino);
        for entry in by_ino {
            if let Err(e) = entry.fetch(&here.mount, self.needs_acl()) {
                session.fail(&entry.path_in(&here.path), &e);
            }
        }
    }

    fn order(&self, entries: &mut [Entry]) {
        let time = |e: &Entry| e.metadata.as_ref().map(|m| m.modified());
        let size = |e: &Entry| e.metadata.as_ref().map(|m| m.len());
        match self.sort {
            Sort::Name => entries.sort_unstable_by(|a, b| a.name.cmp(&b.name)),
            Sort::Time => {
                entries.sort_unstable_by(|a, b| time(b).cmp(&time(a)).then_with(|| a.name.cmp(&b.name)))
            }
            Sort::Size => {
                entries.sort_unstable_by(|a, b| size(b).cmp(&size(a)).then_with(|| a.name.cmp(&b.name)))
            }
            Sort::None => {}
        }
        if self.args.reverse {
            entries.reverse();
        }
    }

    fn learn_names(&mut self, target: &Target) {
        if self.format == Format::Long && !self.args.numeric_uid_gid {
            self.accounts = Accounts::of(&target.mount);
        }
    }
}
