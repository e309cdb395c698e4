//! [`Records`]: the pax records of a member that mean something here; the others are passed over.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use rumpcap::Timestamp;

/// What records say.
#[derive(Clone, Default)]
pub struct Records {
    /// `path`, or `GNU.sparse.name`.
    pub path: Option<Vec<u8>>,
    /// `linkpath`.
    pub linkpath: Option<Vec<u8>>,
    /// `size`.
    pub size: Option<u64>,
    /// `uid`.
    pub uid: Option<u64>,
    /// `gid`.
    pub gid: Option<u64>,
    /// `mtime`.
    pub mtime: Option<Timestamp>,
    /// `atime`.
    pub atime: Option<Timestamp>,
    /// `SCHILY.xattr.*`, by their names.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// `SCHILY.acl.access` and `SCHILY.acl.default`.
    pub acls: [Option<Vec<u8>>; 2],
    /// `GNU.sparse.*`.
    pub sparse: Option<Sparse>,
}

/// What records say of a file with holes.
#[derive(Clone, Default)]
pub struct Sparse {
    /// Whether the map is in front of the data: format 1.0.
    pub is_in_content: bool,
    /// Bytes of the file.
    pub real: Option<u64>,
    /// Offsets and lengths in turn: formats 0.0 and 0.1.
    pub numbers: Vec<u64>,
}

impl Records {
    /// Reads `LENGTH KEY=VALUE\n` and so on; `None` if it is none.
    pub fn read(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let space = bytes.iter().position(|byte| *byte == b' ')?;
            let len = usize::try_from(number(bytes.get(..space)?)?).ok()?;
            let record = bytes.get(space.checked_add(1)?..len)?.strip_suffix(b"\n")?;
            let equals = record.iter().position(|byte| *byte == b'=')?;
            self.record(record.get(..equals)?, record.get(equals.checked_add(1)?..)?)?;
            bytes = bytes.get(len..)?;
        }
        Some(())
    }

    fn record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"path" | b"GNU.sparse.name" => self.path = Some(value.to_vec()),
            b"linkpath" => self.linkpath = Some(value.to_vec()),
            b"size" => self.size = Some(number(value)?),
            b"uid" => self.uid = Some(number(value)?),
            b"gid" => self.gid = Some(number(value)?),
            b"mtime" => self.mtime = Some(time(value)?),
            b"atime" => self.atime = Some(time(value)?),
            b"SCHILY.acl.access" => self.acls = [Some(value.to_vec()), self.acls[1].take()],
            b"SCHILY.acl.default" => self.acls = [self.acls[0].take(), Some(value.to_vec())],
            b"RHT.security.selinux" => self.xattr(b"security.selinux".to_vec(), value),
            _ => match (key.strip_prefix(b"SCHILY.xattr."), key.strip_prefix(b"GNU.sparse.")) {
                (Some(name), _) => self.xattr(unescape(name), value),
                (_, Some(key)) => self.sparse_record(key, value)?,
                _ => {}
            },
        }
        Some(())
    }

    fn xattr(&mut self, name: Vec<u8>, value: &[u8]) {
        self.xattrs.retain(|(known, _)| *known != name);
        self.xattrs.push((name, value.to_vec()));
    }

    fn sparse_record(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let sparse = self.sparse.get_or_insert_default();
        match key {
            b"major" => sparse.is_in_content = number(value)? >= 1,
            b"realsize" | b"size" => sparse.real = Some(number(value)?),
            b"offset" | b"numbytes" => sparse.numbers.push(number(value)?),
            b"map" => {
                sparse.numbers = value.split(|byte| *byte == b',').map(number).collect::<Option<_>>()?;
            }
            _ => {}
        }
        Some(())
    }
}

/// A whole number in decimal.
pub fn number(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if is_number { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// Seconds in decimal, with a fraction: -0.5 is half a second before 1970.
pub fn time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = i64::try_from(number(whole.as_bytes())?).ok()?;
    let nanoseconds: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(match (is_negative, nanoseconds) {
        (false, _) => Timestamp { seconds, nanoseconds },
        (true, 0) => Timestamp { seconds: seconds.checked_neg()?, nanoseconds },
        (true, _) => Timestamp {
            seconds: seconds.checked_neg()?.checked_sub(1)?,
            nanoseconds: 1_000_000_000u32.checked_sub(nanoseconds)?,
        },
    })
}

/// `%3D` and `%25` are what GNU tar writes for `=` and `%`.
fn unescape(name: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), name);
    while let Some((&byte, tail)) = rest.split_first() {
        let (taken, after) = match (rest.strip_prefix(b"%3D"), rest.strip_prefix(b"%25")) {
            (Some(after), _) => (b'=', after),
            (_, Some(after)) => (b'%', after),
            _ => (byte, tail),
        };
        out.push(taken);
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_with_fractions_and_before_1970() {
        let t = |text: &str| time(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(t("5"), Some((5, 0)));
        assert_eq!(t("5.000000001"), Some((5, 1)));
        assert_eq!(t("5.1234567899"), Some((5, 123_456_789)));
        assert_eq!(t("-0.5"), Some((-1, 500_000_000)));
        assert_eq!(t("-2"), Some((-2, 0)));
        for bad in ["", "x", "1.x", "--1", "1.-5", "99999999999999999999"] {
            assert_eq!(t(bad), None, "{bad}");
        }
    }

    #[test]
    fn values_may_hold_anything() {
        let mut records = Records::default();
        records.read(b"31 SCHILY.xattr.user.a%3Db=\n\0=\n9 gid=70\n").unwrap();
        assert_eq!(records.xattrs, [(b"user.a=b".to_vec(), b"\n\0=".to_vec())]);
        assert_eq!(records.gid, Some(70));
        for bad in [&b"9 gid=70"[..], b"99 gid=70\n", b"3 a\n", b"x", b"0 a=b\n", b"9 gid=7x\n"] {
            assert!(Records::default().read(bad).is_none(), "{}", bad.escape_ascii());
        }
    }
}
