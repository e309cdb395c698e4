//! `rumpcap xattr`: shows extended attributes, in the manner of getfattr(1); `change` sets and removes them.

mod change;

use crate::outcome::Run;
use crate::quote::{Quoting, quote};
use crate::session::{Links, Session, Target};
use crate::traverse::{Order, Visit, traverse};
use clap::{ArgAction, Args, ValueEnum};
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

const EXAMPLES: &str = "\
Names of all kinds are shown (user.*, security.*, trusted.*, system.posix_acl_*), not only user.*. \
Values: text is quoted, with \\ooo for what is not printable; what is not text is 0s and base64, \
or as -e says.

An image whose name is `set` or `remove` is spelled ./set.

Examples:
  rumpcap xattr disk.img:/bin/ping
  rumpcap xattr -d -R disk.img:/srv
  rumpcap xattr -n user.comment --only-values disk.img:/srv/a
  rumpcap xattr set user.comment 'hello' disk.img:/srv/a
  rumpcap xattr remove user.comment disk.img:/srv/a";

/// Options of `xattr`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES, disable_help_flag = true, disable_help_subcommand = true,
    args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct XattrArgs {
    #[command(subcommand)]
    change: Option<change::Change>,
    /// Values too
    #[arg(short = 'd', long)]
    dump: bool,
    /// This attribute only, with its value
    #[arg(short = 'n', long, value_name = "NAME")]
    name: Option<OsString>,
    /// The bare value and nothing else
    #[arg(long, requires = "name")]
    only_values: bool,
    /// How values are written
    #[arg(short = 'e', long, value_name = "ENCODING")]
    encoding: Option<Encoding>,
    /// Everything below directories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Symbolic links themselves
    #[arg(short = 'h', long)]
    no_dereference: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Encoding {
    /// In quotes
    Text,
    /// 0x...
    Hex,
    /// 0s...
    Base64,
}

/// Runs `xattr`.
pub fn run(session: &mut Session, args: &XattrArgs) -> Run {
    if let Some(change) = &args.change {
        return change::run(session, change);
    }
    let links = if args.no_dereference || args.recursive { Links::Keep } else { Links::Follow };
    for target in session.targets(&args.paths)? {
        if args.recursive {
            traverse(
                session,
                &target,
                Order::Device,
                usize::MAX,
                &mut |session: &mut Session, visit: &Visit<'_>| {
                    show(session, args, &target, visit.path, visit.metadata.ino())
                },
            )?;
        } else if let Some(metadata) = session.metadata(&target, links) {
            show(session, args, &target, &target.path, metadata.ino())?;
        }
    }
    Ok(())
}

fn show(session: &mut Session, args: &XattrArgs, target: &Target, path: &Path, ino: u64) -> Run {
    let found = match &args.name {
        Some(name) => {
            let value = target.mount.xattr_ino(ino, name.as_bytes());
            value.map(|value| vec![(name.clone().into_vec(), value)])
        }
        None => target.mount.xattrs_ino(ino),
    };
    let all = match found {
        Ok(all) => all,
        // Below a directory most files do not have it; that is no failure.
        Err(rumpcap::Error::NoAttribute) if args.recursive => return Ok(()),
        Err(e) => {
            session.fail(path, &e);
            return Ok(());
        }
    };
    if args.only_values {
        return all.iter().try_for_each(|(_, value)| Ok(session.out.write_all(value)?));
    }
    if all.is_empty() {
        return Ok(());
    }
    // A newline in a name would make a line of its own for whoever reads the dump.
    let quoting = if path.as_os_str().as_bytes().contains(&b'\n') {
        Quoting::Controls
    } else {
        session.out.path_quoting()
    };
    session.out.write_all(b"# file: ")?;
    session.out.write_all(&quote(path.as_os_str().as_bytes(), quoting))?;
    session.out.write_all(b"\n")?;
    for (name, value) in &all {
        session.out.write_all(&quote(name, quoting))?;
        if args.dump || args.name.is_some() || args.encoding.is_some() {
            write!(session.out, "={}", encode(value, args.encoding))?;
        }
        session.out.write_all(b"\n")?;
    }
    Ok(session.out.write_all(b"\n")?)
}

fn encode(value: &[u8], encoding: Option<Encoding>) -> String {
    let readable = std::str::from_utf8(value)
        .is_ok_and(|s| !s.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
    let chosen = encoding.unwrap_or(if readable { Encoding::Text } else { Encoding::Base64 });
    match chosen {
        Encoding::Text => text(value),
        Encoding::Hex => format!("0x{}", crate::json::hex(value)),
        Encoding::Base64 => format!("0s{}", base64(value)),
    }
}

fn text(value: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                c if c.is_control() => {
                    c.to_string().bytes().for_each(|b| out.push_str(&format!("\\{b:03o}")))
                }
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\{b:03o}")));
    }
    out.push('"');
    out
}

fn base64(value: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(value.len().div_ceil(3) * 4);
    for three in value.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize];
            out.push(if i <= three.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn values_are_text_where_they_read_as_text() {
        assert_eq!(encode(b"a\"b\\c\n", None), "\"a\\\"b\\\\c\\012\"");
        assert_eq!(encode(b"\x01\0", None), "0sAQA=");
        assert_eq!(encode(b"\x01\xff", Some(Encoding::Text)), "\"\\001\\377\"");
        assert_eq!(encode(b"\x01\xff", Some(Encoding::Hex)), "0x01ff");
    }
}
