//! `cp` from image to image and within one, and patterns in addresses and lines, against GNU tools on the kernel's mounts.

use crate::fixture::{assert_same_tree, at, model, mounted, rumpcap, scratch, sorted_lines, stdout, tool};
use crate::writing::{Kernel, check, new_image};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

fn cp(options: &[&str], from: &OsStr, to: &OsStr) {
    let mut line = vec![OsStr::new("cp")];
    line.extend(options.iter().map(OsStr::new));
    line.extend([from, to]);
    assert_eq!(stdout(line), b"");
}

#[test]
fn a_tree_goes_from_image_to_image() {
    let Some(from) = mounted("across") else { return };
    let directory = scratch("across");
    // The smallest limit serves both images.
    for (name, options, limit) in [
        ("ext4", &["-t", "ext4"][..], "512k"),
        ("ext2", &["-t", "ext2", "-b", "1024"], "1m"),
        ("ext3", &["-t", "ext3", "-b", "2048", "-I", "256"], "8m"),
    ] {
        let image = new_image(&directory, &format!("{name}.img"), options);
        let limit = format!("--memory-limit={limit}");
        cp(&["-a", &limit], &at(&from.image, "/."), &at(&image, "/"));
        check(&image);
        let to = Kernel::mount(&image, "ro,loop");
        assert_same_tree(&from.root, &to.0, &[]);
        let difference = model(
            &directory,
            "diff",
            &["-r", "--no-dereference", "--exclude=dev", from.root.to_str().unwrap(), to.0.to_str().unwrap()],
        );
        assert_eq!(String::from_utf8_lossy(&difference), "");
        let sparse = fs::metadata(to.0.join("sparse")).unwrap();
        assert!(sparse.blocks() * 512 < 1 << 20, "holes are kept");
        let ino = |path: &str| fs::metadata(to.0.join(path)).unwrap().ino();
        assert_eq!(ino("etc/numbers"), ino("links/two"));
    }
}

#[test]
fn a_tree_is_copied_within_its_image() {
    let Some(from) = mounted("within") else { return };
    let directory = scratch("within");
    let image = new_image(&directory, "w.img", &["-t", "ext4"]);
    stdout([OsStr::new("mkdir"), &at(&image, "/a")]);
    cp(&["-a"], &at(&from.image, "/deep"), &at(&image, "/a"));
    cp(&["-a"], &at(&from.image, "/etc"), &at(&image, "/a"));
    cp(&["-a"], &at(&image, "/a"), &at(&image, "/b"));
    // Through another name of the image, over what is there.
    fs::hard_link(&image, directory.join("other.img")).unwrap();
    cp(&["-a"], &at(&image, "/a/."), &at(&directory.join("other.img"), "/b"));
    fs::remove_file(directory.join("other.img")).unwrap();
    check(&image);
    let to = Kernel::mount(&image, "ro,loop");
    assert_same_tree(&to.0.join("a"), &to.0.join("b"), &[]);
    drop(to);
    // What GNU cp refuses as well, and then nothing is changed.
    stdout([OsStr::new("ln"), &at(&image, "/a/etc/passwd"), &at(&image, "/linked")]);
    for (source, target, said) in [
        ("/a", "/a", "cannot be copied into itself, /a/a"),
        ("/a", "/a/deep/new", "cannot be copied into itself, /a/deep/new"),
        ("/", "/b", "cannot be copied into itself"),
        ("/a/etc/passwd", "/a/etc/passwd", "is the same file"),
        ("/a/etc/passwd", "/a/etc", "is the same file"),
        ("/a/etc/passwd", "/linked", "is the same file"),
    ] {
        let out = rumpcap([OsString::from("cp"), "-r".into(), at(&image, source), at(&image, target)]);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(1) && text.contains(said), "{source} {target}: {text}");
    }
    check(&image);
    let to = Kernel::mount(&image, "ro,loop");
    assert_eq!(fs::read(to.0.join("linked")).unwrap(), fs::read(from.root.join("etc/passwd")).unwrap());
    assert!(!to.0.join("a/a").exists() && !to.0.join("a/deep/new").exists());
}

