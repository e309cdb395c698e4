//! The options of `mount -o`, in the manner of mount(8) and fstab(5).
//!
//! Who calls it: `mount`. What concerns others (`noauto`, `user`, `x-…`) is passed over; what is always so may be said; what is known
//! nowhere is refused by its name. In a value, `\,` is a comma.

use crate::units::{MemoryLimit, parse_memory_limit, parse_offset, parse_size};
use rumpcap::DataMode;
use rumpcap_fuse::{MountFlags, Options};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

/// What is for others: init systems, mount(8) itself, udisks.
const FOR_OTHERS: [&str; 17] = [
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "nofail",
    "_netdev",
    "loop",
    "async",
    "nodiratime",
    "silent",
    "loud",
    "mand",
    "nomand",
];

/// What is so in any case.
const ALWAYS_SO: [&str; 8] =
    ["acl", "user_xattr", "nosuid", "nodev", "exec", "relatime", "noauto_da_alloc", "errors=remount-ro"];

/// What a mount is to be like.
pub struct MountOptions {
    /// It can be written.
    pub is_writable: bool,
    /// The kernel's memory, if it is said here.
    pub limit: Option<MemoryLimit>,
    /// Where the file system begins, if it is said here.
    pub offset: Option<u64>,
    /// Number of the partition, if it is said here.
    pub partition: Option<u32>,
    /// The journal is not looked at.
    pub no_recovery: bool,
    /// When content is written.
    pub data: DataMode,
    /// How long clients may take at the end.
    pub grace: Duration,
    /// What FUSE is told.
    pub fuse: Options,
}

impl Default for MountOptions {
    fn default() -> MountOptions {
        MountOptions {
            is_writable: false,
            limit: None,
            offset: None,
            partition: None,
            no_recovery: false,
            data: DataMode::default(),
            grace: Duration::from_secs(10),
            fuse: Options::default(),
        }
    }
}

/// Reads `text` into `options`; what comes later counts.
///
/// # Errors
/// A message for the user.
pub fn parse(text: &OsStr, options: &mut MountOptions) -> Result<(), String> {
    split(text.as_bytes()).iter().filter(|one| !one.is_empty()).try_for_each(|one| parse_one(one, options))
}

/// Splits at commas.
fn split(text: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b',' => parts.push(Vec::new()),
            b'\\' if bytes.peek() == Some(&b',') => {
                parts.last_mut().into_iter().for_each(|part| part.push(b','))
            }
            byte => parts.last_mut().into_iter().for_each(|part| part.push(byte)),
        }
        if byte == b'\\' && bytes.peek() == Some(&b',') {
            bytes.next();
        }
    }
    parts
}

fn parse_one(one: &[u8], options: &mut MountOptions) -> Result<(), String> {
    let text = String::from_utf8_lossy(one).into_owned();
    if is_passed_over(&text) {
        return Ok(());
    }
    if let Some((name, value)) = text.split_once('=') {
        let raw = OsString::from_vec(one[name.len() + 1..].to_vec());
        return valued(name, value, raw, options).map_err(|why| format!("-o {text}: {why}"));
    }
    if !flag(&text, options) {
        return Err(format!("-o {text}: no such option"));
    }
    Ok(())
}

fn is_passed_over(text: &str) -> bool {
    let is_comment = ["x-", "X-", "comment="].iter().any(|start| text.starts_with(start));
    is_comment || FOR_OTHERS.contains(&text) || ALWAYS_SO.contains(&text)
}

