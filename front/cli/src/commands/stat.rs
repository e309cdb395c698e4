//! `rumpcap stat`: shows all attributes of files.

use crate::accounts::Accounts;
use crate::json;
use crate::modes::mode_text;
use crate::outcome::{Run, Stop};
use crate::quote::{Quoting, quote};
use crate::session::{Links, Session, Target};
use crate::times::Clock;
use clap::Args;
use rumpcap::{FileKind, Metadata, Timestamp};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;

const EXAMPLES: &str = "\
Directives of --format:
  %n name   %N quoted name and link target   %F type   %i inode   %h links
  %s size   %b blocks of %B = 512 bytes   %o block size of the file system
  %a permissions in octal   %A in letters   %f mode in hexadecimal
  %u uid   %U user   %g gid   %G group   %t %T device's major and minor in hexadecimal
  %x access   %y change of content   %z change of inode   %w creation   %X %Y %Z %W in seconds
  %% a percent sign

Examples:
  rumpcap stat disk.img:/etc/passwd
  rumpcap stat -c '%a %s %n' disk.img:/bin/sh disk.img:/etc
  rumpcap stat --json disk.img:/etc/shadow | jq '.[0].mode'";

/// Options of `stat`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES)]
pub struct StatArgs {
    /// Follow symbolic links
    #[arg(short = 'L', long)]
    dereference: bool,
    /// One line in this format for each file
    #[arg(short = 'c', long, value_name = "FORMAT", conflicts_with = "json")]
    format: Option<String>,
    /// One JSON array of objects
    #[arg(long)]
    json: bool,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// What a file's attributes are written with.
struct Writer {
    clock: Clock,
    accounts: Accounts,
    quoting: Quoting,
    block_size: u32,
}

/// Runs `stat`.
pub fn run(session: &mut Session, args: &StatArgs) -> Run {
    if let Some(format) = &args.format {
        check(format)?;
    }
    let mut array = json::Array::default();
    let links = if args.dereference { Links::Follow } else { Links::Keep };
    for target in session.targets(&args.paths)? {
        let Some(metadata) = session.metadata(&target, links) else { continue };
        if args.json {
            let object = object(session, &target, &metadata);
            array.push(&mut session.out, object)?;
            continue;
        }
        let writer = Writer {
            clock: Clock::host(),
            accounts: Accounts::of(&target.mount),
            quoting: session.out.path_quoting(),
            block_size: target.mount.stat_fs().map_or(4096, |s| s.block_size),
        };
        match &args.format {
            Some(format) => writer.formatted(session, format, &target, &metadata)?,
            None => writer.paragraph(session, &target, &metadata)?,
        }
    }
    if args.json { array.end(&mut session.out) } else { Ok(()) }
}

fn object(
    session: &mut Session,
    target: &Target,
    m: &Metadata,
) -> serde_json::Map<String, serde_json::Value> {
    let mut object = serde_json::Map::new();
    json::insert_name(&mut object, "path", target.path.as_os_str().as_bytes());
    object.extend(json::attributes(m));
    object.insert("generation".into(), m.generation().into());
    object.insert("flags".into(), m.flags().into());
    object.insert("project".into(), m.project().into());
    if m.is_symlink() {
        match target.mount.read_link_ino(m.ino()) {
            Ok(link) => json::insert_name(&mut object, "target", link.as_os_str().as_bytes()),
            Err(e) => session.fail(&target.path, &e),
        }
    }
    object
}

/// Refuses directives that are not known, before anything is printed.
fn check(format: &str) -> Run {
    let mut letters = format.chars();
    while let Some(c) = letters.next() {
        let Some(directive) = (c == '%').then(|| letters.next().unwrap_or(' ')) else { continue };
        if !"nNsbBfaAFuUgGihxyzwXYZWtTo%".contains(directive) {
            return Err(Stop::Usage(format!("stat: unknown directive %{directive} in the format")));
        }
    }
    Ok(())
}

impl Writer {
    fn paragraph(&self, session: &mut Session, target: &Target, m: &Metadata) -> Run {
        let lines = [
            "  File: %N\n  Size: %<s\tBlocks: %<b IO Block: %<o %F\n",
            "Inode: %<i  Links: %<h",
            "\nAccess: (0%a/%A)  Uid: (%>u/%>U)   Gid: (%>g/%>G)\nAccess: %x\nModify: %y\nChange: %z\n Birth: %w\n",
        ];
        let device = if is_device(m) { ["  Device type: 0x%t,0x%T"] } else { [""] };
        for part in lines[..2].iter().chain(&device).chain(&lines[2..]) {
            self.expand(session, part, target, m)?;
        }
        Ok(())
    }

