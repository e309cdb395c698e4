//! Images that want to write where they should not, or never to end.

use crate::fixture::{at, rumpcap, scratch, tool};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// An image without checksums, so that its bytes can be changed.
fn image(directory: &Path, tree: &Path) -> PathBuf {
    let image = directory.join("hostile.img");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let features = OsStr::new("^metadata_csum,^uninit_bg,^dir_index");
    let options: [&OsStr; 5] = ["-q".as_ref(), "-t".as_ref(), "ext4".as_ref(), "-O".as_ref(), features];
    tool("mke2fs", &[&options[..], &["-d".as_ref(), tree.as_ref(), image.as_ref()]].concat());
    image
}

/// Puts `new` in the place of the one name `old` of the image.
fn rename_raw(image: &Path, old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let mut bytes = fs::read(image).unwrap();
    let places: Vec<usize> = (0..bytes.len() - old.len()).filter(|&i| bytes[i..].starts_with(old)).collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + new.len()].copy_from_slice(new);
    }
    fs::write(image, bytes).unwrap();
}

/// The name that is replaced in the image by an evil one of the same length.
const NAME: &str = "REPLACE-THIS-";
const REPLACED: &[u8] = NAME.as_bytes();

/// Everything below `root` but `allowed`, to see that nothing else has come.
fn others(root: &Path, allowed: &str) -> Vec<String> {
    let entries = fs::read_dir(root).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut entries: Vec<String> = entries.filter(|n| n != allowed).collect();
    entries.sort();
    entries
}

#[test]
fn names_that_lead_out_are_refused_and_the_rest_is_copied() {
    for evil in ["..//../evil--", "sub/evil-name", "./././evil-xx"] {
        let directory = scratch("hostile-names");
        let tree = directory.join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        fs::write(tree.join(NAME), "evil").unwrap();
        fs::write(tree.join("sub/good"), "good").unwrap();
        let image = image(&directory, &tree);
        rename_raw(&image, REPLACED, evil.as_bytes());
        fs::create_dir(directory.join("work")).unwrap();
        let to = directory.join("work/to");
        let out = rumpcap([OsStr::new("cp"), "-r".as_ref(), image.as_ref(), to.as_ref()]);
        assert_eq!(out.status.code(), Some(1), "{evil}");
        assert_eq!(others(&directory.join("work"), "to"), Vec::<String>::new(), "{evil}");
        assert!(!Path::new("/tmp/evil-now").exists());
        assert!(!to.join("sub/evil-name").exists() && !to.join("evil-xx").exists());
        let tar = rumpcap([OsStr::new("tar"), image.as_ref()]);
        assert_eq!(tar.status.code(), Some(1), "{evil}");
        assert!(!tar.stdout.windows(4).any(|w| w == b"evil"), "{evil}");
    }
}

#[test]
fn a_link_planted_by_the_image_is_not_written_through() {
    let directory = scratch("hostile-links");
    let (tree, outside) = (directory.join("tree"), directory.join("outside"));
    fs::create_dir_all(tree.join("dirBB")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("victim"), "old").unwrap();
    symlink(&outside, tree.join("dirAA")).unwrap();
    symlink(outside.join("victim"), tree.join("fileAA")).unwrap();
    fs::write(tree.join("dirBB/planted"), "evil").unwrap();
    fs::write(tree.join("fileBB"), "evil").unwrap();
    let image = image(&directory, &tree);
    // Now two entries have each name.
    rename_raw(&image, b"dirBB", b"dirAA");
    rename_raw(&image, b"fileBB", b"fileAA");
    let to = directory.join("to");
    let out = rumpcap([OsStr::new("cp"), "-r".as_ref(), image.as_ref(), to.as_ref()]);
    assert_eq!(out.status.code(), Some(1), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(others(&outside, "victim"), Vec::<String>::new());
    assert_eq!(fs::read_to_string(outside.join("victim")).unwrap(), "old");
}

#[test]
fn a_link_that_was_in_the_target_is_not_written_through() {
    let directory = scratch("hostile-target");
    let (tree, outside, to) = (directory.join("tree"), directory.join("outside"), directory.join("to"));
    fs::create_dir_all(tree.join("dir")).unwrap();
    fs::write(tree.join("dir/file"), "new").unwrap();
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&to).unwrap();
    symlink(&outside, to.join("dir")).unwrap();
    let image = image(&directory, &tree);
    let out = rumpcap([OsStr::new("cp"), "-r".as_ref(), image.as_ref(), to.as_ref()]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(others(&outside, ""), Vec::<String>::new());
}

#[test]
fn a_directory_inside_itself_ends() {
    let directory = scratch("hostile-loop");
    let tree = directory.join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/file"), "x").unwrap();
    let image = image(&directory, &tree);
    tool("debugfs", &["-w".as_ref(), "-R".as_ref(), "link /a /a/b/loop".as_ref(), image.as_ref()]);
    let to = directory.join("to");
    for args in [
        &["find"][..],
        &["du", "-a"],
        &["tree"],
        &["ls", "-R"],
        &["ls", "-lRU"],
        &["tar"],
        &["tar", "--sorted"],
        &["sha256"],
        &["sha256", "--tree"],
        &["xattr", "-R"],
    ] {
        let out = rumpcap(args.iter().map(OsStr::new).chain([image.as_os_str()]));
        assert_eq!(out.status.code(), Some(1), "{args:?}");
        assert!(out.stdout.len() < 100_000, "{args:?}");
    }
    let out = rumpcap([OsStr::new("cp"), "-r".as_ref(), image.as_ref(), to.as_ref()]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(fs::read(to.join("a/b/file")).unwrap(), b"x");
}

#[test]
fn an_image_that_is_none_says_so() {
    let directory = scratch("hostile-none");
    let image = directory.join("noise.img");
    fs::write(&image, vec![0xa5; 1 << 20]).unwrap();
    for command in ["ls", "info", "find", "df"] {
        let out = rumpcap([OsStr::new(command), image.as_ref()]);
        assert_eq!(out.status.code(), Some(1), "{command}");
        assert!(String::from_utf8_lossy(&out.stderr).contains("no known file system"), "{command}");
    }
    let out = rumpcap([OsStr::new("cat"), &at(&directory, "/x")]);
    assert_eq!(out.status.code(), Some(1));
}