/// An option without a value; whether there is such a one.
fn flag(name: &str, options: &mut MountOptions) -> bool {
    let fuse = &mut options.fuse;
    match name {
        "ro" => options.is_writable = false,
        "rw" => options.is_writable = true,
        "norecovery" | "noload" => options.no_recovery = true,
        "allow_other" => fuse.allow_other = true,
        "default_permissions" => fuse.default_permissions = true,
        "nodefault_permissions" => fuse.default_permissions = false,
        "writeback_cache" => fuse.writeback_cache = true,
        "suid" => fuse.flags -= MountFlags::NOSUID,
        "dev" => fuse.flags -= MountFlags::NODEV,
        "noexec" => fuse.flags |= MountFlags::NOEXEC,
        "noatime" => fuse.flags |= MountFlags::NOATIME,
        "sync" => fuse.flags |= MountFlags::SYNCHRONOUS,
        "dirsync" => fuse.flags |= MountFlags::DIRSYNC,
        _ => return false,
    }
    true
}

fn valued(name: &str, value: &str, raw: OsString, options: &mut MountOptions) -> Result<(), String> {
    let fuse = &mut options.fuse;
    match name {
        "limit" | "memory_limit" => options.limit = Some(parse_memory_limit(value)?),
        "offset" => options.offset = Some(parse_offset(value)?),
        "partition" => options.partition = Some(value.parse().map_err(|_| "not a number")?),
        "data" => {
            options.data = match value {
                "ordered" => DataMode::Ordered,
                "writeback" => DataMode::Writeback,
                "journal" => DataMode::Journal,
                _ => return Err("one of ordered, writeback, journal".into()),
            }
        }
        "errors" => return Err("behind an error nothing more is written: remount-ro is the only way".into()),
        "uid" | "gid" => return Err("the image says whose files are".into()),
        "fsname" => fuse.source = raw,
        "subtype" => {
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                return Err("letters, digits, - _ and . only".into());
            }
            fuse.subtype = value.to_owned();
        }
        "threads" => fuse.threads = one_to(64, value)?,
        "request" => fuse.request_bytes = usize::try_from(parse_size(value)?).unwrap_or(usize::MAX),
        "entry_timeout" => fuse.valid.entry = seconds(value)?,
        "attr_timeout" => fuse.valid.attributes = seconds(value)?,
        "negative_timeout" => fuse.valid.negative = seconds(value)?,
        "grace" => options.grace = seconds(value)?,
        _ => return Err("no such option".into()),
    }
    Ok(())
}

fn one_to(most: usize, value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|n| (1..=most).contains(n)).ok_or_else(|| format!("1 to {most}"))
}

fn seconds(value: &str) -> Result<Duration, String> {
    let seconds: f64 = value.parse().map_err(|_| "not a number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "not a number of seconds".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<MountOptions, String> {
        let mut options = MountOptions::default();
        parse(OsStr::new(text), &mut options).map(|()| options)
    }

    #[test]
    fn options_of_fstab() {
        let options =
            read("rw,noauto,x-systemd.automount,limit=512k,,offset=1m,data=journal,fsname=a\\,b,threads=3")
                .unwrap();
        assert!(options.is_writable);
        assert_eq!((options.limit, options.offset), (Some(MemoryLimit::Bytes(512 << 10)), Some(1 << 20)));
        assert_eq!((options.data, options.fuse.threads), (DataMode::Journal, 3));
        assert_eq!(options.fuse.source, "a,b");
        assert!(options.fuse.flags.contains(MountFlags::NOSUID | MountFlags::NODEV));
        assert!(!read("rw,ro").unwrap().is_writable, "what comes later counts");
        assert!(!read("suid,dev").unwrap().fuse.flags.intersects(MountFlags::NOSUID | MountFlags::NODEV));
        assert_eq!(read("attr_timeout=0.5").unwrap().fuse.valid.attributes, Duration::from_millis(500));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        for (text, name) in [
            ("rw,frob", "frob"),
            ("frob=1", "frob=1"),
            ("uid=1000", "uid=1000"),
            ("errors=continue", "errors=continue"),
            ("data=none", "data=none"),
            ("threads=0", "threads=0"),
            ("entry_timeout=-1", "entry_timeout=-1"),
        ] {
            let message = read(text).err().unwrap();
            assert!(message.starts_with(&format!("-o {name}: ")), "{message}");
        }
    }
}