    fn formatted(&self, session: &mut Session, format: &str, target: &Target, m: &Metadata) -> Run {
        self.expand(session, format, target, m)?;
        Ok(session.out.write_all(b"\n")?)
    }

    /// Writes `format` with its directives replaced; `<` and `>` pad to the widths of the standard paragraph.
    fn expand(&self, session: &mut Session, format: &str, target: &Target, m: &Metadata) -> Run {
        let mut letters = format.chars();
        while let Some(c) = letters.next() {
            if c != '%' {
                write!(session.out, "{c}")?;
                continue;
            }
            let mut directive = letters.next().unwrap_or('%');
            let padding = directive;
            if matches!(padding, '<' | '>') {
                directive = letters.next().unwrap_or('%');
            }
            let value = self.value(session, directive, target, m);
            match padding {
                '<' => write!(session.out, "{:<10}", String::from_utf8_lossy(&value))?,
                '>' => write!(session.out, "{:>5}", String::from_utf8_lossy(&value))?,
                _ => session.out.write_all(&value)?,
            }
        }
        Ok(())
    }

    fn value(&self, session: &mut Session, directive: char, target: &Target, m: &Metadata) -> Vec<u8> {
        let time = |t: Option<Timestamp>| t.map_or("-".to_owned(), |t| self.clock.full(t));
        let seconds = |t: Option<Timestamp>| t.map_or(0, |t| t.seconds).to_string();
        let name = target.path.as_os_str().as_bytes();
        let text = match directive {
            'n' => return quote(name, self.quoting).into_owned(),
            'N' => return self.name_and_target(session, target, m),
            's' => m.len().to_string(),
            'b' => m.blocks().to_string(),
            'B' => "512".to_owned(),
            'o' => self.block_size.to_string(),
            'f' => format!("{:x}", m.mode()),
            'a' => format!("{:o}", m.mode() & 0o7777),
            'A' => mode_text(m.mode()),
            'F' => kind_words(m).to_owned(),
            'u' => m.uid().to_string(),
            'U' => self.accounts.user(m.uid()).unwrap_or("UNKNOWN").to_owned(),
            'g' => m.gid().to_string(),
            'G' => self.accounts.group(m.gid()).unwrap_or("UNKNOWN").to_owned(),
            'i' => m.ino().to_string(),
            'h' => m.nlink().to_string(),
            'x' => time(Some(m.accessed())),
            'y' => time(Some(m.modified())),
            'z' => time(Some(m.changed())),
            'w' => time(m.created()),
            'X' => seconds(Some(m.accessed())),
            'Y' => seconds(Some(m.modified())),
            'Z' => seconds(Some(m.changed())),
            'W' => seconds(m.created()),
            't' => format!("{:x}", m.rdev().0),
            'T' => format!("{:x}", m.rdev().1),
            _ => "%".to_owned(),
        };
        text.into_bytes()
    }

    fn name_and_target(&self, session: &mut Session, target: &Target, m: &Metadata) -> Vec<u8> {
        let mut shown = quote(target.path.as_os_str().as_bytes(), Quoting::Shell).into_owned();
        if m.is_symlink() {
            match target.mount.read_link_ino(m.ino()) {
                Ok(link) => {
                    shown.extend_from_slice(b" -> ");
                    shown.extend_from_slice(&quote(link.as_os_str().as_bytes(), Quoting::Shell));
                }
                Err(e) => session.fail(&target.path, &e),
            }
        }
        shown
    }
}

fn is_device(m: &Metadata) -> bool {
    matches!(m.file_type().kind(), FileKind::CharDevice | FileKind::BlockDevice)
}

fn kind_words(m: &Metadata) -> &'static str {
    match m.file_type().kind() {
        FileKind::Regular if m.len() == 0 => "regular empty file",
        FileKind::Regular => "regular file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symbolic link",
        FileKind::CharDevice => "character special file",
        FileKind::BlockDevice => "block special file",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::Unknown => "weird file",
    }
}
