//! Images made by the real tools, and what the real tools say of them: the oracle of this crate's tests.
//!
//! Every integration test of the crate includes it; none uses all of it.
#![allow(dead_code)]

use rumpcap_block::{BlockDevice, FileDevice};
use rumpcap_ext4::{Ext4, MAX_PINS, Options};
use rumpcap_host::Result;
use rumpcap_testing::skip::skip;
use rumpcap_vfs::{Extent, FileSystem, InodeNo, Node};
use rumpcap_vm::{BootOptions, Reservation, Vm};
use std::collections::BTreeMap;
use std::io::{IoSliceMut, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// Whether mke2fs and debugfs are there; says so if not.
pub fn have_tools() -> bool {
    let there = |tool: &str| Command::new(tool).arg("-V").output().is_ok();
    let all = there("mke2fs") && there("debugfs") && there("dumpe2fs");
    if !all {
        skip("e2fsprogs (mke2fs, debugfs, dumpe2fs) is not installed");
    }
    all
}

/// The smallest limit that the product promises: all of these tests run in it.
const LIMIT_BYTES: u64 = 256 << 10;

/// An image in a directory of its own.
pub struct Image {
    directory: TempDir,
}

impl Image {
    /// A file system of `size` (as mke2fs takes it), made with `arguments`, filled from `tree`.
    pub fn make(arguments: &[&str], size: &str, tree: Option<&Path>) -> Image {
        let image = Image { directory: TempDir::new().expect("a temporary directory") };
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-F", "-E", "root_owner=0:0"]).args(arguments);
        if let Some(tree) = tree {
            mke2fs.arg("-d").arg(tree);
        }
        let output = mke2fs.arg(image.path()).arg(size).output().expect("mke2fs runs");
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "mke2fs {arguments:?}: {messages}");
        image
    }

    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Runs commands of debugfs, with writing allowed, and gives what it prints.
    pub fn debugfs(&self, commands: &[String]) -> String {
        self.run_debugfs(&["-w"], commands)
    }

    fn run_debugfs(&self, arguments: &[&str], commands: &[String]) -> String {
        let mut child = Command::new("debugfs")
            .args(arguments)
            .args(["-f", "/dev/stdin"])
            .arg(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("debugfs runs");
        let mut stdin = child.stdin.take().expect("it was piped");
        let script = commands.join("\n") + "\n";
        let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
        let output = child.wait_with_output().expect("debugfs ends");
        writer.join().expect("the writer does not panic").expect("debugfs reads its commands");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What debugfs says of each of `paths`.
    pub fn stat(&self, paths: &[String]) -> BTreeMap<String, Stat> {
        let commands: Vec<_> = paths.iter().map(|path| format!("stat {path}")).collect();
        let output = self.run_debugfs(&[], &commands);
        let parts: Vec<&str> = output.split("debugfs: stat ").skip(1).collect();
        assert_eq!(parts.len(), paths.len(), "{output}");
        parts.iter().zip(paths).map(|(part, path)| (path.clone(), Stat::parse(part))).collect()
    }

    /// Overwrites bytes.
    pub fn patch(&self, offset: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new().write(true).open(self.path()).expect("the image opens");
        file.write_all_at(bytes, offset).expect("the image can be written");
    }

    /// Reads bytes.
    pub fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; len];
        let file = std::fs::File::open(self.path()).expect("the image opens");
        file.read_exact_at(&mut bytes, offset).expect("the image is that long");
        bytes
    }

    /// Mounts it.
    pub fn try_mount(&self, options: &Options) -> Result<Mounted> {
        mount_path(&self.path(), options)
    }

    /// Mounts it; it must succeed.
    pub fn mount(&self) -> Mounted {
        self.try_mount(&Options::default()).expect("the image mounts")
    }
}

/// Mounts the image at `path`.
pub fn mount_path(path: &Path, options: &Options) -> Result<Mounted> {
    let device: Arc<dyn BlockDevice> = Arc::new(FileDevice::open(path)?);
    let vm = Vm::boot(BootOptions { limit_bytes: Some(LIMIT_BYTES), ..BootOptions::default() })?;
    let fs = Ext4::mount(&vm, device, options)?;
    // That of the file system is the overlay where a journal was replayed.
    let device = Arc::clone(fs.device().device());
    Ok(Mounted { vm, device, fs })
}

