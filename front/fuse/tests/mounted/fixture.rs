//! Images, mounts, and what is seen in them.

use rumpcap::block::{BlockDevice, FileDevice};
use rumpcap::{Access, Kernel, MountOptions};
use rumpcap_fuse::{End, Options, Session};
use rumpcap_testing::loop_mount;
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, output, run};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Time for a session's end that nobody holds up.
pub const GRACE: Duration = Duration::from_secs(60);

/// Whether mounts by FUSE and by loop devices can be had; says so if not.
pub fn is_possible() -> bool {
    let fuse = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
    if !fuse || !loop_mount::available() {
        skip("no /dev/fuse, no root or no loop devices");
    }
    fuse && loop_mount::available()
}

/// A new image.
pub fn image(directory: &Path, name: &str, options: &[&str]) -> PathBuf {
    let image = directory.join(name);
    std::fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    run(command("mke2fs").args(["-q", "-F"]).args(options).arg(&image));
    image
}

/// e2fsck finds nothing.
pub fn check(image: &Path) {
    let result = output(command("e2fsck").args(["-f", "-n"]).arg(image));
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stdout));
}

/// A mount by FUSE.
pub struct Fuse {
    pub root: PathBuf,
    pub kernel: Kernel,
    session: Option<Session>,
}

impl Fuse {
    /// Mounts an image beside it.
    pub fn mount(image: &Path, access: Access, limit_bytes: u64) -> Fuse {
        let options = rumpcap_host::file::OpenOptions { write: access == Access::Write, direct: false };
        let device = Arc::new(FileDevice::open_with(image, options).unwrap());
        Fuse::serve(image, device, access, limit_bytes)
    }

    /// Mounts a device.
    pub fn serve(image: &Path, device: Arc<dyn BlockDevice>, access: Access, limit_bytes: u64) -> Fuse {
        let kernel = Kernel::builder().memory_limit(limit_bytes).boot().unwrap();
        let mount = kernel.mount(device, &MountOptions { access, ..MountOptions::default() }).unwrap();
        let root = image.with_extension("fuse");
        std::fs::create_dir_all(&root).unwrap();
        let session = Session::start(mount, &root, &options(access)).unwrap();
        Fuse { root, kernel, session: Some(session) }
    }

    /// Unmounts; everything must have been answered.
    pub fn end(mut self) {
        assert_eq!(self.session.take().unwrap().end(GRACE), End::Unmounted);
    }

    /// Unmounts while it is in use.
    pub fn break_off(mut self, grace: Duration) -> End {
        self.session.take().unwrap().end(grace)
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.end(Duration::from_secs(1));
        }
    }
}

fn options(access: Access) -> Options {
    // So that other users' rights can be compared too.
    let mut options = Options { allow_other: true, ..Options::default() };
    if access == Access::Read {
        options.flags |= rumpcap_fuse::MountFlags::RDONLY;
    }
    options
}

/// Equal line by line.
pub fn assert_same(ours: &str, theirs: &str, what: &str) {
    for (ours, theirs) in ours.lines().zip(theirs.lines()) {
        assert_eq!(ours, theirs, "{what}");
    }
    assert_eq!(ours.lines().count(), theirs.lines().count(), "{what}");
}

/// All that GNU tools see of a tree, line by line: names, types, modes, owners, sizes, links, attributes; and its contents' digests.
pub fn seen(root: &Path, what: &str) -> String {
    let script = format!(
        "cd \"$1\" && find . -path ./lost+found -prune -o -printf '{what} %y %m %n %U %G %l\\n' | sort; \
         find . -type f ! -path './lost+found*' -printf '%P %s\\n' -exec sha256sum {{}} + | sort; \
         find . -path ./lost+found -prune -o -print0 | sort -z | xargs -0 getfattr -h -d -m - 2>/dev/null"
    );
    let seen = run(command("sh").args(["-c", &script, "sh"]).arg(root));
    String::from_utf8_lossy(&seen).into_owned()
}
