//! Mounting and unmounting: by the system call where that is allowed, else by the helper `fusermount3`.
//!
//! Who calls it: `session`. Source: the protocol between libfuse and its helper: it mounts, and sends the device's descriptor over the
//! socket whose number is in `_FUSE_COMMFD`.

use crate::session::{Failure, Options};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};
use std::ffi::{CString, OsStr, OsString};
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Command, Stdio};

const DEVICE: &str = "/dev/fuse";
const HELPER: &str = "fusermount3";

/// How it was mounted, and so how it is unmounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// By ourselves.
    Call,
    /// By the helper.
    Helper,
}

/// How it is unmounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unmount {
    /// If nobody uses it.
    Idle,
    /// At once for those who come, for those who use it when they are done.
    Lazy,
}

/// Mounts; gives the device to serve.
///
/// # Errors
/// What the host, or its helper, says.
pub(crate) fn mount(directory: &Path, options: &Options) -> Result<(OwnedFd, By), Failure> {
    let device = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Failure::Device { errno })?;
    match mount_by_call(&device, directory, options) {
        Ok(()) => Ok((device, By::Call)),
        Err(Errno::PERM) => {
            drop(device);
            mount_by_helper(directory, options).map(|device| (device, By::Helper))
        }
        Err(errno) => Err(Failure::Mount { errno }),
    }
}

fn mount_by_call(device: &OwnedFd, directory: &Path, options: &Options) -> Result<(), Errno> {
    let mode = rustix::fs::stat(directory)?.st_mode & 0o170_000;
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let mut data = format!(
        "fd={},rootmode={mode:o},user_id={uid},group_id={gid},max_read={}",
        device.as_raw_fd(),
        options.request_bytes
    );
    for (is_set, text) in
        [(options.default_permissions, ",default_permissions"), (options.allow_other, ",allow_other")]
    {
        data.push_str(if is_set { text } else { "" });
    }
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    let kind = format!("fuse.{}", options.subtype);
    rustix::mount::mount(options.source.as_os_str(), directory, kind, options.flags, Some(data.as_c_str()))
}

/// What the helper is told: options of `mount`.
fn helper_options(options: &Options) -> Vec<u8> {
    let mut all = format!("subtype={},max_read={}", options.subtype, options.request_bytes).into_bytes();
    let flags = [
        (MountFlags::RDONLY, "ro"),
        (MountFlags::NOSUID, "nosuid"),
        (MountFlags::NODEV, "nodev"),
        (MountFlags::NOEXEC, "noexec"),
        (MountFlags::NOATIME, "noatime"),
        (MountFlags::SYNCHRONOUS, "sync"),
        (MountFlags::DIRSYNC, "dirsync"),
    ];
    let texts = flags.iter().filter(|(flag, _)| options.flags.contains(*flag)).map(|(_, text)| *text);
    let own = [(options.default_permissions, "default_permissions"), (options.allow_other, "allow_other")];
    for text in texts.chain(own.into_iter().filter_map(|(is_set, text)| is_set.then_some(text))) {
        all.push(b',');
        all.extend(text.as_bytes());
    }
    all.extend(b",fsname=");
    for byte in options.source.as_bytes() {
        if matches!(byte, b',' | b'\\') {
            all.push(b'\\');
        }
        all.push(*byte);
    }
    all
}

fn mount_by_helper(directory: &Path, options: &Options) -> Result<OwnedFd, Failure> {
    let no_socket = |errno| Failure::Device { errno };
    // The helper's end is inherited; there is no other thread yet that could start a program.
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)
            .map_err(no_socket)?;
    rustix::io::fcntl_setfd(&ours, rustix::io::FdFlags::CLOEXEC).map_err(no_socket)?;
    let status = Command::new(HELPER)
        .arg("-o")
        .arg(OsStr::from_bytes(&helper_options(options)))
        .arg("--")
        .arg(directory)
        .env("_FUSE_COMMFD", theirs.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::NoHelper { errno: Errno::from_io_error(&error).unwrap_or(Errno::IO) })?;
    drop(theirs);
    if !status.success() {
        return Err(Failure::Helper);
    }
    receive_descriptor(&ours).ok_or(Failure::Helper)
}