/// A mounted image.
pub struct Mounted {
    /// The kernel's memory.
    pub vm: Arc<Vm>,
    /// The device.
    pub device: Arc<dyn BlockDevice>,
    /// The file system.
    pub fs: Ext4,
}

impl Mounted {
    /// A reservation of as much as the file system says that it needs.
    pub fn reserve(&self) -> Reservation<'_> {
        self.vm.reserve(MAX_PINS)
    }

    /// The node of inode `ino`.
    pub fn node(&self, ino: u64) -> Result<Node> {
        self.fs.read_node(&self.reserve(), InodeNo(ino), 0)
    }

    /// Up to `len` bytes of the content of `node` from `offset` on, through `map` as the vfs does it.
    pub fn read(&self, node: &Node, offset: u64, len: usize) -> Result<Vec<u8>> {
        let left = usize::try_from(node.attributes.size_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut content = vec![0; left.min(len)];
        let mut done = 0;
        while done < content.len() {
            let at = offset + done as u64;
            let rest = &mut content[done..];
            done += match self.fs.map(&self.reserve(), node, at)? {
                Extent::Device { offset, len_bytes } => {
                    let len = rest.len().min(usize::try_from(len_bytes).unwrap_or(usize::MAX));
                    assert!(len > 0, "an empty extent at {at}");
                    self.device.read_at(offset, &mut [IoSliceMut::new(&mut rest[..len])])?;
                    len
                }
                Extent::Hole { len_bytes } => {
                    assert!(len_bytes > 0, "an empty hole at {at}");
                    rest.len().min(usize::try_from(len_bytes).unwrap_or(usize::MAX))
                }
                Extent::Inline => self.fs.read_inline(&self.reserve(), node, at, rest)?,
            };
        }
        Ok(content)
    }

    /// The whole content of `node`.
    pub fn content(&self, node: &Node) -> Result<Vec<u8>> {
        self.read(node, 0, usize::MAX)
    }

    /// The target of symbolic link `node`.
    pub fn link(&self, node: &Node) -> Result<Vec<u8>> {
        let mut target = vec![0; 65_536];
        let len = self.fs.read_link(&self.reserve(), node, &mut target)?;
        target.truncate(len);
        Ok(target)
    }
}

/// What debugfs's `stat` prints, as far as it is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Inode number.
    pub ino: u64,
    /// Permission bits.
    pub mode: u32,
    /// Flags.
    pub flags: u32,
    /// Generation.
    pub generation: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Project.
    pub project: u32,
    /// Length.
    pub size: u64,
    /// Links.
    pub links: u32,
    /// Block count, in the unit that the inode uses.
    pub blocks: u64,
    /// Times by name: seconds as stored and the extra word.
    pub times: BTreeMap<String, (u32, u32)>,
}

impl Stat {
    fn parse(text: &str) -> Stat {
        let words: Vec<&str> = text.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name);
            at.and_then(|at| words.get(at + 1)).copied().unwrap_or("0")
        };
        let hex = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).expect("a hex number");
        let number = |name: &str| after(name).parse::<i64>().unwrap_or_else(|_| panic!("{name} in {text}"));
        let mut times = BTreeMap::new();
        for name in ["ctime:", "atime:", "mtime:", "crtime:"] {
            let value = after(name);
            let (seconds, extra) = value.split_once(':').unwrap_or((value, "0"));
            times.insert(name.trim_end_matches(':').to_owned(), (hex(seconds), hex(extra)));
        }
        Stat {
            ino: number("Inode:") as u64,
            mode: u32::from_str_radix(after("Mode:"), 8).expect("an octal mode"),
            flags: hex(after("Flags:")),
            generation: number("Generation:") as u32,
            uid: number("User:") as u32,
            gid: number("Group:") as u32,
            project: number("Project:") as u32,
            size: number("Size:") as u64,
            links: number("Links:") as u32,
            blocks: number("Blockcount:") as u64,
            times,
        }
    }
}

/// Every path below `tree`, as seen from its root, in order.
pub fn paths(tree: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut pending = vec![tree.to_path_buf()];
    while let Some(directory) = pending.pop() {
        for entry in std::fs::read_dir(&directory).expect("the tree can be read") {
            let path = entry.expect("the tree can be read").path();
            let name = path.strip_prefix(tree).expect("it is below").to_str().expect("names are UTF-8");
            found.push(format!("/{name}"));
            if path.symlink_metadata().expect("it is there").is_dir() {
                pending.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Bytes that repeat nowhere within a block, different for every `seed`.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
