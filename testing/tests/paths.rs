//! Paths: symbolic links followed as the host's kernel follows them, up to 40 and never out of the image; slashes and dots;
//! casefolded names; encrypted ones.

use rumpcap::{Error, Mount};
use rumpcap_testing::images::matrix;
use rumpcap_testing::loop_mount::LoopMount;
use rumpcap_testing::oracle::Library;
use rumpcap_testing::{SMALLEST_LIMIT_BYTES, loop_mount, skip};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;

fn mount(name: &str) -> Mount {
    let image = matrix::named(name).image();
    Library::open(&image, Some(SMALLEST_LIMIT_BYTES)).unwrap_or_else(|e| panic!("{name}: {e}")).mount
}

fn text(mount: &Mount, path: &str) -> Result<String, Error> {
    let mut text = String::new();
    let mut file = mount.open(path)?;
    file.read_to_string(&mut text).map_err(|_| Error::WrongType)?;
    Ok(text)
}

const END: &str = "at the end of links";

#[test]
fn links_lead_to_files() {
    let mount = mount("ext4-default");
    for path in [
        "through",
        "absolute",
        "above-the-root",
        "to-dir/inner/file",
        "to-root/symlinks/to-parent/symlinks/through",
    ] {
        assert_eq!(text(&mount, &format!("/symlinks/{path}")).as_deref(), Ok(END), "{path}");
    }
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let mount = mount("ext4-default");
    for n in 0..=50 {
        let expected = if n <= 40 { Ok("end of the chain".to_owned()) } else { Err(Error::TooManyLinks) };
        assert_eq!(text(&mount, &format!("/symlinks/chain-{n}")), expected, "{n} links");
    }
    for path in ["self", "ring-a", "self/below"] {
        assert_eq!(text(&mount, &format!("/symlinks/{path}")), Err(Error::TooManyLinks), "{path}");
    }
    assert!(mount.symlink_metadata("/symlinks/self").is_ok_and(|m| m.is_symlink()));
}

#[test]
fn dots_never_leave_the_root() {
    let mount = mount("ext4-default");
    let root = mount.metadata("/").expect("the root").ino();
    assert_eq!(root, 2);
    for path in [
        "",
        "/",
        ".",
        "..",
        "/..",
        "../../..",
        "/./../.",
        "symlinks/..",
        "symlinks/to-root/../..",
        "//",
        "/.//.",
    ] {
        assert_eq!(mount.metadata(path).map(|m| m.ino()), Ok(root), "{path:?}");
    }
    assert_eq!(text(&mount, "../../symlinks/./../symlinks/through").as_deref(), Ok(END));
}

/// What the host's kernel says of odd paths, the library says too.
#[test]
fn odd_paths_end_as_in_the_kernel() {
    if !loop_mount::available() {
        return skip::skip("no loop mounts to compare with");
    }
    let kernel = LoopMount::new(&matrix::named("ext4-default").image(), "ro").expect("mounting");
    let mount = mount("ext4-default");
    let long = "n".repeat(256);
    let odd = [
        "symlinks/dir/inner/file/",
        "symlinks/file-with-slash",
        "symlinks/dir/inner/file/.",
        "symlinks/dir/inner/file/..",
        "symlinks/dir/inner/file/below",
        "symlinks/dangling",
        "symlinks/dangling/below",
        "symlinks/to-dir/",
        "symlinks/to-dir/.",
        "symlinks/to-dir/..",
        "symlinks/slashes",
        "symlinks/slashes/file",
        "symlinks/./dir//inner///file",
        "no",
        "no/../symlinks",
        "no/no",
        "special/pipe/below",
        "symlinks/chain-5/below",
        &long,
        "symlinks/length-59",
        "symlinks/length-1/x",
    ];
    for path in odd {
        // Links that begin at the root lead out of the host's mount.
        for (followed, ours) in [(true, mount.metadata(path)), (false, mount.symlink_metadata(path))] {
            let full = kernel.join(path);
            let theirs = if followed { std::fs::metadata(&full) } else { std::fs::symlink_metadata(&full) };
            use std::os::unix::fs::MetadataExt;
            let theirs = theirs.map(|m| m.ino()).map_err(|e| e.raw_os_error().unwrap_or(0));
            if path.contains("slashes") && (followed || path.contains("slashes/")) {
                continue;
            }
            assert_eq!(ours.map(|m| m.ino()).map_err(Error::errno), theirs, "{path:?}, followed: {followed}");
        }
    }
}

