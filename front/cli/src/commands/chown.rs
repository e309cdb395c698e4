//! `rumpcap chown`: changes owners and groups.
//!
//! As with the kernel's chown(2), a file that is no directory loses its set-id bits and capabilities: they were another's.

use crate::accounts::Accounts;
use crate::args::WriteArgs;
use crate::outcome::{Run, Stop};
use crate::session::{Links, Session, Target};
use crate::traverse::{Order, Visit, traverse};
use clap::{ArgAction, Args};
use rumpcap::{Error, Metadata, SetAttributes};
use std::ffi::OsString;

const EXAMPLES: &str = "\
Names are looked up in the image's own /etc/passwd and /etc/group; a number is itself. `:GROUP` changes the group alone. Symbolic links are followed where they are named, without -h; \
below directories the links themselves are changed. As with chown(2), files lose their set-id bits and capabilities.

Examples:
  rumpcap chown root:shadow disk.img:/etc/shadow
  rumpcap chown -R 1000:1000 disk.img:/home/me
  rumpcap chown :50 disk.img:/srv";

/// Options of `chown`.
#[derive(Debug, Args)]
#[command(args_override_self = true, after_help = EXAMPLES, disable_help_flag = true)]
pub struct ChownArgs {
    /// Everything below directories too
    #[arg(short = 'R', long)]
    recursive: bool,
    /// Symbolic links themselves
    #[arg(short = 'h', long)]
    no_dereference: bool,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    write: WriteArgs,
    /// The new owner, group or both
    #[arg(value_name = "[OWNER][:GROUP]")]
    owner: String,
    /// The files
    #[arg(required = true, value_name = "IMAGE:PATH")]
    paths: Vec<OsString>,
}

/// What is to be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ids {
    uid: Option<u32>,
    gid: Option<u32>,
}

/// Runs `chown`.
pub fn run(session: &mut Session, args: &ChownArgs) -> Run {
    for target in session.all_writable(&args.paths, args.write)? {
        let ids = ids(&args.owner, &|| Accounts::of(&target.mount))?;
        let links = if args.no_dereference || args.recursive { Links::Keep } else { Links::Follow };
        let Some(metadata) = session.metadata(&target, links) else { continue };
        if !args.recursive || !metadata.is_dir() {
            if let Err(e) = set(&target, &metadata, ids) {
                session.fail(&target.path, &e);
            }
            continue;
        }
        let mut visitor = |session: &mut Session, visit: &Visit<'_>| {
            session.check_interrupt()?;
            if let Err(e) = set(&target, visit.metadata, ids) {
                session.fail(visit.path, &e);
            }
            Ok(())
        };
        traverse(session, &target, Order::Device, usize::MAX, &mut visitor)?;
    }
    Ok(())
}

fn ids(text: &str, accounts: &dyn Fn() -> Accounts) -> Run<Ids> {
    let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
    let unknown = |what: &str, name: &str| {
        Stop::Usage(format!("chown: {name}: no {what} of that name in the image's own files"))
    };
    let uid = match user {
        "" => None,
        user => {
            let number = user.parse().ok().or_else(|| accounts().uid(user));
            Some(number.ok_or_else(|| unknown("user", user))?)
        }
    };
    let gid = match group {
        None => None,
        Some("") if user.is_empty() => None,
        Some("") => return Stop::usage("chown: a group must be named behind the colon"),
        Some(group) => {
            let number = group.parse().ok().or_else(|| accounts().gid(group));
            Some(number.ok_or_else(|| unknown("group", group))?)
        }
    };
    if uid == Some(u32::MAX) || gid == Some(u32::MAX) {
        return Stop::usage("chown: 4294967295 is the number that means none");
    }
    Ok(Ids { uid, gid })
}

fn set(target: &Target, m: &Metadata, ids: Ids) -> rumpcap::Result<()> {
    let mode = (m.mode() & 0o6000 != 0 && m.is_file()).then(|| without_set_id(m.mode()));
    let set = SetAttributes { uid: ids.uid, gid: ids.gid, mode, ..SetAttributes::default() };
    target.mount.set_attributes_ino(m.ino(), &set)?;
    if m.is_file() {
        match target.mount.remove_xattr_ino(m.ino(), b"security.capability") {
            Ok(()) | Err(Error::NoAttribute | Error::Unsupported { .. }) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The set-group-id bit of a file that no group may execute means something else.
fn without_set_id(mode: u32) -> u32 {
    let dropped = if mode & 0o010 != 0 { 0o6000 } else { 0o4000 };
    mode & 0o7777 & !dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_and_groups() {
        let get = |text: &str| ids(text, &Accounts::default).ok().map(|ids| (ids.uid, ids.gid));
        assert_eq!(get("1"), Some((Some(1), None)));
        assert_eq!(get("1:2"), Some((Some(1), Some(2))));
        assert_eq!(get(":2"), Some((None, Some(2))));
        assert_eq!(get(":"), Some((None, None)));
        for bad in ["1:", "me", ":us", "-1", "4294967295", "4294967296"] {
            assert_eq!(get(bad), None, "{bad}");
        }
    }
}
