//! The command under another name: what mount(8) calls for an entry of fstab.
//!
//! Who calls it: `main`. `mount -t rumpcap IMAGE DIRECTORY -o …` runs `/sbin/mount.rumpcap IMAGE DIRECTORY [-sfnv] -o …`; `mount -t fuse.rumpcap`
//! runs `/sbin/mount.fuse.rumpcap`, or if there is none `mount.fuse`, which runs `rumpcap IMAGE DIRECTORY -o …` by the subtype's name.
//! Links of these names to the command make it the helper.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The names that mount(8) knows.
const NAMES: [&str; 2] = ["mount.rumpcap", "mount.fuse.rumpcap"];

/// The command line as `rumpcap mount` has it, if it is one of mount(8)'s; else unchanged.
pub fn command_line(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let args: Vec<OsString> = args.collect();
    let name = args.first().and_then(|name| Path::new(name).file_name()).and_then(OsStr::to_str);
    if name.is_some_and(|name| NAMES.contains(&name)) {
        return translated(&args[0], args.get(1..).unwrap_or_default());
    }
    // By `mount.fuse`: an image that exists, a directory, and options. No command is called as a file with a slash.
    let is_by_subtype = |args: &[OsString]| {
        args.get(3).is_some_and(|o| o == "-o")
            && args[1].as_bytes().first() == Some(&b'/')
            && args[2].as_bytes().first() == Some(&b'/')
    };
    if args.len() == 5 && is_by_subtype(&args) {
        return translated(&args[0], &args[1..]);
    }
    args
}

/// mount(8)'s own flags are for its table, and its test runs.
fn translated(name: &OsStr, args: &[OsString]) -> Vec<OsString> {
    let mut line = vec![name.to_owned(), "mount".into()];
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_bytes() {
            // A type is known by the name, a namespace is for mount(8).
            b"-t" | b"-N" => drop(args.next()),
            b"-o" => line.extend([Some(arg), args.next()].into_iter().flatten().cloned()),
            [b'-', flags @ ..] if !flags.is_empty() && flags.iter().all(|flag| b"sfnv".contains(flag)) => {
                let verbose = flags.contains(&b'v').then(|| "-v".into());
                let fake = flags.contains(&b'f').then(|| "--fake".into());
                line.extend([verbose, fake].into_iter().flatten());
            }
            _ => line.push(arg.clone()),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let words = command_line(text.split(' ').map(OsString::from));
        words.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_mount_calls_is_a_mount() {
        assert_eq!(
            line("/sbin/mount.rumpcap a.img /mnt -o rw,noauto"),
            "/sbin/mount.rumpcap mount a.img /mnt -o rw,noauto"
        );
        assert_eq!(
            line("mount.fuse.rumpcap a.img /mnt -sn -v -t x -o rw"),
            "mount.fuse.rumpcap mount a.img /mnt -v -o rw"
        );
        assert_eq!(line("mount.rumpcap a.img /mnt -fn"), "mount.rumpcap mount a.img /mnt --fake");
        assert_eq!(line("rumpcap /a.img /mnt -o rw"), "rumpcap mount /a.img /mnt -o rw");
        assert_eq!(line("rumpcap ls -l a.img"), "rumpcap ls -l a.img");
    }
}
