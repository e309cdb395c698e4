//! Images with a journal that needs recovery, made by the real mke2fs, the kernel and debugfs.

use rumpcap_ext4::journal::{Geometry, Run};
use rumpcap_host::{Error, Result};
use rumpcap_testing::{loop_mount, skip};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Runs a tool of the host; its standard output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = run_any(program, arguments);
    assert!(output.status.success(), "{program} {arguments:?}: {}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// As [`run`], whatever its exit code.
pub fn run_any(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env("LC_ALL", "C").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = {
        let _no_files_open = no_files_open();
        command.spawn()
    };
    child.and_then(Child::wait_with_output).unwrap_or_else(|e| panic!("{program}: {e}"))
}

/// Held while a process is started, and by tests that have files of a mounted image open. A new process has copies of
/// all open files for a moment; a file that is deleted in it is an orphan, which e2fsck and the kernel clean up.
pub fn no_files_open() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

pub fn path_text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// Whether loop mounts work here: as root on most machines, but not in every container. Else the test is skipped.
pub fn can_mount() -> bool {
    let answer = {
        let _no_files_open = no_files_open();
        loop_mount::available()
    };
    if !answer {
        skip::skip("needs root and loop devices");
    }
    answer
}

/// An image file in a directory of its own.
pub struct Image {
    pub directory: tempfile::TempDir,
    pub path: PathBuf,
    /// Geometry and journal, asked for once: what tests do to an image does not change them.
    layout: OnceLock<(Geometry, Vec<(u32, Run)>)>,
}

impl Image {
    /// Makes a file system: `mke2fs` with `options`, of `size`.
    pub fn new(options: &[&str], size: &str) -> Image {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        let mut arguments = vec!["-q", "-F"];
        arguments.extend(options);
        arguments.extend([path_text(&path), size]);
        run("mke2fs", &arguments);
        Image::at(directory, path)
    }

    /// The image at `path`, with `directory` for what the test needs beside it.
    pub fn at(directory: tempfile::TempDir, path: PathBuf) -> Image {
        Image { directory, path, layout: OnceLock::new() }
    }

    /// A copy beside it.
    pub fn copy(&self, name: &str) -> PathBuf {
        let copy = self.directory.path().join(name);
        run("cp", &["--sparse=always", path_text(&self.path), path_text(&copy)]);
        copy
    }

    /// Takes the image as it is now as the image to test, as if the power had failed. The kernel may be writing blocks
    /// home at this time; a copy counts when nothing changed until it was whole.
    pub fn crash(&self) -> Image {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image");
        for _ in 0..50 {
            run("cp", &["--sparse=always", path_text(&self.path), path_text(&path)]);
            if run_any("cmp", &["--quiet", path_text(&self.path), path_text(&path)]).status.success() {
                return Image::at(directory, path);
            }
        }
        panic!("the image never came to rest");
    }

    /// Sends commands to debugfs, which writes to the image.
    pub fn debugfs(&self, commands: &str) -> String {
        debugfs(&self.path, commands)
    }

    pub fn geometry(&self) -> Geometry {
        self.layout().0
    }

    /// The block map of the journal, as debugfs lists it.
    pub fn journal_map(&self) -> impl FnMut(u32) -> Result<Run> + use<> {
        let runs = self.layout().1.clone();
        move |logical| {
            let inside = |(from, run): &&(u32, Run)| (*from..from + run.len_blocks).contains(&logical);
            let (from, run) = runs.iter().find(inside).ok_or(Error::Corrupt { what: "hole", at: 0 })?;
            let within = logical - from;
            Ok(Run { first_block: run.first_block + u64::from(within), len_blocks: run.len_blocks - within })
        }
    }

    fn layout(&self) -> &(Geometry, Vec<(u32, Run)>) {
        self.layout.get_or_init(|| {
            // It fails after the header where the journal is damaged.
            let header = output_of("dumpe2fs", &["-h", path_text(&self.path)]);
            // Without bitmaps (-c): at the moment of a crash they need not match their checksums.
            let inode = output_of("debugfs", &["-c", "-R", "stat <8>", path_text(&self.path)]);
            (parse_geometry(&header, &inode), parse_runs(&inode))
        })
    }

    /// Byte offset of a block of the journal.
    pub fn journal_byte(&self, logical: u32) -> u64 {
        let run = self.journal_map()(logical).unwrap();
        run.first_block * u64::from(self.geometry().block_size_bytes)
    }
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    String::from_utf8_lossy(&run_any(program, arguments).stdout).into_owned()
}

fn parse_geometry(header: &str, inode: &str) -> Geometry {
    let number = |name: &str| -> u64 {
        let line = header.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split(':').nth(1)).map(str::trim);
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} in {header}"))
    };
    let block_size = number("Block size");
    let size = inode.split("Size: ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let size: u64 = size.and_then(|size| size.parse().ok()).unwrap_or_else(|| panic!("size in {inode}"));
    Geometry {
        block_size_bytes: block_size as u32,
        blocks: number("Block count"),
        journal_blocks: (size / block_size) as u32,
    }
}