fn receive_descriptor(socket: &OwnedFd) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let mut data = [IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut data, &mut control, flags)).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}

/// Unmounts.
///
/// # Errors
/// `BUSY` while somebody uses it; the host's.
pub(crate) fn unmount_by(directory: &Path, by: By, how: Unmount) -> Result<(), Errno> {
    if by == By::Call {
        let flags = if how == Unmount::Lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
        return rustix::mount::unmount(directory, flags | UnmountFlags::NOFOLLOW);
    }
    let mut command = Command::new(HELPER);
    command.args(["-u", "-q"]);
    if how == Unmount::Lazy {
        command.arg("-z");
    }
    let status = command.arg("--").arg(directory).stdin(Stdio::null()).stderr(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Errno::BUSY),
        Err(_) => Err(Errno::NOENT),
    }
}

/// Unmounts what is mounted at `directory`, an absolute path without links; at once if it is `lazy`, else if nobody uses it.
///
/// # Errors
/// `BUSY` while somebody uses it; the host's.
pub fn unmount(directory: &Path, lazy: bool) -> std::io::Result<()> {
    let how = if lazy { Unmount::Lazy } else { Unmount::Idle };
    match unmount_by(directory, By::Call, how) {
        Err(Errno::PERM) => Ok(unmount_by(directory, By::Helper, how)?),
        result => Ok(result?),
    }
}

/// A mounted file system, as the host lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// The minor number of its device: that of the connection.
    pub(crate) connection: u32,
    kind: Vec<u8>,
    source: Vec<u8>,
}

/// What is mounted at `directory`, the last of several.
pub(crate) fn mounted(directory: &Path) -> Option<Mounted> {
    let table = std::fs::read("/proc/self/mountinfo").ok()?;
    table.split(|byte| *byte == b'\n').filter_map(|line| mounted_at(line, directory)).next_back()
}

/// What a mount by rumpcap at `directory` shows as its source: the image, if nothing else was said; `None` if there is none.
pub fn source_of(directory: &Path) -> Option<OsString> {
    let mounted = mounted(directory).filter(|mounted| mounted.kind.starts_with(b"fuse"))?;
    Some(OsString::from_vec(mounted.source))
}

/// What a line of `mountinfo` says, if it is of `directory`: number, parent, device, root, place, options, any more, `-`, type, source.
fn mounted_at(line: &[u8], directory: &Path) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (device, point) = (fields.nth(2)?, fields.nth(1)?);
    if unescape(point) != directory.as_os_str().as_bytes() {
        return None;
    }
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let (kind, source) = (fields.next()?.to_vec(), unescape(fields.next()?));
    let connection = std::str::from_utf8(device).ok()?.split_once(':')?.1.parse().ok()?;
    Some(Mounted { connection, kind, source })
}

/// A path of `mountinfo`: `\` and three octal digits stand for a byte.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    bytes
}

/// Breaks a connection off: everybody who waits for it gets an error.
///
/// # Errors
/// The host's.
pub(crate) fn abort(connection: u32) -> std::io::Result<()> {
    std::fs::write(format!("/sys/fs/fuse/connections/{connection}/abort"), "1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo_are_read() {
        let line = b"36 35 0:52 / /mnt/a\\040b rw,noatime master:1 - fuse.rumpcap disk.img rw";
        let (kind, source) = (b"fuse.rumpcap".to_vec(), b"disk.img".to_vec());
        assert_eq!(mounted_at(line, Path::new("/mnt/a b")), Some(Mounted { connection: 52, kind, source }));
        assert_eq!(mounted_at(line, Path::new("/mnt/a")), None);
        assert_eq!(mounted_at(b"", Path::new("/")), None);
    }
}
