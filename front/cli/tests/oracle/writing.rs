//! Commands that write, against GNU tools on the kernel's mount; after each e2fsck finds nothing.

use crate::fixture::{assert_same_tree, at, model, mount, mounted, rumpcap, scratch, stdout, tool};
use rumpcap_testing::tools::{command, output};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A new file system, by mke2fs.
pub fn new_image(directory: &Path, name: &str, options: &[&str]) -> PathBuf {
    let image = directory.join(name);
    fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
    let mut args: Vec<&OsStr> = vec!["-q".as_ref(), "-F".as_ref()];
    args.extend(options.iter().map(OsStr::new));
    args.push(image.as_os_str());
    tool("mke2fs", &args);
    image
}

pub fn check(image: &Path) {
    let result = output(command("e2fsck").args(["-f", "-n"]).arg(image));
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stdout));
}

/// Mounted by the kernel as long as it lives.
pub struct Kernel(pub PathBuf);

impl Kernel {
    pub fn mount(image: &Path, options: &str) -> Kernel {
        let root = image.with_extension(format!("mnt-{}", options.replace(',', "-")));
        fs::create_dir_all(&root).unwrap();
        mount(image, &root, options).unwrap();
        Kernel(root)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

const VARIANTS: [&[&str]; 3] = [
    &["-t", "ext4"],
    &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit"],
    &["-t", "ext2", "-b", "4096"],
];

#[test]
fn a_tree_that_is_copied_in_is_the_tree() {
    let Some(from) = mounted("cp-in") else { return };
    let directory = scratch("cp-in");
    for (n, variant) in VARIANTS.iter().enumerate() {
        let image = new_image(&directory, &format!("{n}.img"), variant);
        let mut source = from.root.clone().into_os_string();
        source.push("/.");
        let args = |options: &str| [OsString::from("cp"), options.into(), source.clone(), at(&image, "/")];
        assert_eq!(stdout(args("-a")), b"");
        check(&image);
        // Once more, over what is there.
        assert_eq!(stdout(args("-r")), b"");
        check(&image);
        let to = Kernel::mount(&image, "ro,loop");
        assert_same_tree(&from.root, &to.0, &[]);
        let sparse = fs::metadata(to.0.join("sparse")).unwrap();
        assert!(sparse.blocks() * 512 < 1 << 20, "holes are kept");
    }
}

#[test]
fn destinations_in_an_image_are_as_cp_has_them() {
    let Some(from) = mounted("cp-in-to") else { return };
    let directory = scratch("cp-in-to");
    let image = new_image(&directory, "to.img", &["-t", "ext4"]);
    let from_path = |name: &str| from.root.join(name).into_os_string();
    let cp = |options: &str, source: &str, to: &str| {
        assert_eq!(stdout([OsString::from("cp"), options.into(), from_path(source), at(&image, to)]), b"");
    };
    stdout([OsStr::new("mkdir"), &at(&image, "there")]);
    cp("-r", "deep", "there");
    cp("-r", "deep/.", "/content");
    cp("-r", "etc", "/named");
    cp("-p", "pw", "/file");
    cp("--owner=7:8", "etc/group", "/there/");
    check(&image);
    let to = Kernel::mount(&image, "ro,loop");
    assert_same_tree(&from.root.join("deep"), &to.0.join("there/deep"), &["/far"]);
    assert_same_tree(&from.root.join("deep"), &to.0.join("content"), &["/far"]);
    assert_same_tree(&from.root.join("etc"), &to.0.join("named"), &["/numbers"]);
    assert_eq!(fs::read(to.0.join("file")).unwrap(), fs::read(from.root.join("etc/passwd")).unwrap());
    let group = fs::metadata(to.0.join("there/group")).unwrap();
    assert_eq!((group.uid(), group.gid()), (7, 8));
    drop(to);
    for (source, to, code) in
        [("deep", "/x", 1), ("etc/group", "/no/such/x", 1), ("none", "/x", 1), ("pw", "/x/", 2)]
    {
        let out = rumpcap([OsString::from("cp"), from_path(source), at(&image, to)]);
        assert_eq!(out.status.code(), Some(code), "{source} {to}: {}", String::from_utf8_lossy(&out.stderr));
    }
    check(&image);
}

#[test]
fn archives_of_gnu_tar_are_extracted() {
    let Some(from) = mounted("tar-in") else { return };
    let directory = scratch("tar-in");
    let formats: [&[&str]; 3] = [
        &["--format=pax", "--sparse", "--sparse-version=1.0", "--xattrs", "--xattrs-include=*", "--acls"],
        &[
            "--format=pax",
            "--sparse",
            "--sparse-version=0.1",
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
            "--sort=inode",
        ],
        &["--format=gnu", "--sparse"],
    ];
    for (n, format) in formats.iter().enumerate() {
        let archive = directory.join(format!("{n}.tar"));
        let mut make = Command::new("tar");
        make.args(*format).args(["--numeric-owner", "--exclude=./dev/sock", "-cf"]).arg(&archive);
        assert!(make.args(["-C"]).arg(&from.root).arg(".").status().unwrap().success());
        let image = new_image(&directory, &format!("{n}.img"), VARIANTS[n]);
        assert_eq!(
            stdout([OsStr::new("tar"), "-x".as_ref(), "-f".as_ref(), archive.as_ref(), &at(&image, "")]),
            b""
        );
        check(&image);
        let to = Kernel::mount(&image, "ro,loop");
        if format[0] == "--format=pax" {
            assert_same_tree(&from.root, &to.0, &["/dev/sock"]);
            let sparse = fs::metadata(to.0.join("sparse")).unwrap();
            assert!(sparse.blocks() * 512 < 1 << 20, "holes are kept");
        } else {
            // The format has neither attributes nor parts of a second.
            for name in ["big", "sparse", "ends-with-data", "deep/far"] {
                assert!(
                    fs::read(from.root.join(name)).unwrap() == fs::read(to.0.join(name)).unwrap(),
                    "{name}"
                );
            }
        }
    }
}

/// An archive of our own, from a pipe, and one whose members want to go elsewhere.
#[test]
fn archives_stay_inside() {
    let Some(from) = mounted("tar-inside") else { return };
    let directory = scratch("tar-inside");
    let image = new_image(&directory, "i.img", &["-t", "ext4"]);
    stdout([OsStr::new("mkdir"), &at(&image, "/in")]);
    let mut out = Command::new(crate::fixture::RUMPCAP);
    let mut out =
        out.args(["tar", "--sorted"]).arg(at(&from.image, "/deep")).stdout(Stdio::piped()).spawn().unwrap();
    let mut into = Command::new(crate::fixture::RUMPCAP);
    let into =
        into.args(["tar", "-x"]).arg(at(&image, "/in")).stdin(out.stdout.take().unwrap()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&into.stderr), "");
    assert!(into.status.success() && out.wait().unwrap().success());

    let place = directory.join("evil");
    fs::create_dir_all(place.join("sub")).unwrap();
    fs::write(place.join("victim"), "bad").unwrap();
    std::os::unix::fs::symlink("/", place.join("root")).unwrap();
    let archive = directory.join("evil.tar");
    let name = archive.to_str().unwrap();
    // Names that lead up; a file below a link; a hard link to what is outside.
    model(&place, "tar", &["-cf", name, "root"]);
    model(&place, "tar", &["-rf", name, "--transform=s,victim,root/through,", "victim"]);
    model(&place, "tar", &["-rPf", name, "--transform=s,victim,../up,", "victim"]);
    model(&place, "tar", &["-rPf", name, "--transform=s,victim,/abs,", "victim"]);
    let out =
        rumpcap([OsStr::new("tar"), "-x".as_ref(), "-f".as_ref(), archive.as_ref(), &at(&image, "/in")]);
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(said.contains("root/through: not extracted: a file or link has its place"), "{said}");
    assert!(said.contains("../up: has a name that leads out"), "{said}");
    check(&image);
    let to = Kernel::mount(&image, "ro,loop");
    assert_same_tree(&from.root.join("deep"), &to.0.join("in/deep"), &["/far"]);
    let mut names: Vec<_> = fs::read_dir(&to.0).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["in", "lost+found"]);
    assert_eq!(fs::read(to.0.join("in/abs")).unwrap(), b"bad");
}

