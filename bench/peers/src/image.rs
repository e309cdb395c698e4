//! [`ImageReader`]: reads an image for a peer, and counts.
//!
//! Who calls it: each peer's program, through the trait that its crate asks for. Three ways, so that each peer can have
//! the one that suits it best (`--reader=`): `direct` (one pread for each request, the crates' own way), `cache` (pieces of
//! 64 KiB read once and kept for ever: all the memory that it wants) and `blocks` (the same with pieces of 4 KiB).
//! What is counted is what is read from the image, not what the peer asks a cache for.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

/// How requests reach the image.
#[derive(Clone, Copy)]
enum Way {
    Direct,
    Kept { piece_bytes: u64 },
}

/// An open image; clones share it.
#[derive(Clone)]
pub struct ImageReader {
    shared: Rc<Shared>,
}

struct Shared {
    file: File,
    len_bytes: u64,
    way: Way,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    reads: u64,
    bytes: u64,
    pieces: HashMap<u64, Box<[u8]>, BuildHasherDefault<PieceHasher>>,
}

impl ImageReader {
    /// Opens `image`; `reader` is the value of `--reader`, `direct` when there is none.
    pub fn open(image: &Path, reader: Option<&str>) -> Result<ImageReader, String> {
        let file = File::open(image).map_err(|e| format!("{}: {e}", image.display()))?;
        let len_bytes = file.metadata().map_err(|e| e.to_string())?.len();
        let way = match reader {
            None | Some("direct") => Way::Direct,
            Some("cache") => Way::Kept { piece_bytes: 64 << 10 },
            Some("blocks") => Way::Kept { piece_bytes: 4 << 10 },
            Some(other) => return Err(format!("unknown reader {other}")),
        };
        Ok(ImageReader { shared: Rc::new(Shared { file, len_bytes, way, state: RefCell::default() }) })
    }

    /// Length of the image.
    pub fn len_bytes(&self) -> u64 {
        self.shared.len_bytes
    }

    /// Reads into all of `buf` from `offset`.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        match self.shared.way {
            Way::Direct => self.shared.read(offset, buf),
            Way::Kept { piece_bytes } => self.shared.read_kept(offset, buf, piece_bytes),
        }
    }

    /// Requests to the image, and bytes of them.
    pub fn image_reads(&self) -> Option<(u64, u64)> {
        let state = self.shared.state.borrow();
        Some((state.reads, state.bytes))
    }
}

impl Shared {
    fn read(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        let mut state = self.state.borrow_mut();
        state.reads += 1;
        state.bytes += buf.len() as u64;
        self.file.read_exact_at(buf, offset)
    }

    fn read_kept(&self, mut offset: u64, mut buf: &mut [u8], piece_bytes: u64) -> std::io::Result<()> {
        while !buf.is_empty() {
            let (piece, from) = (offset / piece_bytes, (offset % piece_bytes) as usize);
            let len = buf.len().min(piece_bytes as usize - from);
            let (head, rest) = std::mem::take(&mut buf).split_at_mut(len);
            self.copy_of_piece(piece, piece_bytes, from, head)?;
            offset += len as u64;
            buf = rest;
        }
        Ok(())
    }

    fn copy_of_piece(
        &self,
        piece: u64,
        piece_bytes: u64,
        from: usize,
        head: &mut [u8],
    ) -> std::io::Result<()> {
        let end = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        if let Some(kept) = self.state.borrow().pieces.get(&piece) {
            head.copy_from_slice(kept.get(from..from + head.len()).ok_or_else(end)?);
            return Ok(());
        }
        let start = piece * piece_bytes;
        let mut bytes =
            vec![0; piece_bytes.min(self.len_bytes.saturating_sub(start)) as usize].into_boxed_slice();
        self.read(start, &mut bytes)?;
        head.copy_from_slice(bytes.get(from..from + head.len()).ok_or_else(end)?);
        self.state.borrow_mut().pieces.insert(piece, bytes);
        Ok(())
    }
}

/// One multiplication: a cache should not lose to its own hash.
#[derive(Default)]
struct PieceHasher(u64);

impl Hasher for PieceHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}
