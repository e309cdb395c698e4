//! Names that come, go and move: on images of mke2fs, against a model, judged by e2fsck and by the host's kernel.
#![allow(clippy::unwrap_used)]

mod cursors;
mod hostile;
mod large;
mod model;
mod special;
mod walk;
mod world;

use rumpcap_testing::loop_mount::{LoopMount, available};
use rumpcap_testing::skip::skip;
use rumpcap_vfs::Change;
use walk::Walk;
use world::{Image, NOW, have_tools};

/// Kinds of file systems; each with what its directories are.
const KINDS: &[&[&str]] = &[
    &["-t", "ext4"],
    &["-t", "ext4", "-b", "1024", "-O", "^has_journal"],
    &["-t", "ext4", "-b", "2048", "-O", "^metadata_csum,large_dir"],
    &["-t", "ext4", "-b", "1024", "-O", "^dir_index"],
    &["-t", "ext4", "-b", "1024", "-I", "128", "-O", "^extent,^64bit"],
    &["-t", "ext4", "-O", "inline_data"],
    &["-t", "ext4", "-b", "4096", "-I", "1024", "-O", "inline_data,^metadata_csum"],
    &["-t", "ext3", "-b", "1024"],
    &["-t", "ext2", "-b", "1024", "-O", "^filetype"],
    &["-t", "ext2", "-b", "2048", "-O", "^dir_index"],
];

const TOP: &[u8] = b"top";

fn walk(arguments: &[&str], size: &str, seed: u64, steps: usize, limit_bytes: u64) -> usize {
    let mut full = 0;
    let what = format!("{arguments:?}, seed {seed}");
    println!("{what}");
    let image = Image::make(arguments, size);
    let mounted = image.mount(limit_bytes);
    let before = mounted.stat_fs();
    let mut walk = Walk::begin(mounted, TOP, seed, false);
    for (round, growth) in [90, 60, 30].into_iter().enumerate() {
        for _ in 0..steps {
            walk.step(growth);
        }
        walk.model.compare(&walk.mounted);
        if round == 1 && image.has_journal() {
            // The power goes: the next mount recovers, and ends what has no name.
            walk.mounted.fs.sync(&walk.mounted.r(), NOW).unwrap();
            walk.mounted = image.mount(limit_bytes);
        } else {
            walk.end_all_nameless();
        }
        full += walk.full;
        let Walk { mounted, model, .. } = walk;
        mounted.unmount();
        image.check(&format!("{what}, round {round}"));
        if available() {
            let host = LoopMount::new(&image.path(), "ro").unwrap();
            model.compare_host(&host.join("top"));
        }
        let mounted = image.mount(limit_bytes);
        model.compare(&mounted);
        walk = Walk::go_on(mounted, model, seed * 100 + round as u64);
    }
    walk.remove_all(TOP);
    let after = walk.mounted.stat_fs();
    assert_eq!((after.blocks_free, after.inodes_free), (before.blocks_free, before.inodes_free), "{what}");
    walk.mounted.unmount();
    image.check(&format!("{what}, at the end"));
    full
}

#[test]
fn as_a_model_does() {
    if !have_tools() {
        return;
    }
    if !available() {
        skip("no loop mounts: the host's kernel is not asked");
    }
    let steps = std::env::var("RUMPCAP_NAMES_STEPS").ok().and_then(|n| n.parse().ok()).unwrap_or(800);
    for (number, kind) in KINDS.iter().enumerate() {
        let limit = if number % 2 == 0 { 256 << 10 } else { 4 << 20 };
        assert_eq!(walk(kind, "48M", 7 + number as u64, steps, limit), 0);
    }
}

#[test]
fn what_finds_no_space_has_done_nothing() {
    if !have_tools() {
        return;
    }
    for seed in 0..3 {
        // Few inodes, then few blocks.
        assert!(walk(&["-t", "ext4", "-b", "1024", "-N", "128"], "8M", seed, 400, 256 << 10) > 0);
        assert!(walk(&["-t", "ext4", "-b", "1024", "-O", "^has_journal"], "1M", seed, 400, 1 << 20) > 0);
        assert!(walk(&["-t", "ext2", "-b", "1024"], "1M", seed, 400, 256 << 10) > 0);
    }
}
