//! What the runs need of the host: programs, quiet disks, counters, a child's memory.
//!
//! Who calls it: `place`, `runs`; `bench_mount`.

use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// Time for a program to be ready, or gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the host may still have to write when a run begins: little against what any of them writes.
const QUIET_BYTES: u64 = 16 << 20;

/// What becomes no less for so long will not soon.
const STILL: Duration = Duration::from_secs(2);

/// Time between two looks at a child's memory.
const SAMPLE_PERIOD: Duration = Duration::from_millis(2);

/// `program` with `arguments`, found where the system has it.
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// Waits until `done`; false if it takes too long.
pub(crate) fn wait_until(done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Has the host write what it still has to write: what one run leaves behind is not the next one's time. The file system of `folder` is synced;
/// then it is waited until little is left in all, or it becomes less no more: somebody else writes.
pub(super) fn become_quiet(folder: &Path) {
    let _ = command("sync", &["-f"]).arg(folder).status();
    let mut least = u64::MAX;
    let mut fell = Instant::now();
    while fell.elapsed() < STILL {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = |name| field(text.as_str(), name).unwrap_or(0);
        let left = (kib("Dirty:") + kib("Writeback:")) * 1024;
        if left <= QUIET_BYTES {
            return;
        }
        if left < least {
            (least, fell) = (left, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    eprintln!("the host has {} MiB to write that become no fewer", least >> 20);
}

/// Reads all of a tree, so that nobody is the first who does.
pub(crate) fn warm(tree: &Path) {
    // To a file, tar would only look at names.
    let read = "tar --one-file-system -cf - \"$0\" 2> /dev/null | cat > /dev/null";
    let _ = command("sh", &["-c", read]).arg(tree).status();
}

/// Runs a child to its end; gives the most anonymous memory that it had.
pub(crate) fn observe(mut child: Child) -> std::io::Result<(ExitStatus, u64)> {
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status, most * 1024));
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let kib = |name| field(text.as_str(), name).unwrap_or(0);
        most = most.max(kib("RssAnon:") + kib("RssShmem:"));
        std::thread::sleep(SAMPLE_PERIOD);
    }
}

/// Whether something is mounted there.
pub(crate) fn is_mounted(place: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == place.to_str())
}

/// Sectors of 512 bytes that were written to a block device.
pub(crate) fn sectors_written(device: &str) -> Option<u64> {
    let name = device.rsplit('/').next()?;
    let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).ok()?;
    stat.split_whitespace().nth(6)?.parse().ok()
}

/// Bytes that children of this process which have ended asked to be written.
pub(crate) fn written_by_children() -> Option<u64> {
    field(&std::fs::read_to_string("/proc/self/io").ok()?, "wchar:")
}

/// A number of a file of /proc, whatever its unit.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}
