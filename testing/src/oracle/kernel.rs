//! The host's kernel as an oracle: mounts the image read-only and reads everything.

use super::description::{Description, Entry, FLAG_ENCRYPTED, Time, join};
use super::digest::{Content, PAGE, PageDigest};
use crate::images::cache::copy_sparse;
use crate::loop_mount::LoopMount;
use rustix::fs::{AtFlags, CWD, SeekFrom, StatxFlags, statx};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Describes `image`. One with a journal to be replayed is copied first, as the replay writes.
///
/// # Errors
/// What `mount` said.
///
/// # Panics
/// When the mounted tree cannot be read.
pub fn describe(image: &Path) -> Result<Description, String> {
    if !needs_recovery(image) {
        return describe_clean(image);
    }
    let directory = tempfile::tempdir().map_err(|e| e.to_string())?;
    let copy = directory.path().join("copy.img");
    copy_sparse(image, &copy);
    // `mount -o ro` makes a read-only loop device, which cannot be replayed into: mount for writing, so that it
    // replays; then look at it read-only.
    drop(LoopMount::new(&copy, "noatime")?);
    describe_clean(&copy)
}

fn describe_clean(image: &Path) -> Result<Description, String> {
    let mount = LoopMount::new(image, "ro,noatime")?;
    Ok(describe_directory(mount.path()))
}

/// Describes what the host shows in a directory, the root of what is mounted there.
///
/// # Panics
/// When it cannot be read.
pub fn describe_directory(top: &Path) -> Description {
    let mut description = Description::default();
    visit(top, b"", &mut description);
    description
}

/// Bit 2 of the incompatible features, in the super block at byte 1024.
fn needs_recovery(image: &Path) -> bool {
    let mut features = [0; 4];
    let file = File::open(image).expect("an image");
    file.read_exact_at(&mut features, 1024 + 0x60).expect("a super block");
    u32::from_le_bytes(features) & 4 != 0
}

fn visit(top: &Path, path: &[u8], description: &mut Description) {
    let full = if path.is_empty() { top.to_path_buf() } else { top.join(OsStr::from_bytes(path)) };
    let entry = entry(&full);
    let descend = entry.mode & 0o170_000 == 0o040_000 && !entry.encrypted;
    description.entries.insert(path.to_vec(), entry);
    if descend {
        let listing = std::fs::read_dir(&full).unwrap_or_else(|e| panic!("listing {}: {e}", full.display()));
        for child in listing {
            let name = child.expect("an entry of a listing").file_name();
            visit(top, &join(path, name.as_bytes()), description);
        }
    }
}

fn entry(path: &Path) -> Entry {
    let asked = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let stat = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, asked)
        .unwrap_or_else(|e| panic!("statx {}: {e}", path.display()));
    let time = |t: rustix::fs::StatxTimestamp| -> Time { (t.tv_sec, t.tv_nsec) };
    let has_creation = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let mut entry = Entry {
        ino: stat.stx_ino,
        mode: stat.stx_mode.into(),
        uid: stat.stx_uid,
        gid: stat.stx_gid,
        size: stat.stx_size,
        nlink: stat.stx_nlink,
        rdev: (stat.stx_rdev_major, stat.stx_rdev_minor),
        blocks: Some(stat.stx_blocks),
        atime: Some(time(stat.stx_atime)),
        mtime: time(stat.stx_mtime),
        ctime: time(stat.stx_ctime),
        crtime: Some(has_creation.then(|| time(stat.stx_btime))),
        ..Entry::default()
    };
    match entry.mode & 0o170_000 {
        0o100_000 => look_into_file(path, &mut entry),
        0o040_000 => look_at_flags(&open(path).expect("a directory"), &mut entry),
        0o120_000 => {
            let target = std::fs::read_link(path).expect("the target of a link");
            entry.target = Some(target.into_os_string().into_vec());
        }
        _ => {}
    }
    if !entry.encrypted {
        entry.xattrs = Some(extended_attributes(path));
    }
    entry
}

fn open(path: &Path) -> Result<File, Errno> {
    File::open(path).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

fn look_into_file(path: &Path, entry: &mut Entry) {
    match open(path) {
        Ok(file) => {
            look_at_flags(&file, entry);
            if !entry.encrypted {
                entry.content = Some(content(&file, entry.size));
            }
        }
        // A file with verity on a kernel without: nothing to compare with.
        Err(Errno::OPNOTSUPP) => {}
        Err(e) => panic!("opening {}: {e}", path.display()),
    }
}

fn look_at_flags(file: &File, entry: &mut Entry) {
    match rustix::fs::ioctl_getflags(file) {
        Ok(flags) => {
            entry.flags = Some(flags.bits());
            entry.encrypted = flags.bits() & FLAG_ENCRYPTED != 0;
        }
        // Behind FUSE a server may not carry it.
        Err(Errno::NOTTY | Errno::NOSYS | Errno::OPNOTSUPP) => {}
        Err(e) => panic!("the flags of a file: {e}"),
    }
}

fn extended_attributes(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let names = xattr::list(path).unwrap_or_else(|e| panic!("xattrs of {}: {e}", path.display()));
    let value = |name: &OsStr| {
        let value = xattr::get(path, name);
        let value = value.unwrap_or_else(|e| panic!("xattr {name:?} of {}: {e}", path.display()));
        value.expect("a listed xattr exists")
    };
    names.map(|name| (name.as_bytes().to_vec(), value(&name))).collect()
}

/// Files up to that size are read whole; of larger ones the holes are skipped.
const READ_WHOLE_BYTES: u64 = 2 << 20;

fn content(file: &File, size: u64) -> Content {
    if size <= READ_WHOLE_BYTES {
        let mut whole = vec![0; size as usize];
        file.read_exact_at(&mut whole, 0).expect("reading a file");
        let mut digest = PageDigest::default();
        digest.add(0, &whole);
        return digest.finish();
    }
    sparse_content(file, size)
}

fn sparse_content(file: &File, size: u64) -> Content {
    let mut digest = PageDigest::default();
    let mut buffer = vec![0; 64 * PAGE];
    // Reading ahead into holes is what takes the time.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::Random);
    // All before `done` has been added: data may begin and end within a page.
    let (mut at, mut done) = (0, 0);
    while at < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(e) => panic!("looking for data at {at}: {e}"),
        };
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data)).expect("every file ends in a hole");
        assert!(hole > data, "data at {data} of no length");
        done = done.max(data - data % PAGE as u64);
        while done < hole.min(size) {
            let len = buffer.len().min((size.min(hole.next_multiple_of(PAGE as u64)) - done) as usize);
            file.read_exact_at(&mut buffer[..len], done).expect("reading data");
            digest.add(done, &buffer[..len]);
            done += len as u64;
        }
        at = hole;
    }
    digest.finish()
}
