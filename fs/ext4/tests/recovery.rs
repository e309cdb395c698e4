//! A file system that is still mounted by the kernel: its image, copied at that moment, holds in the journal what is not
//! yet in its place. Mounted here it shows what the kernel shows, and the copy stays as it is.

mod support;

use rumpcap_ext4::Options;
use rumpcap_host::Error;
use rumpcap_testing::skip::skip;
use rumpcap_vfs::FileSystem;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use support::{Image, Mounted, have_tools, noise};
use tempfile::TempDir;

/// A loop mount by the kernel, undone when dropped.
struct KernelMount(TempDir);

impl KernelMount {
    fn new(image: &Path) -> Option<KernelMount> {
        let point = TempDir::new().expect("a directory");
        let output = Command::new("mount").args(["-o", "loop"]).arg(image).arg(point.path()).output().ok()?;
        if !output.status.success() {
            skip("no loop mounts");
            return None;
        }
        Some(KernelMount(point))
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        let status = Command::new("umount").arg(self.0.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "it can be unmounted");
    }
}

/// Writes files through the kernel, each made durable by itself: their metadata go to the journal.
fn write_files(root: &Path) {
    std::fs::create_dir(root.join("dir")).expect("a directory");
    for n in 0..40usize {
        let mut file = File::create(root.join(format!("dir/file{n}"))).expect("a file");
        file.write_all(&noise(n as u64, n * 3000)).expect("written");
        file.sync_all().expect("durable");
    }
    for n in 0..40usize {
        if n % 3 == 0 {
            std::fs::remove_file(root.join(format!("dir/file{n}"))).expect("removed");
        }
    }
    File::create(root.join("last")).and_then(|file| file.sync_all()).expect("durable");
}

fn content_of(mounted: &Mounted, names: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let mut node = mounted.node(mounted.fs.root().0)?;
    for name in names {
        let ino = mounted.fs.lookup(&mounted.reserve(), &node, name)?;
        node = mounted.node(ino.0)?;
    }
    mounted.content(&node)
}

#[test]
fn a_journal_is_replayed_and_the_image_untouched() {
    if !have_tools() {
        return;
    }
    for arguments in
        [&["-t", "ext3", "-b", "1024"], &["-t", "ext4", "-b", "4096"], &["-t", "ext4", "-b", "1024"]]
    {
        let image = Image::make(arguments, "64M", None);
        let copy = TempDir::new().expect("a directory");
        let copy_path = copy.path().join("image");
        {
            let Some(kernel) = KernelMount::new(&image.path()) else { return };
            write_files(kernel.0.path());
            std::fs::copy(image.path(), &copy_path).expect("copied");
        }
        let before = std::fs::read(&copy_path).expect("it can be read");
        let mounted =
            support::mount_path(&copy_path, &Options::default()).expect("the journal can be replayed");
        for n in 0..40usize {
            let name = format!("file{n}");
            let expected = if n % 3 == 0 { Err(Error::NotFound) } else { Ok(noise(n as u64, n * 3000)) };
            assert!(content_of(&mounted, &[b"dir", name.as_bytes()]) == expected, "{name} of {arguments:?}");
        }
        assert_eq!(content_of(&mounted, &[b"last"]), Ok(Vec::new()));
        let done = mounted.fs.recovery().expect("there was something to replay");
        assert!(done.was_dirty && done.transactions > 0 && done.blocks_replayed > 0, "{done:?}");
        let info = mounted.fs.info(&mounted.reserve()).expect("the super block can be read");
        assert!(info.warnings[0].contains("journal was replayed"), "{:?}", info.warnings);
        let free = mounted.fs.stat_fs(&mounted.reserve()).expect("descriptors can be read");
        assert!(free.inodes_free < u64::from(mounted.fs.super_block().inodes_count) - 11 - 26);
        drop(mounted);
        assert!(before == std::fs::read(&copy_path).expect("it can be read"), "the image was written to");

        let ignoring = Options { ignore_journal: true, ..Options::default() };
        let stale = support::mount_path(&copy_path, &ignoring).expect("it is whole without its journal");
        assert_eq!(content_of(&stale, &[b"last"]), Err(Error::NotFound), "nothing was in the journal only");
        let info = stale.fs.info(&stale.reserve()).expect("the super block can be read");
        assert!(info.warnings[0].contains("was ignored"), "{:?}", info.warnings);
    }
}

#[test]
fn an_overlay_needs_its_directory() {
    if !have_tools() {
        return;
    }
    let image = Image::make(&["-t", "ext4", "-O", "^metadata_csum"], "16M", None);
    let word = image.bytes(1024 + 0x60, 1)[0];
    image.patch(1024 + 0x60, &[word | 0x4]);
    let nowhere = Options { temporary_directory: Some("/nowhere/at/all".into()), ..Options::default() };
    assert_eq!(image.try_mount(&nowhere).err(), Some(Error::NotFound));
    assert!(image.try_mount(&Options::default()).is_ok(), "a journal that is empty");
}
