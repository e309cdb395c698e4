//! [`Mounted`]: an image mounted by a driver, until it is unmounted, killed or dropped.

use super::command::{Ended, Limits, end_group, end_of, kill, run_within, shown, wait_until};
use super::driver::{Driver, rumpcap};
use crate::tools::{command, output};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A mount or its end that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);
/// A suite that says nothing else.
const SUITE: Duration = Duration::from_secs(120);

/// How to mount.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The kernel may hold written data back (FUSE's writeback cache). The kernel's own ext4 always does.
    pub writeback: bool,
    /// The limit of rumpcap's memory; its own default otherwise.
    pub memory: Option<&'static str>,
    /// Seconds that clients have when rumpcap is asked to end.
    pub grace_seconds: Option<u32>,
}

impl Options {
    /// With FUSE's writeback cache.
    pub fn writeback() -> Options {
        Options { writeback: true, ..Options::default() }
    }

    /// With a limit of memory.
    pub fn memory(limit: &'static str) -> Options {
        Options { memory: Some(limit), ..Options::default() }
    }
}

/// An image that is mounted.
pub struct Mounted {
    driver: Driver,
    directory: tempfile::TempDir,
    server: Option<Server>,
    mounted: bool,
}

struct Server {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Server {
    fn said(&self) -> String {
        let text = std::fs::read(self.log.path()).unwrap_or_default();
        end_of(&String::from_utf8_lossy(&text)).to_owned()
    }
}

impl Mounted {
    /// Mounts `image` for writing by the chosen driver.
    ///
    /// # Errors
    /// What it said.
    pub fn new(image: &Path, options: &Options) -> Result<Mounted, String> {
        Mounted::by(Driver::chosen(), image, options)
    }

    /// Mounts `image` for writing by `driver`.
    ///
    /// # Errors
    /// What it said.
    pub fn by(driver: Driver, image: &Path, options: &Options) -> Result<Mounted, String> {
        let directory =
            tempfile::Builder::new().prefix("rumpcap-mounted-").tempdir().map_err(|e| e.to_string())?;
        let mut mounted = Mounted { driver, directory, server: None, mounted: false };
        let command = command_of(driver, image, mounted.path(), options);
        if driver.is_fuse() {
            mounted.serve(command)?;
        } else {
            let ended = run_within(command, Limits { time: PATIENCE, server: None })?;
            ended.succeeded("mount")?;
        }
        mounted.mounted = true;
        Ok(mounted)
    }

