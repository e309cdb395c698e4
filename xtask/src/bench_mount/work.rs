//! One run: an image that is ready, a mount, an ordinary program, the time.
//!
//! Who calls it: `bench_mount`. The mount is not in the time. What writes is done when it is durable: behind a sync of the file system; of
//! fuse2fs no sync is known to reach the image, so its end and a sync of the image are in its time.

use super::mounts::{Mounted, Subject};
use super::{Case, MIB, Outcome, Place};
use crate::bench_write::host::command;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Directories and the files in each of what is created.
const DIRECTORIES: u64 = 20;
const FILES_EACH: u64 = 1000;

impl Place {
    /// One run.
    pub(super) fn run(&self, case: Case, subject: Subject) -> Outcome {
        self.try_run(case, subject).unwrap_or_else(|why| Outcome {
            seconds: 0.0,
            is_ended: false,
            error: Some(why),
        })
    }

    fn try_run(&self, case: Case, subject: Subject) -> Result<Outcome, String> {
        let image = self.image(case)?;
        // The image alone: what others have to write may take for ever, and what is made in memory needs none of it.
        File::open(&image).and_then(|file| file.sync_all()).map_err(|e| e.to_string())?;
        if case == Case::ReadCold {
            // Takes the file out of the host's page cache.
            run(command("dd", &["iflag=nocache", "count=0", "status=none"])
                .arg(format!("if={}", image.display())))?;
        } else {
            run(command("cat", &[]).arg(&image).stdout(Stdio::null()))?;
        }
        let mut mounted = Mounted::new(self, subject, &image, case.writes())?;
        let began = Instant::now();
        let work = self.work(case, mounted.directory());
        let is_ended = work.as_ref().is_err_and(|why| why == TOO_LONG);
        if case.writes() && subject == Subject::Fuse2fs {
            mounted.end(is_ended);
            File::open(&image).and_then(|file| file.sync_all()).map_err(|e| e.to_string())?;
        }
        let seconds = began.elapsed().as_secs_f64();
        mounted.end(is_ended);
        match work {
            Err(why) if !is_ended => return Err(why),
            _ if case.writes() => run(command("e2fsck", &["-fn"]).arg(&image).stdout(Stdio::null()))?,
            _ => {}
        }
        Ok(Outcome { seconds, is_ended, error: None })
    }

    fn image(&self, case: Case) -> Result<PathBuf, String> {
        if let Some(image) = case.image() {
            return Ok(self.images.path(image));
        }
        let image = self.folder.join("image.img");
        let _ = std::fs::remove_file(&image);
        let size = format!("{}m", 2 * self.bytes / MIB);
        run(command(
            "mke2fs",
            &["-q", "-F", "-t", "ext4", "-b", "4096", "-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"],
        )
        .arg(&image)
        .arg(size))?;
        Ok(image)
    }

    fn work(&self, case: Case, directory: &Path) -> Result<(), String> {
        let mib = self.bytes / MIB;
        match case {
            Case::Walk | Case::One => {
                // Everything that stat says.
                let format = "%i %m %n %U %G %s %b %A@ %T@ %C@ %y %l %p\\n";
                self.within(command("find", &[]).arg(directory).args(["-printf", format]))
            }
            Case::Read | Case::ReadCold => {
                let mut dd = command("dd", &["of=/dev/null", "bs=1M", "status=none"]);
                self.within(
                    dd.arg(format!("if={}", directory.join("big").display())).arg(format!("count={mib}")),
                )
            }
            Case::Write => {
                let mut dd = command("dd", &["if=/dev/zero", "bs=1M", "conv=fsync", "status=none"]);
                self.within(
                    dd.arg(format!("of={}", directory.join("new").display())).arg(format!("count={mib}")),
                )?;
                self.within(command("sync", &["-f"]).arg(directory))
            }
            Case::Create => {
                create(directory).map_err(|e| e.to_string())?;
                self.within(command("sync", &["-f"]).arg(directory))
            }
        }
    }

    /// Runs a program, and ends it if it takes too long.
    fn within(&self, command: &mut Command) -> Result<(), String> {
        let began = Instant::now();
        let mut child = command.stdout(Stdio::null()).spawn().map_err(|e| e.to_string())?;
        loop {
            if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
                return if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) };
            }
            if began.elapsed() > self.patience {
                let _ = child.kill();
                return Err(TOO_LONG.to_owned());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

const TOO_LONG: &str = "takes too long";

fn create(directory: &Path) -> std::io::Result<()> {
    for at in 0..DIRECTORIES {
        let directory = directory.join(format!("directory-{at:02}"));
        std::fs::create_dir(&directory)?;
        for file in 0..FILES_EACH {
            File::create(directory.join(format!("file-{file:04}.txt")))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<(), String> {
    let status = command.stdin(Stdio::null()).status().map_err(|e| format!("{command:?}: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}
