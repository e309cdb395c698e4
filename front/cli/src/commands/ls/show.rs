//! Writing entries: long lines, columns, one per line, JSON.

use super::{Entry, Format, Ls};
use crate::columns::{display_width, layout};
use crate::json;
use crate::modes::mode_text;
use crate::outcome::Run;
use crate::quote::quote;
use crate::session::Session;
use crate::units::human;
use rumpcap::{FileKind, Metadata, Mount};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Widths of the fields of long lines.
#[derive(Default)]
struct Widths {
    inode: usize,
    links: usize,
    user: usize,
    group: usize,
    size: usize,
    major: usize,
    minor: usize,
    mark: usize,
}

impl Ls<'_> {
    /// Writes `entries` of `directory`.
    pub(super) fn show(
        &mut self,
        session: &mut Session,
        mount: &Mount,
        directory: &Path,
        entries: &[Entry],
    ) -> Run {
        match self.format {
            Format::Long => self.long_lines(session, mount, entries),
            Format::OnePerLine => self.lines(session, entries),
            Format::Columns => self.columns(session, entries),
            Format::Json => self.objects(session, mount, directory, entries),
        }
    }

    /// Writes the line above a long listing: the space that its entries take.
    pub(super) fn show_total(&self, session: &mut Session, entries: &[Entry]) -> Run {
        if self.format != Format::Long {
            return Ok(());
        }
        let blocks: u64 = entries.iter().filter_map(|e| e.metadata.as_ref()).map(|m| m.blocks()).sum();
        let total =
            if self.args.human_readable { human(blocks * 512) } else { blocks.div_ceil(2).to_string() };
        Ok(writeln!(session.out, "total {total}")?)
    }

    fn long_lines(&self, session: &mut Session, mount: &Mount, entries: &[Entry]) -> Run {
        let mut widths = Widths::default();
        for entry in entries {
            self.widen(&mut widths, entry);
        }
        for entry in entries {
            self.long_line(session, mount, entry, &widths)?;
        }
        Ok(())
    }

    fn widen(&self, w: &mut Widths, entry: &Entry) {
        w.inode = w.inode.max(digits(entry.ino));
        w.mark = w.mark.max(usize::from(entry.has_acl));
        let Some(m) = &entry.metadata else { return };
        w.links = w.links.max(digits(m.nlink().into()));
        w.user = w.user.max(self.user(m).len());
        w.group = w.group.max(self.group(m).len());
        if is_device(m) {
            w.major = w.major.max(digits(m.rdev().0.into()));
            w.minor = w.minor.max(digits(m.rdev().1.into()));
            w.size = w.size.max(w.major + 2 + w.minor);
        } else {
            w.size = w.size.max(self.size(m).len());
        }
    }

    fn long_line(&self, session: &mut Session, mount: &Mount, entry: &Entry, w: &Widths) -> Run {
        let out = &mut session.out;
        if self.args.inode {
            write!(out, "{:>width$} ", entry.ino, width = w.inode)?;
        }
        let Some(m) = &entry.metadata else {
            // Its attributes could not be read; that has been said.
            write!(out, "?????????? ? ? ? ? ? ")?;
            return self.plain_line(session, entry);
        };
        let mark = if entry.has_acl { "+" } else { "" };
        write!(out, "{}{mark:<mw$} {:>lw$} ", mode_text(m.mode()), m.nlink(), mw = w.mark, lw = w.links)?;
        write!(out, "{} {} ", aligned(self.user(m), w.user), aligned(self.group(m), w.group))?;
        if is_device(m) {
            let (major, minor) = m.rdev();
            let major_width = w.size.saturating_sub(w.minor + 2);
            write!(out, "{major:>major_width$}, {minor:>minor_width$}", minor_width = w.minor)?;
        } else {
            write!(out, "{:>sw$}", self.size(m), sw = w.size)?;
        }
        let time =
            if self.args.full_time { self.clock.full(m.modified()) } else { self.clock.short(m.modified()) };
        write!(out, " {time} ")?;
        self.name(session, entry)?;
        if m.is_symlink() {
            self.link_target(session, mount, entry)?;
        }
        Ok(session.out.write_all(b"\n")?)
    }

    fn link_target(&self, session: &mut Session, mount: &Mount, entry: &Entry) -> Run {
        match mount.read_link_ino(entry.ino) {
            Ok(link) => {
                session.out.write_all(b" -> ")?;
                session.out.write_all(&quote(link.as_os_str().as_bytes(), self.quoting))?;
            }
            Err(e) => session.fail(&entry.path_in(Path::new("")), &e),
        }
        Ok(())
    }

    fn lines(&self, session: &mut Session, entries: &[Entry]) -> Run {
        let width = entries.iter().map(|e| digits(e.ino)).max().unwrap_or(0);
        for entry in entries {
            if self.args.inode {
                write!(session.out, "{:>width$} ", entry.ino)?;
            }
            self.plain_line(session, entry)?;
        }
        Ok(())
    }

    fn plain_line(&self, session: &mut Session, entry: &Entry) -> Run {
        self.name(session, entry)?;
        Ok(session.out.write_all(b"\n")?)
    }

    fn columns(&self, session: &mut Session, entries: &[Entry]) -> Run {
        let inode_width = entries.iter().map(|e| digits(e.ino)).max().unwrap_or(0);
        let prefix = if self.args.inode { inode_width + 1 } else { 0 };
        let width = |e: &Entry| prefix + display_width(&quote(&e.name, self.quoting));
        let widths: Vec<usize> = entries.iter().map(width).collect();
        let plan = layout(&widths, session.out.columns());
        for row in 0..plan.rows.min(entries.len()) {
            for (column, column_width) in plan.widths.iter().enumerate() {
                let at = column * plan.rows + row;
                let Some(entry) = entries.get(at) else { break };
                if self.args.inode {
                    write!(session.out, "{:>inode_width$} ", entry.ino)?;
                }
                self.name(session, entry)?;
                if at + plan.rows < entries.len() {
                    write!(session.out, "{:pad$}", "", pad = column_width - widths[at])?;
                }
            }
            session.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn name(&self, session: &mut Session, entry: &Entry) -> Run {
        let shown = quote(&entry.name, self.quoting);
        Ok(self.colours.paint(&mut session.out, &entry.name, entry.metadata.as_deref(), &shown)?)
    }

    fn objects(&mut self, session: &mut Session, mount: &Mount, directory: &Path, entries: &[Entry]) -> Run {
        for entry in entries {
            let Some(m) = &entry.metadata else { continue };
            let path = entry.path_in(directory);
            let mut object = serde_json::Map::new();
            json::insert_name(&mut object, "path", path.as_os_str().as_bytes());
            json::insert_name(&mut object, "name", path.file_name().unwrap_or(path.as_os_str()).as_bytes());
            object.extend(json::attributes(m));
            if m.is_symlink() {
                match mount.read_link_ino(entry.ino) {
                    Ok(link) => json::insert_name(&mut object, "target", link.as_os_str().as_bytes()),
                    Err(e) => session.fail(&path, &e),
                }
            }
            self.array.push(&mut session.out, object)?;
        }
        Ok(())
    }

    fn user(&self, m: &Metadata) -> String {
        self.accounts.user(m.uid()).map_or_else(|| m.uid().to_string(), str::to_owned)
    }

    fn group(&self, m: &Metadata) -> String {
        self.accounts.group(m.gid()).map_or_else(|| m.gid().to_string(), str::to_owned)
    }

    fn size(&self, m: &Metadata) -> String {
        if self.args.human_readable { human(m.len()) } else { m.len().to_string() }
    }
}

/// Names stand to the left, numbers to the right.
fn aligned(name: String, width: usize) -> String {
    match name.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("{name:>width$}"),
        false => format!("{name:<width$}"),
    }
}

fn is_device(m: &Metadata) -> bool {
    matches!(m.file_type().kind(), FileKind::CharDevice | FileKind::BlockDevice)
}

fn digits(n: u64) -> usize {
    n.checked_ilog10().unwrap_or(0) as usize + 1
}
