//! Mounts by somebody who is not root, by the helper `fusermount3`.

use crate::fixture::{Place, end_of, is_possible};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, exists, output, run};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const USER: &str = "65534";

/// A command as that user.
fn by_user(program: &str) -> Command {
    let mut user = command("setpriv");
    user.args(["--reuid", USER, "--regid", USER, "--clear-groups", "--inh-caps=-all", program]);
    user
}

#[test]
fn who_is_not_root_mounts_by_fusermount3() {
    if !is_possible() {
        return;
    }
    if !exists("fusermount3") || !exists("setpriv") {
        return skip("no fusermount3 or setpriv");
    }
    let place = Place::new(&["-t", "ext4", "-E", "root_owner=65534:65534"]);
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(place.directory.path(), open).unwrap();
    for path in [&place.image, &place.mnt] {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    }
    // Where the build's directory is not for everybody, the program is copied to where it is.
    let program = place.directory.path().join("rumpcap");
    fs::copy(env!("CARGO_BIN_EXE_rumpcap"), &program).unwrap();
    let program = program.to_str().unwrap();
    let mounted = output(by_user(program).args(["mount", "--rw"]).arg(&place.image).arg(&place.mnt));
    assert_eq!(end_of(&mounted), (0, String::new()));
    let file = place.mnt.join("file");
    run(by_user("sh").args(["-c", &format!("echo content > {}", file.display())]));
    assert_eq!(run(by_user("cat").arg(&file)), b"content\n");
    let owner = run(by_user("stat").args(["-c", "%u %a"]).arg(&file));
    assert!(owner.starts_with(b"65534 "), "{}", String::from_utf8_lossy(&owner));
    // Root is somebody else, and may not look.
    assert_eq!(fs::read(&file).unwrap_err().raw_os_error(), Some(13));
    run(by_user(program).arg("umount").arg(&place.mnt));
    place.check();
    let said = run(by_user(program).arg("cat").arg(format!("{}:/file", place.image.display())));
    assert_eq!(said, b"content\n");
}