/// What a shell and `batch` both understand. Names that begin with `t-` keep their times.
const SCRIPT: &str = "\
mkdir -p a/b/c d
mkdir -m 1777 a/tmp
mkdir -m g+s a/group
mkdir a/group/below
touch a/b/file a/empty t-one t-two
touch -d '2020-02-03 04:05:06.789 +0100' t-one
touch -m -d @1234567890.5 t-two
touch -a -d @77 t-two
touch -c nothing
truncate -s 10000 a/b/file
truncate -s +5K a/b/file
truncate -s %4K a/b/file
truncate -s 0 a/empty
fallocate -l 300000 a/space
fallocate -o 4096 -l 8192 -p a/space
ln a/b/file a/hard
ln -s ../somewhere a/link
ln -sf elsewhere a/link
ln -s b a/to-b
ln -sfn c a/to-b
ln a/b/file a/b/c
mv a/empty a/renamed
mv a/renamed t-one d
mv d/t-one .
mv a/b/c d/c
chmod 4755 a/b/file
chmod -R u=rwX,go-w d
chmod g=u,+t a
chmod 755 a/group
chown 5:6 a/b/file
chown -R 1000:1001 d
chown -h 7 a/link
rm a/hard
mkdir -p gone/x/y
touch gone/x/z
rm -r gone
mkdir empty
rmdir empty
rm -f nothing
";

