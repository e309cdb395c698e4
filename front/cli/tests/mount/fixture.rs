//! Images, and the command.

use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, is_root, output, run};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Whether root may mount here; says so if not.
pub fn is_possible() -> bool {
    let fuse = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
    if !fuse || !is_root() {
        skip("no /dev/fuse, or no root");
    }
    fuse && is_root()
}

/// A directory with an image and a place to mount it.
pub struct Place {
    pub directory: tempfile::TempDir,
    pub image: PathBuf,
    pub mnt: PathBuf,
}

impl Place {
    pub fn new(options: &[&str]) -> Place {
        let directory = tempfile::tempdir().unwrap();
        let (image, mnt) = (directory.path().join("disk.img"), directory.path().join("mnt"));
        fs::create_dir(&mnt).unwrap();
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        run(command("mke2fs").args(["-q", "-F"]).args(options).arg(&image));
        Place { directory, image, mnt }
    }

    /// `rumpcap mount`, with `options` in front of the image.
    pub fn mount(&self, options: &[&str]) -> Output {
        output(rumpcap().arg("mount").args(options).arg(&self.image).arg(&self.mnt))
    }

    pub fn umount(&self) {
        run(rumpcap().arg("umount").arg(&self.mnt));
    }

    pub fn check(&self) {
        let result = output(command("e2fsck").args(["-f", "-n"]).arg(&self.image));
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stdout));
    }

    /// The process that serves it.
    pub fn server(&self) -> Option<i32> {
        let is_it = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let image = self.image.as_os_str().as_encoded_bytes();
            line.windows(image.len().max(1)).any(|part| part == image)
                && fs::read_link(format!("/proc/{pid}/exe"))
                    .is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_rumpcap")))
        };
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(|pid| is_it(*pid))
    }

    /// Waits until nobody serves it any more.
    pub fn wait_for_end(&self) {
        while self.server().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = command("umount").arg("-l").arg(&self.mnt).stderr(std::process::Stdio::null()).status();
    }
}

/// The command.
pub fn rumpcap() -> Command {
    named(env!("CARGO_BIN_EXE_rumpcap"))
}

/// The command by another name.
pub fn named(name: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env("LC_ALL", "C").env_remove("RUMPCAP_MEMLIMIT").env_remove("SOURCE_DATE_EPOCH");
    command.stdin(std::process::Stdio::null());
    command
}

/// Exit code and messages.
pub fn end_of(output: &Output) -> (i32, String) {
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}
