//! Device files, pipes and sockets; the encrypted directory.

use super::{Room, make_directory, write_file};
use crate::tools::{command, exists};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// Major and minor numbers: those of the old encoding, those just beyond it, and the largest of the new.
const NUMBERS: &[(u32, u32)] =
    &[(0, 0), (1, 3), (255, 255), (255, 256), (256, 0), (259, 70_000), (4095, 0xf_ffff)];

/// Pipes, sockets and, for root, devices.
pub fn devices(directory: &Path, room: &Room) {
    make_directory(directory);
    let make = |name: &str, kind: FileType, number: (u32, u32)| {
        let mode = Mode::from_raw_mode(0o640);
        mknodat(CWD, directory.join(name), kind, mode, makedev(number.0, number.1))
            .unwrap_or_else(|e| panic!("making {name}: {e}"));
    };
    make("pipe", FileType::Fifo, (0, 0));
    make("socket", FileType::Socket, (0, 0));
    if !room.root {
        return;
    }
    for &(major, minor) in NUMBERS {
        make(&format!("char-{major}-{minor}"), FileType::CharacterDevice, (major, minor));
        make(&format!("block-{major}-{minor}"), FileType::BlockDevice, (major, minor));
    }
}

/// A directory whose names and contents are encrypted, beside a plain one. Left out where the host has no `e4crypt` or
/// its kernel no keys.
pub fn encrypted(top: &Path, room: &Room) {
    make_directory(&top.join("plain"));
    write_file(&top.join("plain/file"), b"in the clear");
    let secret = top.join("secret");
    make_directory(&secret);
    if !room.mounted || !exists("e4crypt") || !add_key(&secret) {
        return;
    }
    make_directory(&secret.join("inner"));
    write_file(&secret.join("file"), b"under a key");
    write_file(&secret.join("inner/n".to_owned().as_str()), &[7; 5000]);
    rustix::fs::symlink("file", secret.join("link")).expect("an encrypted link");
    for n in 0..200 {
        write_file(&secret.join(format!("name number {n} of an encrypted directory")), b"");
    }
}

fn add_key(directory: &Path) -> bool {
    let mut e4crypt = command("e4crypt");
    e4crypt.args(["add_key", "-S", "0xaabbccdd"]).arg(directory);
    e4crypt.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = e4crypt.spawn() else { return false };
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(b"passphrase\npassphrase\n");
    }
    child.wait().is_ok_and(|status| status.success())
}
