//! [`Archive`]: writes a tar archive in the pax format, as a stream.
//!
//! Who calls it: `tar`. Whom it calls: the `tar` crate for the fields of a header block; what goes beyond them is put into pax records here.
//!
//! Format: POSIX.1-2017 "pax Interchange Format". A record is written only where the plain header cannot hold a value, so that an archive
//! of plain files is plain. Besides the standard: `SCHILY.xattr.NAME` holds an extended attribute (star, GNU tar, libarchive) and `SCHILY.acl.access`
//! and `SCHILY.acl.default` an access control list, a file with holes is
//! in GNU's sparse format 1.0 (GNU tar manual, "Storing Sparse Files"). Names are written byte by byte, UTF-8 or not, as GNU tar does; it
//! warns of the standard's `hdrcharset`, so that is left out.
//! Names with `..` or a leading `/` are the caller's to refuse.
//! Memory: the records of one member.

pub mod acl;
pub mod read;

use rumpcap::Timestamp;
use std::io::{self, Write};
use tar::{EntryType, Header};

const BLOCK: u64 = 512;
/// What one read of a tape gave; other programs pad to it too.
const RECORD: u64 = 20 * BLOCK;
/// The largest number in eleven octal digits.
const OCTAL_11_MAX: u64 = (1 << 33) - 1;
/// The largest number in seven octal digits.
const OCTAL_7_MAX: u64 = (1 << 21) - 1;
/// Name of the block that holds the pax records; a program that does not know them makes a file of it.
const RECORDS_NAME: &[u8] = b"././@PaxHeaders";

