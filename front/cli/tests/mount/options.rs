//! Command lines, exit codes, signals, other names of the command.

use crate::fixture::{Place, end_of, is_possible, named};
use rumpcap_testing::tools::{command, output, run};
use std::fs;
use std::process::Stdio;

#[test]
fn the_command_returns_when_the_directory_shows_it_and_umount_when_the_image_is_in_order() {
    if !is_possible() {
        return;
    }
    let place = Place::new(&["-t", "ext4"]);
    for _ in 0..3 {
        assert_eq!(end_of(&place.mount(&["--rw"])), (0, String::new()));
        fs::write(place.mnt.join("file"), "content").unwrap();
        place.umount();
        place.check();
        assert!(!place.mnt.join("file").exists());
    }
    assert_eq!(end_of(&place.mount(&[])).0, 0);
    assert_eq!(fs::read(place.mnt.join("file")).unwrap(), b"content");
    assert_eq!(fs::write(place.mnt.join("file"), "").unwrap_err().raw_os_error(), Some(30));
    place.umount();
}

#[test]
fn what_is_wrong_is_told_before_anything_is_mounted() {
    if !is_possible() {
        return;
    }
    let place = Place::new(&["-t", "ext4"]);
    let refused = |options: &[&str], code: i32, word: &str| {
        let (found, message) = end_of(&place.mount(options));
        assert_eq!(found, code, "{options:?}: {message}");
        assert!(message.contains(word), "{message}");
        assert!(place.server().is_none());
    };
    refused(&["-o", "rw,frob=1"], 2, "frob=1");
    refused(&["-o", "uid=1"], 2, "uid=1");
    refused(&["--threads", "0"], 2, "threads");
    refused(&["--request-size", "4k"], 2, "128k");
    refused(&["-o", "allow_other,nodefault_permissions"], 2, "everybody");
    refused(&["--memory-limit", "1k"], 1, "would do");
    refused(&["-o", "limit=1k"], 1, "would do");
    refused(&["-o", "offset=512"], 1, "no known file system");
    let on_file = output(crate::fixture::rumpcap().arg("mount").arg(&place.image).arg(&place.image));
    assert_eq!(end_of(&on_file).0, 1);
    // A second writer is told who has it.
    assert_eq!(end_of(&place.mount(&["--rw"])).0, 0);
    let other = place.directory.path().join("other");
    fs::create_dir(&other).unwrap();
    let second = output(crate::fixture::rumpcap().args(["mount", "--rw"]).arg(&place.image).arg(&other));
    assert_eq!(end_of(&second).0, 3);
    place.umount();
    assert_eq!(end_of(&output(crate::fixture::rumpcap().arg("umount").arg(&place.mnt))).0, 1);
}

#[test]
fn signals_unmount_in_order() {
    if !is_possible() {
        return;
    }
    for signal in ["TERM", "INT", "HUP"] {
        let place = Place::new(&["-t", "ext4"]);
        let server = crate::fixture::rumpcap()
            .args(["mount", "-f", "--rw"])
            .arg(&place.image)
            .arg(&place.mnt)
            .stdout(Stdio::null())
            .spawn();
        let mut server = server.unwrap();
        while fs::write(place.mnt.join("file"), signal).is_err()
            || place.mnt.join("lost+found").symlink_metadata().is_err()
        {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        fs::write(place.mnt.join("file"), signal).unwrap();
        run(command("kill").arg(format!("-{signal}")).arg(server.id().to_string()));
        assert_eq!(server.wait().unwrap().code(), Some(0), "{signal}");
        assert!(!place.mnt.join("lost+found").exists());
        place.check();
        let said = run(crate::fixture::rumpcap().arg("cat").arg(format!("{}:/file", place.image.display())));
        assert_eq!(said, signal.as_bytes());
    }
}

/// As mount(8) calls its helpers for a line of fstab.
#[test]
fn as_the_helper_of_mount() {
    if !is_possible() {
        return;
    }
    let place = Place::new(&["-t", "ext4"]);
    for name in ["mount.rumpcap", "mount.fuse.rumpcap"] {
        let helper = place.directory.path().join(name);
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_rumpcap"), &helper).unwrap();
        let call = |options: &[&str]| output(named(&helper).arg(&place.image).arg(&place.mnt).args(options));
        assert_eq!(end_of(&call(&["-o", "rw,limit=512k,noauto,x-test=1"])), (0, String::new()));
        fs::write(place.mnt.join("file"), name).unwrap();
        let shown = fs::read_to_string("/proc/mounts").unwrap();
        let line = shown.lines().find(|line| line.contains(place.mnt.to_str().unwrap())).unwrap();
        assert!(line.contains(" fuse.rumpcap rw,nosuid,nodev"), "{line}");
        place.umount();
        // A test run of mount(8)'s mounts nothing.
        assert_eq!(end_of(&call(&["-f", "-o", "ro"])).0, 0);
        assert!(!place.mnt.join("file").exists());
        assert_eq!(end_of(&call(&["-n", "-o", "ro,frob"])).0, 2);
    }
    place.check();
}