fn parse_runs(inode: &str) -> Vec<(u32, Run)> {
    let list = inode.split("EXTENTS:").nth(1).or_else(|| inode.split("BLOCKS:").nth(1));
    let list = list.unwrap_or_else(|| panic!("no block list in {inode}"));
    let runs: Vec<(u32, Run)> = list.split([',', '\n']).filter_map(parse_run).collect();
    assert!(!runs.is_empty(), "{inode}");
    runs
}

/// `(0-11):100-111` or `(12):115`; nothing for indirect and extent blocks.
fn parse_run(text: &str) -> Option<(u32, Run)> {
    let (logical, physical) = text.trim().strip_prefix('(')?.split_once("):")?;
    let first = |range: &str| range.split('-').next().and_then(|n| n.parse::<u64>().ok());
    let last = |range: &str| range.split('-').next_back().and_then(|n| n.parse::<u64>().ok());
    let from = first(logical)?;
    let len_blocks = (last(logical)? - from + 1) as u32;
    Some((from as u32, Run { first_block: first(physical)?, len_blocks }))
}

fn debugfs(image: &Path, commands: &str) -> String {
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(script.path(), commands).unwrap();
    let output = run_any("debugfs", &["-w", "-f", path_text(script.path()), path_text(image)]);
    text(&output)
}

/// An image on a loop device, which takes writes also where the mount is read-only; detached when dropped.
struct Loop {
    device: String,
}

impl Loop {
    fn new(image: &Path) -> Loop {
        Loop { device: run("losetup", &["--find", "--show", path_text(image)]).trim().to_owned() }
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run_any("losetup", &["--detach", &self.device]);
    }
}

/// No commits but those that a test asks for.
const NO_TIMER: &str = "commit=900";

/// An image mounted by the kernel; unmounted when dropped.
pub struct Mounted {
    pub root: PathBuf,
    _device: Loop,
}

impl Mounted {
    /// Mounts, or gives what mount says.
    pub fn try_new(image: &Path, options: &str) -> std::result::Result<Mounted, String> {
        let root = image.with_extension("mount");
        std::fs::create_dir_all(&root).unwrap();
        let device = Loop::new(image);
        let output =
            run_any("mount", &["-o", &format!("{options},{NO_TIMER}"), &device.device, path_text(&root)]);
        if !output.status.success() {
            return Err(text(&output));
        }
        Ok(Mounted { root, _device: device })
    }

    pub fn new(image: &Path, options: &str) -> Mounted {
        Mounted::try_new(image, options).unwrap_or_else(|e| panic!("mount -o {options}: {e}"))
    }

    /// Commits all that was done to the journal, without writing it where it belongs.
    ///
    /// Syncing a file commits the transaction that changed it last, which may be an older one than the running: so the root
    /// is changed first. What is left running could be the second half of a deletion, an orphan to e2fsck.
    pub fn commit(&self) {
        let root = std::fs::File::open(&self.root).unwrap();
        let mode = root.metadata().unwrap().permissions().mode();
        root.set_permissions(Permissions::from_mode(mode ^ 0o004)).unwrap();
        root.sync_all().unwrap();
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        for _ in 0..100 {
            if run_any("umount", &[path_text(&self.root)]).status.success() {
                return;
            }
            // Somebody looks at it right now.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}