/// What a member is.
pub enum Kind<'a> {
    /// A regular file; its content follows.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, and its target.
    Symlink(&'a [u8]),
    /// Another name of a member that came before, and that one's name.
    HardLink(&'a [u8]),
    /// A character device.
    CharDevice(u32, u32),
    /// A block device.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// A member of an archive.
pub struct Member<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind<'a>,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The owner's name, or nothing.
    pub user: &'a str,
    /// The group's name, or nothing.
    pub group: &'a str,
    /// Last change of the content.
    pub mtime: Timestamp,
    /// Extended attributes.
    pub xattrs: &'a [(Vec<u8>, Vec<u8>)],
}

/// How much content follows a member's header.
pub enum Content {
    /// None.
    None,
    /// So many bytes.
    Plain(u64),
    /// GNU's sparse format: so many bytes of map and data, for a file of so many bytes.
    Sparse {
        /// Bytes that follow.
        stored: u64,
        /// Bytes of the file.
        real: u64,
    },
}

/// Writes an archive.
pub struct Archive<W: Write> {
    out: W,
    written: u64,
}

impl<W: Write> Archive<W> {
    /// An archive on `out`.
    pub fn new(out: W) -> Archive<W> {
        Archive { out, written: 0 }
    }

    /// Writes the header of a member. As many bytes of [`Archive::data`] as `content` says must follow, then
    /// [`Archive::end_member`].
    pub fn member(&mut self, member: &Member<'_>, content: &Content) -> io::Result<()> {
        let mut records = Records::default();
        let mut header = Header::new_ustar();
        let (size, real) = match *content {
            Content::None => (0, None),
            Content::Plain(size) => (size, None),
            Content::Sparse { stored, real } => (stored, Some(real)),
        };
        self.names(member, real, &mut header, &mut records);
        numbers(member, size, &mut header, &mut records);
        for (name, value) in member.xattrs {
            match acl::record(name, value) {
                Some((key, text)) => records.push(key, text.as_bytes()),
                None => records.push(&xattr_key(name), value),
            }
        }
        header.set_cksum();
        if !records.bytes.is_empty() {
            self.records(&records)?;
        }
        self.data(header.as_bytes())
    }

    fn names(&self, member: &Member<'_>, real: Option<u64>, header: &mut Header, records: &mut Records) {
        let link = match member.kind {
            Kind::Symlink(to) | Kind::HardLink(to) => to,
            _ => b"",
        };
        let too_long = |name: &[u8]| name.len() > 100;
        let user_fits = member.user.len() < 32 && member.group.len() < 32;
        if let Some(real) = real {
            records.push(b"GNU.sparse.major", b"1");
            records.push(b"GNU.sparse.minor", b"0");
            records.push(b"GNU.sparse.name", member.name);
            records.push(b"GNU.sparse.realsize", real.to_string().as_bytes());
        } else if too_long(member.name) {
            records.push(b"path", member.name);
        }
        if too_long(link) {
            records.push(b"linkpath", link);
        }
        if !user_fits {
            records.push(b"uname", member.user.as_bytes());
            records.push(b"gname", member.group.as_bytes());
        }
        let fields = header.as_old_mut();
        match real {
            Some(_) => {
                let base = member.name.rsplit(|b| *b == b'/').next().unwrap_or_default();
                put(&mut fields.name, &[b"GNUSparseFile.0/", base].concat());
            }
            None => put(&mut fields.name, member.name),
        }
        put(&mut fields.linkname, link);
        if let (true, Some(fields)) = (user_fits, header.as_ustar_mut()) {
            put(&mut fields.uname, member.user.as_bytes());
            put(&mut fields.gname, member.group.as_bytes());
        }
    }

    /// Writes pax records as a member of their own, before the one that they are of.
    fn records(&mut self, records: &Records) -> io::Result<()> {
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        put(&mut header.as_old_mut().name, RECORDS_NAME);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(records.bytes.len() as u64);
        header.set_cksum();
        self.data(header.as_bytes())?;
        self.data(&records.bytes)?;
        self.end_member()
    }

    /// Writes content.
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Writes so many zeros: for content that could not be read.
    pub fn zeros(&mut self, mut len_bytes: u64) -> io::Result<()> {
        while len_bytes > 0 {
            let n = len_bytes.min(BLOCK);
            self.data(&[0; BLOCK as usize][..n as usize])?;
            len_bytes -= n;
        }
        Ok(())
    }

    /// Pads the content to a whole block.
    pub fn end_member(&mut self) -> io::Result<()> {
        self.zeros(self.written.next_multiple_of(BLOCK) - self.written)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<()> {
        self.zeros(2 * BLOCK)?;
        self.zeros(self.written.next_multiple_of(RECORD) - self.written)?;
        self.out.flush()
    }
}

/// Copies what fits of `bytes` into a header field; the rest of the field stays zero.
fn put(field: &mut [u8], bytes: &[u8]) {
    let n = field.len().min(bytes.len());
    field[..n].copy_from_slice(&bytes[..n]);
}

/// Fills in the numbers; those that do not fit their field become records.
fn numbers(member: &Member<'_>, size: u64, header: &mut Header, records: &mut Records) {
    let (kind, device) = match member.kind {
        Kind::File => (EntryType::Regular, (0, 0)),
        Kind::Directory => (EntryType::Directory, (0, 0)),
        Kind::Symlink(_) => (EntryType::Symlink, (0, 0)),
        Kind::HardLink(_) => (EntryType::Link, (0, 0)),
        Kind::CharDevice(major, minor) => (EntryType::Char, (major, minor)),
        Kind::BlockDevice(major, minor) => (EntryType::Block, (major, minor)),
        Kind::Fifo => (EntryType::Fifo, (0, 0)),
    };
    header.set_entry_type(kind);
    header.set_mode(member.mode & 0o7777);
    let mut fit = |key: &[u8], value: u64, max: u64| {
        if value > max {
            records.push(key, value.to_string().as_bytes());
            return 0;
        }
        value
    };
    header.set_uid(fit(b"uid", member.uid.into(), OCTAL_7_MAX));
    header.set_gid(fit(b"gid", member.gid.into(), OCTAL_7_MAX));
    header.set_size(fit(b"size", size, OCTAL_11_MAX));
    let t = member.mtime;
    match u64::try_from(t.seconds).ok().filter(|s| *s <= OCTAL_11_MAX) {
        Some(seconds) => {
            header.set_mtime(seconds);
            if t.nanoseconds != 0 {
                records.push(b"mtime", decimal_time(t).as_bytes());
            }
        }
        None => {
            header.set_mtime(0);
            records.push(b"mtime", decimal_time(t).as_bytes());
        }
    }
    if let Some(fields) = header.as_ustar_mut() {
        // Twenty bits of minor number fit seven octal digits.
        fields.set_device_major(device.0);
        fields.set_device_minor(device.1);
    }
}

/// Seconds with their fraction, in decimal: -0.5 is half a second before 1970.
fn decimal_time(t: Timestamp) -> String {
    let ns = i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanoseconds);
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    match fraction {
        0 => format!("{sign}{seconds}"),
        _ => format!("{sign}{seconds}.{fraction:09}").trim_end_matches('0').to_owned(),
    }
}

/// `SCHILY.xattr.` and the name; `=` would end a key, so it and `%` are spelled as GNU tar spells them.
fn xattr_key(name: &[u8]) -> Vec<u8> {
    let mut key = b"SCHILY.xattr.".to_vec();
    for &byte in name {
        match byte {
            b'=' => key.extend_from_slice(b"%3D"),
            b'%' => key.extend_from_slice(b"%25"),
            other => key.push(other),
        }
    }
    key
}

/// Pax records: `LENGTH KEY=VALUE\n`, the length counting itself.
#[derive(Default)]
struct Records {
    bytes: Vec<u8>,
}

impl Records {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut len = rest + 1;
        while len != rest + len.to_string().len() {
            len = rest + len.to_string().len();
        }
        self.bytes.extend_from_slice(len.to_string().as_bytes());
        self.bytes.push(b' ');
        self.bytes.extend_from_slice(key);
        self.bytes.push(b'=');
        self.bytes.extend_from_slice(value);
        self.bytes.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn member<'a>(name: &'a [u8], kind: Kind<'a>) -> Member<'a> {
        let mtime = Timestamp { seconds: 1_700_000_000, nanoseconds: 0 };
        Member { name, kind, mode: 0o640, uid: 1000, gid: 1000, user: "me", group: "us", mtime, xattrs: &[] }
    }

    #[test]
    fn record_lengths_count_themselves() {
        for n in [0, 1, 80, 88, 89, 90, 91, 92, 985, 986, 987, 988, 9_980, 9_985] {
            let mut records = Records::default();
            records.push(b"path", &vec![b'x'; n]);
            let text = String::from_utf8(records.bytes).unwrap();
            let (len, _) = text.split_once(' ').unwrap();
            assert_eq!(len.parse::<usize>().unwrap(), text.len());
        }
    }

    #[test]
    fn times_before_1970_and_fractions() {
        let t = |seconds, nanoseconds| decimal_time(Timestamp { seconds, nanoseconds });
        assert_eq!(t(-1, 500_000_000), "-0.5");
        assert_eq!(t(5, 1), "5.000000001");
        assert_eq!(t(1 << 33, 0), "8589934592");
        assert_eq!(t(-2, 0), "-2");
    }

    /// The oracle: the reader of the `tar` crate (which does not know values with a newline; GNU tar reads those in `tests/`).
    #[test]
    fn long_and_broken_names_big_numbers_and_attributes_survive() {
        let long = [vec![b'd'; 200], b"/\xff".to_vec(), vec![b'f'; 90]].concat();
        let xattrs = [(b"user.a=b".to_vec(), b"\0=\xff".to_vec())];
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        let mut m = member(&long, Kind::File);
        m.uid = 0xffff_fffe;
        m.mtime.nanoseconds = 7;
        m.xattrs = &xattrs;
        archive.member(&m, &Content::Plain(3)).unwrap();
        archive.data(b"abc").unwrap();
        archive.end_member().unwrap();
        archive.member(&member(b"link", Kind::Symlink(&long)), &Content::None).unwrap();
        archive.finish().unwrap();
        assert_eq!(bytes.len() % RECORD as usize, 0);

        let mut reader = tar::Archive::new(bytes.as_slice());
        let mut entries = reader.entries().unwrap();
        let mut file = entries.next().unwrap().unwrap();
        assert_eq!(&*file.path_bytes(), long.as_slice());
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        assert_eq!(content, "abc");
        let records: Vec<(Vec<u8>, Vec<u8>)> = file
            .pax_extensions()
            .unwrap()
            .unwrap()
            .map(|r| r.map(|r| (r.key_bytes().to_vec(), r.value_bytes().to_vec())).unwrap())
            .collect();
        assert!(records.contains(&(b"uid".to_vec(), b"4294967294".to_vec())));
        assert!(records.contains(&(b"mtime".to_vec(), b"1700000000.000000007".to_vec())));
        assert!(records.contains(&(b"SCHILY.xattr.user.a%3Db".to_vec(), b"\0=\xff".to_vec())));
        let link = entries.next().unwrap().unwrap();
        assert_eq!(&*link.link_name_bytes().unwrap(), long.as_slice());
        assert!(entries.next().is_none());
    }

    #[test]
    fn a_plain_file_needs_no_records() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes);
        archive.member(&member(b"a/b", Kind::File), &Content::Plain(0)).unwrap();
        archive.end_member().unwrap();
        archive.finish().unwrap();
        assert_eq!(&bytes[..3], b"a/b");
        assert_eq!(bytes[156], b'0');
    }
}
