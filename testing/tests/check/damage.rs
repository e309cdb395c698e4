//! Images with seeded damage: where e2fsck finds something, so does the check; it ends, whatever the damage.

use crate::support::{Agreement, e2fsck, ours};
use rumpcap::block::BlockDevice;
use rumpcap_testing::corrupt::Base;
use rumpcap_testing::images::{Kind, Spec, Step, Tree, build, cache};
use rumpcap_testing::skip;
use rumpcap_testing::watchdog::Watchdog;
use std::sync::Arc;
use std::time::Duration;

/// Damaged images of each base that are compared, and that are only run.
const COMPARED: u64 = 20;
const RUN: u64 = 60;
const HANGS: Duration = Duration::from_secs(60);

fn small(name: &'static str, kind: Kind) -> Spec {
    Spec::new(name, kind).tree(Tree::Small).size(8).block(1024)
}

pub fn bases() -> Vec<Base> {
    let specs = [
        small("corrupt-ext2", Kind::Ext2).inode(128),
        small("corrupt-ext3", Kind::Ext3),
        small("corrupt-ext4-1k", Kind::Ext4),
        small("corrupt-ext4-4k", Kind::Ext4).block(4096).size(16),
        small("corrupt-no-csum", Kind::Ext4).features("^metadata_csum"),
        small("corrupt-uninit", Kind::Ext4).features("uninit_bg,^metadata_csum"),
        small("corrupt-inline", Kind::Ext4).features("inline_data,ea_inode"),
        small("corrupt-inline-no-csum", Kind::Ext4).features("inline_data,ea_inode,^metadata_csum"),
        small("corrupt-meta-bg", Kind::Ext4).features("meta_bg,^resize_inode").arguments("-g 1024"),
        small("corrupt-bigalloc", Kind::Ext4).features("bigalloc").arguments("-C 4096"),
    ];
    let casefold = Spec::new("corrupt-casefold", Kind::Ext4)
        .tree(Tree::Casefold)
        .size(8)
        .block(1024)
        .features("casefold")
        .extended("encoding=utf8")
        .by_mke2fs()
        .after(Step::Debugfs("sif /fold flags 0x40080000"))
        .after(Step::Debugfs("sif /many flags 0x40080000"))
        .after(Step::Fsck("-D"));
    specs.iter().chain([&casefold]).map(|spec| Base::load(spec.name, &spec.image())).collect()
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

#[test]
fn where_e2fsck_finds_something_so_does_the_check() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("damaged.img");
    let (bases, count) = (bases(), number("RUMPCAP_CHECK_COUNT", COMPARED));
    let chosen = std::env::var("RUMPCAP_CHECK_SEED").ok();
    let mut agreement = Agreement::default();
    for base in &bases {
        for seed in 0..count {
            let name = format!("{}:{seed}", base.name);
            if chosen.as_ref().is_some_and(|chosen| *chosen != name) {
                continue;
            }
            let (image, damage) = base.damage(seed);
            // What is cut off is not there to be checked: the mount says so.
            if image.len_bytes() < base.bytes().len() as u64 {
                continue;
            }
            std::fs::write(&path, image.to_bytes()).expect("writing an image");
            let theirs = e2fsck(&path);
            let (found, _) = ours(Arc::new(image), 512 << 10);
            if chosen.is_some() {
                println!("{damage:#?}\ne2fsck: {:#?}\nours: {:#?}", theirs.lines, found.lines);
                std::fs::copy(&path, cache::directory().join("chosen.img")).expect("keeping an image");
            }
            agreement.add(&format!("{name} {:?}", damage.changes), &theirs, &found);
        }
    }
    agreement.print();
    assert!(agreement.only_ours.is_empty(), "found on what e2fsck calls clean: {:#?}", agreement.only_ours);
}

/// At the smallest limit that a check promises, whatever the damage: no panic, no hang.
#[test]
fn a_check_of_damaged_images_ends() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let watchdog = Watchdog::new(1, HANGS);
    let count = number("RUMPCAP_CHECK_RUN", RUN);
    let (mut found, mut total) = (0_u64, 0_u64);
    for base in &bases() {
        for seed in 1_000_000..1_000_000 + count {
            watchdog.begin(0, format!("{}:{seed}", base.name));
            let (image, _) = base.damage(seed);
            found += u64::from(!ours(Arc::new(image), 512 << 10).0.is_clean);
            total += 1;
            watchdog.end(0);
        }
    }
    println!("{total} images, {found} with findings");
    assert!(found > total / 2, "hardly any damage was noticed: {found} of {total}");
}
