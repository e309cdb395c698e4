//! JSON output: arrays that are written as they are found, and names that lose nothing.
//!
//! A JSON string is Unicode, a name is bytes. A name that is valid UTF-8 is given as it is. For any other, `path` (or `name`,
//! `target`) holds it with U+FFFD for what is broken, and `path_hex` beside it holds all its bytes in hexadecimal. The `_hex` field is
//! there only when it is needed, so: if `_hex` is there use it, else the string is exact.
//!
//! Who calls it: `ls`, `find`, `stat`, `du`, `info`. Memory: one entry.

use crate::outcome::Run;
use rumpcap::{FileKind, Metadata, Timestamp};
use serde_json::{Map, Value, json};
use std::io::Write;

/// Puts the name `bytes` into `object` under `key`.
pub fn insert_name(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(exact) => {
            object.insert(key.into(), exact.into());
        }
        Err(_) => {
            object.insert(key.into(), String::from_utf8_lossy(bytes).into());
            object.insert(format!("{key}_hex"), hex(bytes).into());
        }
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).map(|n| char::from(DIGITS[usize::from(n)])).collect()
}

/// The word for a kind of file, as `stat` and `find --json` give it.
pub fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::CharDevice => "char_device",
        FileKind::BlockDevice => "block_device",
        FileKind::Fifo => "fifo",
        FileKind::Socket => "socket",
        FileKind::Unknown => "unknown",
    }
}

/// A time: seconds and nanoseconds, so that nothing is rounded.
pub fn time(t: Timestamp) -> Value {
    json!({ "sec": t.seconds, "nsec": t.nanoseconds })
}

/// The attributes of a file as an object.
pub fn attributes(m: &Metadata) -> Map<String, Value> {
    let mut o = Map::new();
    o.insert("type".into(), kind_word(m.file_type().kind()).into());
    o.insert("mode".into(), format!("{:04o}", m.mode() & 0o7777).into());
    o.insert("ino".into(), m.ino().into());
    o.insert("nlink".into(), m.nlink().into());
    o.insert("uid".into(), m.uid().into());
    o.insert("gid".into(), m.gid().into());
    o.insert("size".into(), m.len().into());
    o.insert("blocks_512".into(), m.blocks().into());
    if matches!(m.file_type().kind(), FileKind::CharDevice | FileKind::BlockDevice) {
        let (major, minor) = m.rdev();
        o.insert("rdev".into(), json!([major, minor]));
    }
    o.insert("atime".into(), time(m.accessed()));
    o.insert("mtime".into(), time(m.modified()));
    o.insert("ctime".into(), time(m.changed()));
    if let Some(t) = m.created() {
        o.insert("crtime".into(), time(t));
    }
    o
}

/// An array that is written element by element.
#[derive(Default)]
pub struct Array {
    begun: bool,
}

impl Array {
    /// Writes one element.
    pub fn push(&mut self, out: &mut dyn Write, element: Map<String, Value>) -> Run {
        out.write_all(if self.begun { b",\n  " } else { b"[\n  " })?;
        self.begun = true;
        serde_json::to_writer(&mut *out, &Value::Object(element))?;
        Ok(())
    }

    /// Ends the array.
    pub fn end(self, out: &mut dyn Write) -> Run {
        out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_utf8_lose_nothing() {
        let mut o = Map::new();
        insert_name(&mut o, "path", b"/a\xff");
        insert_name(&mut o, "name", "caf\u{e9}\n".as_bytes());
        let text = serde_json::to_string(&o).unwrap();
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["path_hex"], "2f61ff");
        assert_eq!(back["name"], "caf\u{e9}\n");
        assert!(back.get("name_hex").is_none());
    }

    #[test]
    fn arrays_are_json_with_any_number_of_elements() {
        for n in 0..3 {
            let mut out = Vec::new();
            let mut array = Array::default();
            for i in 0..n {
                let mut o = Map::new();
                o.insert("i".into(), i.into());
                array.push(&mut out, o).unwrap();
            }
            array.end(&mut out).unwrap();
            let back: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!(back.as_array().unwrap().len(), n);
        }
    }
}