    /// Starts the server in the foreground and waits until its mount is there.
    fn serve(&mut self, mut command: Command) -> Result<(), String> {
        let log = tempfile::NamedTempFile::new().map_err(|e| e.to_string())?;
        let open = || File::options().append(true).open(log.path());
        command.stdout(open().map_err(|e| e.to_string())?).stderr(open().map_err(|e| e.to_string())?);
        let child = command.process_group(0).spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let server = self.server.insert(Server { child, log });
        let end = Instant::now() + PATIENCE;
        while !is_mount_point(self.directory.path()) {
            if let Some(status) = server.child.try_wait().map_err(|e| e.to_string())? {
                return Err(format!("{command:?} ended with {status}: {}", server.said()));
            }
            if Instant::now() > end {
                return Err(format!("{command:?} mounts nothing: {}", server.said()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path in it.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path().join(path)
    }

    /// Who mounted it.
    pub fn driver(&self) -> Driver {
        self.driver
    }

    /// The process that serves it, if one does.
    pub fn server(&self) -> Option<u32> {
        self.server.as_ref().map(|server| server.child.id())
    }

    /// What the server has said.
    pub fn said(&self) -> String {
        self.server.as_ref().map(Server::said).unwrap_or_default()
    }

    /// Runs `command` to its end.
    ///
    /// # Errors
    /// When it does not end in time; the server has been killed then.
    pub fn run_for(&self, time: Duration, command: Command) -> Result<Ended, String> {
        run_within(command, Limits { time, server: self.server() })
            .map_err(|why| format!("{why}\nserver: {}", self.said()))
    }

    /// Runs `command`, which must succeed. Gives what it printed.
    ///
    /// # Errors
    /// When it fails, or takes longer than two minutes.
    pub fn run(&self, command: Command) -> Result<String, String> {
        self.run_long(SUITE, command)
    }

    /// As [`Mounted::run`], for up to `time`.
    ///
    /// # Errors
    /// When it fails or takes longer.
    pub fn run_long(&self, time: Duration, command: Command) -> Result<String, String> {
        let what = shown(&command);
        self.run_for(time, command)?.succeeded(&what).map_err(|why| self.with_log(&why))
    }

    fn with_log(&self, why: &str) -> String {
        match self.said() {
            said if said.is_empty() => why.to_owned(),
            said => format!("{why}\nserver: {said}"),
        }
    }

    /// Anonymous memory of the server, in KiB: now.
    pub fn anonymous_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    /// Kills the server at once and takes the dead mount away.
    ///
    /// # Panics
    /// When no server serves it.
    pub fn kill(mut self) {
        let server = self.server.as_mut().expect("only a server can be killed");
        kill(server.child.id());
        wait_until(&mut server.child, Instant::now() + PATIENCE);
    }

    /// Sends `signal` to the server.
    ///
    /// # Panics
    /// When there is none.
    pub fn signal(&self, signal: Signal) {
        let process = self.server().expect("only a server takes signals");
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a number of a process");
        kill_process(pid, signal).expect("sending a signal");
    }

    /// Unmounts, and waits for the server's end.
    ///
    /// # Errors
    /// When it is busy, hangs, or the server ends with an error.
    pub fn unmount(mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let mut umount = command("umount");
            umount.arg(self.path());
            let ended = run_within(umount, Limits { time: PATIENCE, server: self.server() })?;
            // The host ends what asynchronous requests had open when it comes to it.
            if ended.output.contains("busy") && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(50));
                continue;
            }
            ended.succeeded("umount").map_err(|why| self.with_log(&why))?;
            break;
        }
        self.mounted = false;
        self.wait_for_server()
    }

    /// Waits for the end of a server that was asked for it.
    ///
    /// # Errors
    /// When it stays, or ends with an error.
    pub fn wait_for_end(mut self) -> Result<(), String> {
        self.wait_for_server()
    }

    /// Waits for the server, whose mount has gone.
    ///
    /// # Errors
    /// When it stays, or ends with an error.
    fn wait_for_server(&mut self) -> Result<(), String> {
        let Some(server) = &mut self.server else { return Ok(()) };
        match wait_until(&mut server.child, Instant::now() + PATIENCE) {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("the server ended with {status}: {}", server.said())),
            None => Err(format!("the server stays after the unmount: {}", server.said())),
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            // Before the unmount, which would wait for a server that does not answer.
            end_group(&mut server.child);
        }
        if self.mounted || is_mount_point(self.directory.path()) {
            let result = output(command("umount").arg("-l").arg(self.directory.path()));
            if !result.status.success() {
                eprintln!("cannot unmount {}", self.directory.path().display());
            }
        }
    }
}

fn command_of(driver: Driver, image: &Path, directory: &Path, options: &Options) -> Command {
    match driver {
        Driver::Kernel => {
            let mut mount = command("mount");
            mount.args(["-t", "ext4", "-o", "loop,noatime"]).arg(image).arg(directory);
            mount
        }
        Driver::Fuse2fs => {
            let mut fuse2fs = command("fuse2fs");
            fuse2fs.args(["-f", "-o", "fakeroot,allow_other,default_permissions,use_ino,dev,suid"]);
            fuse2fs.arg(image).arg(directory);
            fuse2fs
        }
        Driver::Rumpcap => {
            let mut rumpcap = rumpcap();
            if let Some(memory) = options.memory {
                rumpcap.args(["--memory-limit", memory]);
            }
            rumpcap.args([
                "mount",
                "--rw",
                "--foreground",
                "--allow-other",
                "-o",
                "default_permissions,dev,suid",
            ]);
            if let Some(grace) = options.grace_seconds {
                rumpcap.args(["--grace", &grace.to_string()]);
            }
            if options.writeback {
                rumpcap.arg("--writeback-cache");
            }
            rumpcap.arg(image).arg(directory).stdin(Stdio::null());
            rumpcap
        }
    }
}

/// Whether something is mounted at `path`, without asking what is mounted there.
fn is_mount_point(path: &Path) -> bool {
    let Some(path) = path.to_str() else { return false };
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(4) == Some(path))
}