#[test]
fn casefolded_names_are_found_in_any_case() {
    for name in ["casefold", "casefold-4k", "casefold-indexed"] {
        let mount = mount(name);
        let found = |path: &str| mount.metadata(path).map(|m| m.ino());
        let same = [
            ("/fold/README", "/fold/readme"),
            ("/fold/README", "/fold/ReadMe"),
            ("/fold/Stra\u{df}e", "/fold/STRASSE"),
            ("/fold/\u{c4}rger", "/fold/\u{e4}RGER"),
            ("/fold/\u{c4}rger", "/fold/a\u{308}rger"),
            ("/fold/e\u{301}tude", "/fold/\u{c9}TUDE"),
            ("/fold/\u{3a3}igma", "/fold/\u{3c2}IGMA"),
            ("/fold/Inner/File", "/fold/INNER/FILE"),
            ("/many/Name Number 17", "/many/NAME NUMBER 17"),
            ("/many/Name Number 399", "/many/name number 399"),
        ];
        for (one, other) in same {
            assert!(found(one).is_ok(), "{name}: {one}");
            assert_eq!(found(other), found(one), "{name}: {other}");
        }
        for missing in
            ["/plain/readme", "/plain/STRASSE", "/fold/READM", "/fold/README2", "/many/Name Number 400"]
        {
            assert_eq!(found(missing), Err(Error::NotFound), "{name}: {missing}");
        }
        let invalid = OsStr::from_bytes(b"/fold/Not\xffUTF8");
        assert!(mount.metadata(invalid).is_ok(), "{name}: a name that is not UTF-8");
        let other_case = OsStr::from_bytes(b"/fold/not\xffutf8");
        assert_eq!(
            mount.metadata(other_case).map(|m| m.ino()),
            Err(Error::NotFound),
            "{name}: folded what is no text"
        );
    }
}

#[test]
fn encrypted_things_are_refused() {
    let mount = mount("encrypted");
    let secret = mount.metadata("/secret").expect("attributes are not encrypted");
    if secret.flags() & 0x800 == 0 {
        return skip::skip("no keys in the host's kernel, or no e4crypt");
    }
    assert_eq!(text(&mount, "/plain/file").as_deref(), Ok("in the clear"));
    assert_eq!(mount.metadata("/secret/file").map(|m| m.ino()), Err(Error::Encrypted));
    let listed = mount.read_dir("/secret").and_then(|mut entries| entries.next().transpose());
    assert_eq!(listed.map(|entry| entry.is_some()), Err(Error::Encrypted));
    // By number, inode by inode: attributes are given, content and targets are not.
    let mut refused = 0;
    for ino in 12..400 {
        let Ok(metadata) = mount.metadata_ino(ino) else { continue };
        if metadata.flags() & 0x800 == 0 {
            continue;
        }
        if metadata.is_symlink() {
            assert_eq!(mount.read_link_ino(ino), Err(Error::Encrypted), "target of {ino}");
            refused += 1;
        }
        if metadata.is_file() && metadata.len() > 0 {
            let read = mount.open_ino(ino).and_then(|file| file.read_at(&mut [0; 10], 0));
            assert_eq!(read, Err(Error::Encrypted), "content of {ino}");
            refused += 1;
        }
    }
    assert!(refused >= 3, "only {refused} encrypted inodes found");
}
