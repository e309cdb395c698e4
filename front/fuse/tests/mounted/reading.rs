//! A mount that is read shows what the kernel's shows.

use crate::fixture::{Fuse, assert_same, check, image, is_possible, seen};
use rumpcap::Access;
use rumpcap_testing::loop_mount::LoopMount;
use rumpcap_testing::tools::{command, output, run};
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};

const TREE: &str = "set -e; cd \"$1\"
mkdir -p many deep/a/b/c
i=0; while [ $i -lt 3000 ]; do : > many/a-name-of-some-length-$i; i=$((i+1)); done
seq 1 200000 > long; head -c 70 /dev/zero > short; ln -s ../long deep/link; ln long deep/hard
truncate -s 5M sparse; printf x | dd of=sparse bs=1 seek=3000000 conv=notrunc 2>/dev/null
mkfifo pipe; mknod dev c 5 300; chmod 6751 short; chown 12:34 short
setfattr -n user.colour -v blue long; setfattr -n trusted.t -v t long; setfacl -m u:7:rw,g:8:r short
ln -s $(printf 'l%.0s' $(seq 1 300)) long-link; touch -d '1912-06-23 01:02:03.5' deep/a";

#[test]
fn the_tree_is_the_kernels() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for (n, options) in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"]].iter().enumerate() {
        let image = image(directory.path(), &format!("{n}.img"), options);
        let kernel = LoopMount::new(&image, "").unwrap();
        run(command("sh").args(["-c", TREE, "sh"]).arg(kernel.path()));
        drop(kernel);
        let kernel = LoopMount::new(&image, "ro").unwrap();
        let fuse = Fuse::mount(&image, Access::Read, 512 << 10);
        let what = "%p %i %s %b %T@ %C@ %A@";
        assert_same(&seen(&fuse.root, what), &seen(kernel.path(), what), options[1]);
        // Listed once with attributes and once without; all of a directory that takes many requests.
        for _ in 0..2 {
            assert_eq!(fs::read_dir(fuse.root.join("many")).unwrap().count(), 3000);
        }
        let (ours, theirs) = (fs::metadata(fuse.root.join("dev")), fs::metadata(kernel.join("dev")));
        assert_eq!(ours.unwrap().rdev(), theirs.unwrap().rdev());
        let sizes = |root: &std::path::Path| {
            output(command("stat").args(["-f", "-c", "%b %c %S %l"]).arg(root)).stdout
        };
        assert_eq!(sizes(&fuse.root), sizes(kernel.path()));
        assert_eq!(fuse.kernel.memory_report().stuck, 0);
        fuse.end();
        drop(kernel);
        check(&image);
    }
}

#[test]
fn a_mount_that_is_read_is_not_written() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "ro.img", &["-t", "ext4"]);
    let before = fs::read(&image).unwrap();
    let fuse = Fuse::mount(&image, Access::Read, 512 << 10);
    let errno = |result: std::io::Result<()>| result.unwrap_err().raw_os_error().unwrap();
    assert_eq!(errno(fs::write(fuse.root.join("new"), "x")), 30);
    assert_eq!(errno(fs::create_dir(fuse.root.join("new"))), 30);
    assert_eq!(errno(fs::remove_dir(fuse.root.join("lost+found"))), 30);
    assert_eq!(errno(fs::rename(fuse.root.join("lost+found"), fuse.root.join("found"))), 30);
    fuse.end();
    assert_eq!(fs::read(&image).unwrap(), before);
}

#[test]
fn many_read_at_once_in_little_memory() {
    if !is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let image = image(directory.path(), "many.img", &["-t", "ext4"]);
    let kernel = LoopMount::new(&image, "").unwrap();
    for n in 0..16_u8 {
        fs::write(kernel.join(n.to_string()), vec![n; 600_000]).unwrap();
    }
    drop(kernel);
    let fuse = Fuse::mount(&image, Access::Read, 512 << 10);
    std::thread::scope(|scope| {
        for n in 0..16_u8 {
            let path = fuse.root.join(n.to_string());
            scope.spawn(move || {
                let file = fs::File::open(path).unwrap();
                let mut piece = [0; 3001];
                for offset in (0..600_000).step_by(40_009) {
                    let len = file.read_at(&mut piece, offset).unwrap();
                    assert!(len > 0 && piece[..len].iter().all(|byte| *byte == n));
                }
            });
        }
    });
    fuse.end();
}
