//! `serve`: begins, tells, serves libnfs's tools, ends in order. What it serves is tested in `front/nfs/tests`.

use crate::fixture::{RUMPCAP, rumpcap, scratch, tool};
use rumpcap_testing::skip::skip;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn image(directory: &Path) -> PathBuf {
    let image = directory.join("image");
    std::fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    tool("mke2fs", &["-q".as_ref(), "-F".as_ref(), "-t".as_ref(), "ext4".as_ref(), image.as_os_str()]);
    image
}

struct Serving {
    child: Child,
    said: Vec<String>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    fn start(image: &Path, state: &Path, args: &[&str]) -> Serving {
        let mut command = Command::new(RUMPCAP);
        command
            .args(["serve", "--nfs", "127.0.0.1:0", "--insecure", "--state-dir"])
            .arg(state)
            .args(args)
            .arg(image);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Serving { child, said: lines.take(2).map(Result::unwrap).collect() }
    }

    fn port(&self) -> String {
        let at = self.said[0].split("127.0.0.1:").nth(1).unwrap();
        at.chars().take_while(char::is_ascii_digit).collect()
    }

    fn url(&self, path: &str) -> String {
        format!("nfs://127.0.0.1{path}?nfsport={0}&mountport={0}", self.port())
    }

    /// Its exit code and what it said on standard error.
    fn end(mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

#[test]
fn it_serves_until_it_is_told_to_end() {
    if Command::new("nfs-ls").stderr(Stdio::null()).status().is_err() {
        return skip("libnfs-utils is not there");
    }
    let directory = scratch("serve");
    let (image, state) = (image(&directory), directory.join("state"));
    let serving = Serving::start(&image, &state, &["--rw", "--squash", "none"]);
    assert!(serving.said[0].contains(": / is served read-write at 127.0.0.1:"), "{:?}", serving.said);
    assert!(serving.said[1].starts_with("mount -t nfs -o vers=3,tcp,port="), "{:?}", serving.said);
    // One writer at a time.
    let second = rumpcap([Path::new("touch"), &image.with_file_name("image:/x")]);
    assert_eq!(second.status.code(), Some(3));
    let small = directory.join("small");
    std::fs::write(&small, "small").unwrap();
    let copy = Command::new("nfs-cp").arg(&small).arg(serving.url("/lost+found/small")).output().unwrap();
    assert!(copy.status.success(), "{}", String::from_utf8_lossy(&copy.stderr));
    let copy = Command::new("nfs-cp").arg(&image).arg(serving.url("/lost+found/copy")).output().unwrap();
    assert!(!copy.status.success(), "an image does not fit into itself");
    assert_eq!(serving.end(), (Some(0), String::new()));
    tool("e2fsck", &["-f".as_ref(), "-n".as_ref(), image.as_os_str()]);

    // The directory is the superuser's, who is nobody unless told otherwise.
    let serving = Serving::start(&image, &state, &[]);
    let content = Command::new("nfs-cat").arg(serving.url("/lost+found/small")).output().unwrap();
    assert!(content.stdout.is_empty());
    assert_eq!(serving.end(), (Some(0), String::new()));
    let serving = Serving::start(&image, &state, &["--squash", "none"]);
    assert!(serving.said[0].contains(" is served read-only at "), "{:?}", serving.said);
    let content = Command::new("nfs-cat").arg(serving.url("/lost+found/small")).output().unwrap();
    assert_eq!(content.stdout, b"small", "{}", String::from_utf8_lossy(&content.stderr));
    assert_eq!(serving.end(), (Some(0), String::new()));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let directory = scratch("serve-refused");
    let (image, state) = (image(&directory), directory.join("state"));
    let serve = |args: &[&str], address: &str| {
        let image = image.to_str().unwrap();
        let all =
            [&["serve", "--state-dir", state.to_str().unwrap(), "--nfs", address, image], args].concat();
        let out = rumpcap(all);
        (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
    };
    let (code, said) = serve(&[], "0.0.0.0:0");
    assert!(code == 2 && said.contains("--allow"), "{code}: {said}");
    assert_eq!(serve(&["--allow", "10.0.0.0/40"], "127.0.0.1:0").0, 2);
    assert_eq!(serve(&["--transfer-size", "5000"], "127.0.0.1:0").0, 2);
    assert!(state.join("nfs.key").exists());
    std::fs::set_permissions(state.join("nfs.key"), PermissionsExt::from_mode(0o644)).unwrap();
    let (code, said) = serve(&[], "127.0.0.1:0");
    assert!(code == 1 && said.contains("no secret"), "{code}: {said}");
}
