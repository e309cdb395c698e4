//! Access control lists as `SCHILY.acl.*` records: GNU tar and libarchive read them from there only.
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
        assert!(record(b"system.posix_acl_access", &[2, 0, 0, 0]).is_none());
        assert!(record(b"user.x", &acl).is_none());
        acl.truncate(10);
        assert!(record(b"system.posix_acl_access", &acl).is_none());
    }
}