/// Both sides are partitions of one disk, and one command has a source on the host too.
#[test]
fn from_partition_to_partition() {
    let Some(from) = mounted("partitions") else { return };
    let directory = scratch("across-partitions");
    let disk = directory.join("disk.img");
    fs::File::create(&disk).unwrap().set_len(80 << 20).unwrap();
    let table = "printf 'label: gpt\\nsize=32M\\nsize=32M\\n' | sfdisk -q disk.img && \
        for n in 0 1; do mke2fs -q -t ext4 -E offset=$((1048576 + n * 33554432)) disk.img 32M; done";
    model(&directory, "sh", &["-ec", table]);
    let part = |n: u32, path: &str| {
        let mut image = disk.as_os_str().to_owned();
        image.push(format!("@{n}:{path}"));
        image
    };
    cp(&["-a"], &at(&from.image, "/deep"), &part(1, "/"));
    let host = directory.join("host");
    fs::write(&host, "host\n").unwrap();
    let line = [OsStr::new("cp"), "-a".as_ref(), &part(1, "/deep"), host.as_ref(), &part(2, "")];
    assert_eq!(stdout(line), b"");
    let found = stdout([OsStr::new("sha256"), "--tree".as_ref(), &part(1, "/deep"), &part(2, "/deep")]);
    let lines = sorted_lines(&found);
    assert_eq!(lines[0].split(' ').next(), lines[1].split(' ').next());
    assert_eq!(stdout([OsStr::new("cat"), &part(2, "/host")]), b"host\n");
}

/// What a shell and `batch` both understand.
const PATTERNS: &str = "\
mkdir one two .dot
touch one/a.log one/b.log one/keep.txt one/.hidden.log two/c.log 'two/*' '[x]'
rm one/*.log
cp -a /etc/host* COLON.
rm 'two/*'
touch two/d.log two/e.log
mv two/[d-e].log .dot
chmod 600 */*.txt
rm -f *.none
touch new*
rm \\[x]
mkdir -p t/-r t/:c
touch t/-r/f t/:c/f
rm t/*/f
rmdir t/?r
";

#[test]
fn patterns_of_a_script_match_as_in_a_shell() {
    let Some(_root) = mounted("patterns") else { return };
    let directory = scratch("patterns");
    let (expected, got) = (new_image(&directory, "k.img", &[]), new_image(&directory, "r.img", &[]));
    let kernel = Kernel::mount(&expected, "loop");
    model(&kernel.0, "sh", &["-ec", &PATTERNS.replace("COLON", "")]);
    let script = directory.join("script");
    fs::write(&script, PATTERNS.replace("COLON", ":")).unwrap();
    assert_eq!(stdout([OsStr::new("batch"), got.as_ref(), script.as_ref()]), b"");
    check(&got);
    let mounted = Kernel::mount(&got, "loop");
    for root in [&kernel.0, &mounted.0] {
        model(root, "sh", &["-ec", "find . -exec touch -h -d @7 {} +"]);
    }
    assert_same_tree(&kernel.0, &mounted.0, &[]);
}

#[test]
fn patterns_in_addresses() {
    let Some(m) = mounted("patterns-in-addresses") else { return };
    let lines =
        |pattern: &str| sorted_lines(&stdout([OsStr::new("ls"), "-d".as_ref(), &at(&m.image, pattern)]));
    assert_eq!(lines("/etc/[gp]*"), ["/etc/group", "/etc/passwd"]);
    assert_eq!(lines("/d*/*/b"), ["/deep/a/b", "/deep/to-a/b"]);
    assert_eq!(lines("/names/s*"), ["/names/star*"]);
    // It is there under this name.
    assert_eq!(lines("/names/star*"), ["/names/star*"]);
    let directory = scratch("patterns-out");
    cp(&[], &at(&m.image, "/etc/?????"), directory.as_ref());
    let names = model(&directory, "ls", &[]);
    assert_eq!(sorted_lines(&names), ["group"]);
    for (options, code) in [(&["rm"][..], 1), (&["rm", "-f"], 0), (&["ls"], 1)] {
        let image = copy_of(&m.image, &directory);
        let mut line: Vec<OsString> = options.iter().map(OsString::from).collect();
        line.push(at(&image, "/etc/nothing*"));
        assert_eq!(rumpcap(line).status.code(), Some(code), "{options:?}");
    }
    let literal = [OsStr::new("ls"), "--literal".as_ref(), &at(&m.image, "/etc/[gp]*")];
    assert_eq!(rumpcap(literal).status.code(), Some(1));
}

fn copy_of(image: &Path, directory: &Path) -> std::path::PathBuf {
    let copy = directory.join("copy.img");
    tool("cp", &["--sparse=always".as_ref(), image.as_ref(), copy.as_ref()]);
    copy
}
