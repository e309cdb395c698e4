//! Access control lists as `SCHILY.acl.*` records: GNU tar and libarchive read them from there only, and write them there.
//!
//! From the binary form of the attribute (Linux `posix_acl_xattr.h`: version 2, then tag, permissions and id of each entry, little-endian)
//! to the short text form of POSIX.1e with numeric ids.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

/// Key and value of the record for attribute `name`, if it is a list that can be read; otherwise it stays an attribute.
pub fn record(name: &[u8], value: &[u8]) -> Option<(&'static [u8], String)> {
    let key: &[u8] = match name {
        b"system.posix_acl_access" => b"SCHILY.acl.access",
        b"system.posix_acl_default" => b"SCHILY.acl.default",
        _ => return None,
    };
    let entries = value.strip_prefix(&[2, 0, 0, 0])?.chunks(8);
    let texts: Option<Vec<String>> = entries.map(entry).collect();
    Some((key, texts.filter(|t| !t.is_empty())?.join(",")))
}

fn entry(bytes: &[u8]) -> Option<String> {
    let bytes: [u8; 8] = bytes.try_into().ok()?;
    let [tag, _, permissions, _, id @ ..] = bytes;
    let who = match tag {
        0x01 => "user:".to_owned(),
        0x02 => format!("user:{}", u32::from_le_bytes(id)),
        0x04 => "group:".to_owned(),
        0x08 => format!("group:{}", u32::from_le_bytes(id)),
        0x10 => "mask:".to_owned(),
        0x20 => "other:".to_owned(),
        _ => return None,
    };
    let bit = |mask: u8, letter| if permissions & mask != 0 { letter } else { '-' };
    Some(format!("{who}:{}{}{}", bit(4, 'r'), bit(2, 'w'), bit(1, 'x')))
}

/// The binary form of a list in text form, short or long. An entry may have a number behind it, which then counts, as star writes it; a name
/// is looked up by `number`, which gets the entry's kind. `None` if it is none.
pub fn parse(text: &[u8], number: &dyn Fn(Who, &str) -> Option<u32>) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut entries = Vec::new();
    for entry in text.split([',', '\n']).map(|entry| entry.split('#').next().unwrap_or_default().trim()) {
        if !entry.is_empty() {
            entries.push(parse_entry(entry, number)?);
        }
    }
    // The kernel wants them in this order.
    entries.sort_unstable();
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, id, permissions) in entries {
        bytes.extend([tag, 0, permissions, 0]);
        bytes.extend(id.to_le_bytes());
    }
    Some(bytes)
}

/// Whose name stands in an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// A user's.
    User,
    /// A group's.
    Group,
}

/// Tag, id and permissions.
fn parse_entry(text: &str, number: &dyn Fn(Who, &str) -> Option<u32>) -> Option<(u8, u32, u8)> {
    let mut fields = text.split(':').map(str::trim);
    let (kind, mut name, mut permissions) = (fields.next()?, fields.next()?, fields.next());
    // `mask:rwx` and `other:rwx` are also written with one colon.
    if permissions.is_none() && matches!(kind, "mask" | "m" | "other" | "o") {
        (permissions, name) = (Some(name), "");
    }
    let permissions = permissions?.chars().try_fold(0u8, |bits, c| {
        Some(
            bits | match c {
                'r' => 4,
                'w' => 2,
                'x' => 1,
                '-' => 0,
                _ => return None,
            },
        )
    })?;
    let written = fields.next().and_then(|id| id.parse().ok()).or_else(|| name.parse().ok());
    let id = |who| written.or_else(|| number(who, name));
    let (tag, id) = match (kind, name) {
        ("user" | "u", "") => (0x01, u32::MAX),
        ("user" | "u", _) => (0x02, id(Who::User)?),
        ("group" | "g", "") => (0x04, u32::MAX),
        ("group" | "g", _) => (0x08, id(Who::Group)?),
        ("mask" | "m", "") => (0x10, u32::MAX),
        ("other" | "o", "") => (0x20, u32::MAX),
        _ => return None,
    };
    Some((tag, id, permissions))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_becomes_text_and_a_broken_one_stays() {
        let mut acl = vec![2, 0, 0, 0];
        for (tag, permissions, id) in
            [(1, 6, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 0, u32::MAX)]
        {
            acl.extend([tag, 0, permissions, 0]);
            acl.extend(u32::to_le_bytes(id));
        }
        let (key, text) = record(b"system.posix_acl_access", &acl).unwrap();
        assert_eq!(key, b"SCHILY.acl.access");
        assert_eq!(text, "user::rw-,user:1000:r--,group::r--,mask::rw-,other::---");
        let none = |_, _: &str| None;
        assert_eq!(parse(text.as_bytes(), &none), Some(acl.clone()));
        let long = "user::rw-\ngroup::r--\t#effective:r--\nuser:alice:r--\nmask:rw-\nother::---\n";
        assert_eq!(parse(long.as_bytes(), &none), None);
        let alice = |who, name: &str| (who == Who::User && name == "alice").then_some(1000);
        assert_eq!(parse(long.as_bytes(), &alice), Some(acl.clone()));
        assert_eq!(
            parse(b"user::rw-,user:alice:r--:1000,group::r--,mask::rw-,other::---", &none),
            Some(acl.clone())
        );
        for bad in [&b"user"[..], b"user::q", b"who::r", b"mask:x:r", b"\xff"] {
            assert_eq!(parse(bad, &none), None);
        }
        assert!(record(b"system.posix_acl_access", &[2, 0, 0, 0]).is_none());
        assert!(record(b"user.x", &acl).is_none());
        acl.truncate(10);
        assert!(record(b"system.posix_acl_access", &acl).is_none());
    }
}
