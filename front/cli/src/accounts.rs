//! [`Accounts`]: names of users and groups, from the image's own `/etc/passwd` and `/etc/group`: the host's names would be those of
//! other people.
//!
//! Who calls it: `ls -l`, `stat`, `tar`, `chown`. Memory: the names, at most what 1 MiB of each file holds.
//! Failure: a file that is not there or broken gives no names; numbers are shown instead.

use rumpcap::Mount;
use std::io::{BufRead, BufReader, Read};

const FILE_BYTES_MAX: u64 = 1 << 20;

/// Names of users and groups.
#[derive(Default)]
pub struct Accounts {
    users: Names,
    groups: Names,
}

/// Pairs of id and name, sorted by id.
type Names = Vec<(u32, Box<str>)>;

impl Accounts {
    /// Reads the names that `mount` holds.
    pub fn of(mount: &Mount) -> Accounts {
        Accounts { users: read(mount, "/etc/passwd"), groups: read(mount, "/etc/group") }
    }

    /// Name of the user `uid`, if it has one.
    pub fn user(&self, uid: u32) -> Option<&str> {
        find(&self.users, uid)
    }

    /// Number of the user `name`, if there is one.
    pub fn uid(&self, name: &str) -> Option<u32> {
        id(&self.users, name)
    }

    /// Number of the group `name`, if there is one.
    pub fn gid(&self, name: &str) -> Option<u32> {
        id(&self.groups, name)
    }

    /// Name of the group `gid`, if it has one.
    pub fn group(&self, gid: u32) -> Option<&str> {
        find(&self.groups, gid)
    }
}

fn id(names: &Names, name: &str) -> Option<u32> {
    names.iter().find(|(_, known)| **known == *name).map(|(id, _)| *id)
}

fn find(names: &Names, id: u32) -> Option<&str> {
    // The first of several names for one id counts, as getpwuid has it; the sort is stable.
    let at = names.partition_point(|(known, _)| *known < id);
    names.get(at).filter(|(known, _)| *known == id).map(|(_, name)| &**name)
}

fn read(mount: &Mount, path: &str) -> Names {
    match mount.open(path) {
        Ok(file) if file.metadata().is_ok_and(|m| m.is_file()) => parse(file.take(FILE_BYTES_MAX)),
        _ => Names::new(),
    }
}

fn parse(source: impl Read) -> Names {
    let lines = BufReader::new(source).lines().map_while(Result::ok);
    let mut names: Names = lines.filter_map(|line| entry(&line)).collect();
    names.sort_by_key(|(id, _)| *id);
    names
}

/// `name:password:id:...`; a name that would disturb a terminal or a column is none.
fn entry(line: &str) -> Option<(u32, Box<str>)> {
    let mut fields = line.split(':');
    let name = fields
        .next()
        .filter(|n| !n.is_empty() && !n.contains(|c: char| c.is_control() || c.is_whitespace()))?;
    let id = fields.nth(1)?.parse().ok()?;
    Some((id, name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_an_id_counts_and_odd_lines_are_none() {
        let text = b"root:x:0:0:root:/root:/bin/sh\ntoor:x:0:0::/:\nbad\nx y:x:3:\n\x1b:x:4:\nd:x:1:1\n";
        let names = parse(text.as_slice());
        assert_eq!(find(&names, 0), Some("root"));
        assert_eq!(find(&names, 1), Some("d"));
        assert_eq!(find(&names, 2), None);
        assert_eq!((id(&names, "toor"), id(&names, "d"), id(&names, "x y")), (Some(0), Some(1), None));
    }
}