#[test]
fn a_script_does_what_a_shell_does_with_it() {
    let Some(_root) = mounted("script") else { return };
    let directory = scratch("script");
    for (n, variant) in VARIANTS.iter().take(2).enumerate() {
        let expected = new_image(&directory, &format!("{n}-kernel.img"), variant);
        let got = new_image(&directory, &format!("{n}-rumpcap.img"), variant);
        let kernel = Kernel::mount(&expected, "loop");
        model(&kernel.0, "sh", &["-ec", SCRIPT]);
        let script = directory.join("script");
        fs::write(&script, SCRIPT).unwrap();
        assert_eq!(stdout([OsStr::new("batch"), got.as_ref(), script.as_ref()]), b"");
        check(&got);
        let same_times = "find . ! -name 't-*' -exec touch -h -d @7 {} +";
        model(&kernel.0, "sh", &["-ec", same_times]);
        let mounted = Kernel::mount(&got, "loop");
        model(&mounted.0, "sh", &["-ec", same_times]);
        let atime = |root: &Path| fs::metadata(root.join("t-two")).unwrap().atime();
        assert_eq!((atime(&kernel.0), atime(&mounted.0)), (77, 77));
        assert_same_tree(&kernel.0, &mounted.0, &[]);
        let blocks = |root: &Path| fs::metadata(root.join("a/space")).unwrap().blocks();
        assert_eq!(blocks(&kernel.0), blocks(&mounted.0));
    }
}

#[test]
fn what_the_kernel_has_is_not_written() {
    let Some(_root) = mounted("in-use") else { return };
    let directory = scratch("in-use");
    let image = new_image(&directory, "used.img", &["-t", "ext4"]);
    let kernel = Kernel::mount(&image, "loop");
    let out = rumpcap([OsStr::new("mkdir"), &at(&image, "/x")]);
    assert_eq!(out.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&out.stderr).contains("in use by the kernel, by /dev/loop"));
    drop(kernel);
    stdout([OsStr::new("mkdir"), &at(&image, "/x")]);
    check(&image);
}

#[test]
fn attributes_are_set_and_removed() {
    let Some(_root) = mounted("xattr-set") else { return };
    let directory = scratch("xattr-set");
    let image = new_image(&directory, "x.img", &["-t", "ext4"]);
    let file = at(&image, "/f");
    stdout([OsStr::new("touch"), &file]);
    let set = |name: &str, value: &str| {
        stdout([OsStr::new("xattr"), "set".as_ref(), name.as_ref(), value.as_ref(), &file])
    };
    set("user.text", "a b\"c");
    set("user.hex", "0x00ff0a");
    set("user.base64", "0sAP8K");
    set("trusted.gone", "x");
    stdout([OsStr::new("xattr"), "remove".as_ref(), "trusted.gone".as_ref(), &file]);
    let again = rumpcap([OsStr::new("xattr"), "remove".as_ref(), "trusted.gone".as_ref(), &file]);
    assert_eq!(again.status.code(), Some(1));
    check(&image);
    let kernel = Kernel::mount(&image, "ro,loop");
    let get = |name: &str| xattr::get(kernel.0.join("f"), name).unwrap();
    assert_eq!(get("user.text").as_deref(), Some(&b"a b\"c"[..]));
    assert_eq!((get("user.hex"), get("user.base64")), (Some(vec![0, 255, 10]), Some(vec![0, 255, 10])));
    assert_eq!(get("trusted.gone"), None);
}

#[test]
fn the_image_itself_is_left_out() {
    let directory = scratch("self");
    let image = new_image(&directory, "self.img", &["-t", "ext4"]);
    fs::write(directory.join("other"), "x").unwrap();
    let mut all = directory.clone().into_os_string();
    all.push("/.");
    let out = rumpcap([OsString::from("cp"), "-r".into(), all, at(&image, "/")]);
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).ends_with("self.img: is the image itself; left out\n"));
    check(&image);
    assert_eq!(stdout([OsStr::new("cat"), &at(&image, "/other")]), b"x");
}
