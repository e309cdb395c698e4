//! [`Colours`]: names in the colours of `LS_COLORS`.
//!
//! Who calls it: `ls`, `tree`.

use clap::ValueEnum;
use lscolors::{Indicator, LsColors, Style};
use rumpcap::{FileKind, Metadata};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

/// When names are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// Always.
    Always,
    /// On a terminal.
    Auto,
    /// Never.
    Never,
}

/// The colours of names, or none.
pub struct Colours(Option<LsColors>);

impl Colours {
    /// The user's colours, if `when` says so.
    pub fn new(when: When, terminal: bool) -> Colours {
        let wanted = match when {
            When::Always => true,
            // An empty NO_COLOR counts as unset: https://no-color.org.
            When::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            When::Never => false,
        };
        Colours(wanted.then(|| LsColors::from_env().unwrap_or_default()))
    }

    /// Whether attributes are needed to choose a colour.
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes `shown`, in the colour of the file `name`.
    pub fn paint(
        &self,
        out: &mut dyn Write,
        name: &[u8],
        m: Option<&Metadata>,
        shown: &[u8],
    ) -> io::Result<()> {
        let style = self.0.as_ref().and_then(|colours| style(colours, name, m));
        match style.map(Style::to_nu_ansi_term_style) {
            Some(style) => {
                write!(out, "{}", style.prefix())?;
                out.write_all(shown)?;
                write!(out, "{}", style.suffix())
            }
            None => out.write_all(shown),
        }
    }
}

fn style<'a>(colours: &'a LsColors, name: &[u8], m: Option<&Metadata>) -> Option<&'a Style> {
    let indicator = m.map_or(Indicator::RegularFile, indicator);
    if indicator != Indicator::RegularFile {
        return colours.style_for_indicator(indicator);
    }
    let by_name = colours.style_for_str(OsStr::from_bytes(name).to_str()?);
    by_name.or_else(|| colours.style_for_indicator(Indicator::RegularFile))
}

fn indicator(m: &Metadata) -> Indicator {
    match m.file_type().kind() {
        FileKind::Directory => match (m.mode() & 0o1000 != 0, m.mode() & 0o002 != 0) {
            (true, true) => Indicator::StickyAndOtherWritable,
            (false, true) => Indicator::OtherWritable,
            (true, false) => Indicator::Sticky,
            (false, false) => Indicator::Directory,
        },
        FileKind::Symlink => Indicator::SymbolicLink,
        FileKind::Fifo => Indicator::FIFO,
        FileKind::Socket => Indicator::Socket,
        FileKind::BlockDevice => Indicator::BlockDevice,
        FileKind::CharDevice => Indicator::CharacterDevice,
        FileKind::Regular if m.mode() & 0o4000 != 0 => Indicator::Setuid,
        FileKind::Regular if m.mode() & 0o2000 != 0 => Indicator::Setgid,
        FileKind::Regular if m.mode() & 0o111 != 0 => Indicator::ExecutableFile,
        FileKind::Regular | FileKind::Unknown => Indicator::RegularFile,
    }
}
