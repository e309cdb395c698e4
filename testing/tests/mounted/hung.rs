//! Devices that fail and devices that do not answer, below a mount.
//!
//! The image lies in a file system of its own that fuse2fs serves: killed, it fails every request; stopped, it answers none.

use rumpcap_testing::mounted::{Driver, Image, Mounted, Options, can_run, judge_image};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, run, run_allowing};
use rustix::io::Errno;
use rustix::process::Signal;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

/// Whoever waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(60);
const LARGE_BYTES: usize = 32 << 20;

/// A mount of an image, over a mount of its device.
struct Stack {
    upper: Option<Mounted>,
    /// What the device lies on; it goes after what is mounted from it.
    lower: Option<Mounted>,
    image: Image,
    path: PathBuf,
}

impl Stack {
    fn new() -> Option<Stack> {
        if !can_run(&["fuse2fs"]) {
            return None;
        }
        if Driver::chosen() != Driver::Rumpcap {
            skip("it is our server that is looked at");
            return None;
        }
        let image = Image::ext4(256);
        let mount =
            || Mounted::by(Driver::Fuse2fs, image.path(), &Options::default()).expect("the lower mount");
        let lower = mount();
        let path = lower.join("device");
        let source = tempfile::tempdir().expect("a directory");
        std::fs::write(source.path().join("large"), vec![7; LARGE_BYTES]).expect("a file");
        run(command("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-d"])
            .arg(source.path())
            .arg(&path)
            .arg("96M"));
        lower.unmount().expect("nobody uses it");
        // Mounted anew, so that the host has nothing of it in its memory.
        let lower = mount();
        let path = lower.join("device");
        let options = Options { memory: Some("512k"), grace_seconds: Some(1), ..Options::default() };
        let upper = Mounted::new(&path, &options).unwrap_or_else(|why| panic!("mounting: {why}"));
        Some(Stack { upper: Some(upper), lower: Some(lower), image, path })
    }

    fn upper(&self) -> &Mounted {
        self.upper.as_ref().expect("mounted")
    }

    /// A client that opened a file, and when it is told reads, writes and syncs, and says how each went.
    fn client(&self, from: u64) -> Client {
        let (says, answers) = channel();
        let (go, told) = channel();
        let root = self.upper().path().to_owned();
        let large = File::open(root.join("large")).expect("opening");
        std::thread::spawn(move || {
            if told.recv().is_err() {
                return;
            }
            let mut buffer = vec![0; 4096];
            let _ = says.send(("read", large.read_at(&mut buffer, from)));
            let new = root.join(format!("new{from}"));
            let made = std::fs::write(&new, [1; 100_000]).and_then(|()| File::open(&new)?.sync_all());
            let _ = says.send(("write and sync", made.map(|()| 0)));
        });
        Client { go, answers }
    }
}

/// A thread that uses the mount: it may wait for ever, the test does not.
struct Client {
    go: Sender<()>,
    answers: Receiver<(&'static str, std::io::Result<usize>)>,
}

#[test]
fn a_device_that_fails_gives_errors_and_an_end() {
    let Some(mut stack) = Stack::new() else { return };
    let Client { go, answers } = stack.client(16 << 20);
    stack.lower.take().expect("the device").kill();
    go.send(()).expect("the client");
    for what in ["read", "write and sync"] {
        let (said, result) = answers.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} does not end"));
        assert_eq!(said, what);
        let error = result.expect_err("the device is gone");
        println!("{what}: {error}");
        let is_fit = matches!(Errno::from_io_error(&error), Some(Errno::IO | Errno::ROFS));
        assert!(is_fit, "{what}: {error}");
    }
    // The end must come; that it is no success is as it should be.
    let ended = stack.upper.take().expect("mounted").unmount();
    println!("the server's end: {ended:?}");
    assert!(!format!("{ended:?}").contains("stays"), "{ended:?}");
}

#[test]
fn a_device_that_does_not_answer_can_be_left() {
    let Some(mut stack) = Stack::new() else { return };
    let lower = stack.lower.take().expect("the device");
    let waiting: Vec<_> = (1..=4).map(|n| stack.client(n * (7 << 20))).collect();
    lower.signal(Signal::STOP);
    for client in &waiting {
        client.go.send(()).expect("the client");
    }
    std::thread::sleep(Duration::from_secs(2));
    let mut answered = 0;
    for client in &waiting {
        answered += client.answers.try_iter().count();
    }
    println!("{answered} answers while the device stands still");
    let upper = stack.upper.take().expect("mounted");
    upper.signal(Signal::TERM);
    for client in &waiting {
        let (what, result) = client.answers.recv_timeout(PATIENCE).expect("a client that waits is let go");
        println!("{what}: {result:?}");
    }
    let ended = upper.wait_for_end();
    println!("the server's end: {ended:?}");
    lower.signal(Signal::CONT);
    assert!(!format!("{ended:?}").contains("stays"), "{ended:?}");
    // What is on the device needs recovery, and nothing else.
    run_allowing(command("e2fsck").arg("-p").arg(&stack.path), &[0, 1]);
    judge_image(&stack.path, None);
    lower.unmount().expect("nobody uses it");
    judge_image(stack.image.path(), None);
}
