//! Images that debugfs has cut into: consistent but for one thing, with right checksums.

use crate::support::{Agreement, e2fsck, ours};
use rumpcap::block::FileDevice;
use rumpcap::{Kernel, MountOptions};
use rumpcap_testing::images::{Kind, Spec, Tree, build, cache};
use rumpcap_testing::seed::Random;
use rumpcap_testing::skip;
use rumpcap_testing::tools::{DebugfsMode, debugfs};
use std::path::Path;
use std::sync::Arc;

/// Cuts of each image.
const CUTS: u64 = 12;

fn specs() -> Vec<Spec> {
    let small = |name, kind| Spec::new(name, kind).tree(Tree::Small).size(8).block(1024);
    vec![
        small("corrupt-ext3", Kind::Ext3),
        small("corrupt-ext4-1k", Kind::Ext4),
        small("corrupt-no-csum", Kind::Ext4).features("^metadata_csum"),
        small("corrupt-inline", Kind::Ext4).features("inline_data,ea_inode"),
        small("corrupt-bigalloc", Kind::Ext4).features("bigalloc").arguments("-C 4096"),
    ]
}

/// Inodes, and paths that debugfs can take.
struct Targets {
    inodes: Vec<u64>,
    paths: Vec<String>,
    directories: Vec<String>,
    blocks: u64,
}

fn targets(image: &Path) -> Targets {
    let kernel = Kernel::builder().memory_limit(4 << 20).boot().expect("booting");
    let device = Arc::new(FileDevice::open(image).expect("opening"));
    let mount = kernel.mount(device, &MountOptions::default()).expect("mounting");
    let mut targets = Targets { inodes: Vec::new(), paths: Vec::new(), directories: Vec::new(), blocks: 0 };
    targets.blocks = mount.stat_fs().expect("sizes").blocks;
    let mut walk = mount.walk("/").expect("a walk");
    while let Some(entry) = walk.next_entry().expect("no errors") {
        targets.inodes.push(entry.metadata().ino());
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
        let path = entry.path().to_string_lossy().into_owned();
        if path.chars().all(is_plain) && path.len() > 1 {
            if entry.metadata().is_dir() {
                targets.directories.push(path.clone());
            }
            targets.paths.push(path);
        }
    }
    targets
}

const FIELDS: &[(&str, u64)] = &[
    ("links_count", 70_000),
    ("size", 1 << 34),
    ("blocks", 5000),
    ("flags", 1 << 31),
    ("mode", 0xFFFF),
    ("dtime", 1 << 31),
    ("file_acl", 9000),
    ("block[0]", 9000),
    ("block[1]", 9000),
    ("block[2]", 9000),
    ("block[5]", 9000),
    ("faddr", 3),
    ("generation", 1 << 31),
    ("extra_isize", 160),
    ("uid", 1000),
    ("mtime", 1 << 31),
];

/// One line for debugfs.
fn cut(targets: &Targets, random: &mut Random) -> String {
    let ino = *random.pick(&targets.inodes);
    let path = random.pick(&targets.paths).clone();
    let block = 1 + random.below(targets.blocks - 1);
    match random.below(16) {
        0..=3 => {
            let (field, most) = *random.pick(FIELDS);
            let value = if random.one_in(2) { random.below(20) } else { random.below(most) };
            format!("sif <{ino}> {field} {value}")
        }
        4 => format!("clri <{ino}>"),
        5 => format!("freeb {block} {}", 1 + random.below(5)),
        6 => format!("setb {block} {}", 1 + random.below(5)),
        7 => format!("unlink {path}"),
        8 => format!("link <{ino}> {}/new", random.pick(&targets.directories)),
        9 => format!("freei <{ino}>"),
        10 => format!("seti <{}>", 12 + random.below(1500)),
        11 => {
            let field = *random.pick(&[
                "free_blocks_count",
                "free_inodes_count",
                "used_dirs_count",
                "itable_unused",
                "flags",
            ]);
            format!("set_bg 0 {field} {}", random.below(900))
        }
        12 => {
            let field = *random.pick(&[
                "free_blocks_count",
                "free_inodes_count",
                "r_blocks_count",
                "first_ino",
                "last_orphan",
                "reserved_gdt_blocks",
                "journal_inum",
                "hash_seed",
                "inodes_count",
            ]);
            format!("ssv {field} {}", random.below(40))
        }
        13 => format!("ea_set {path} user.cut some-value"),
        14 => format!("rm {path}"),
        _ => format!("punch {path} 0 {}", random.below(3)),
    }
}

#[test]
fn what_debugfs_breaks_is_found() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let count = std::env::var("RUMPCAP_CHECK_COUNT").ok().and_then(|n| n.parse().ok()).unwrap_or(CUTS);
    let chosen = std::env::var("RUMPCAP_CHECK_SEED").ok();
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("cut.img");
    let mut agreement = Agreement::default();
    for spec in specs() {
        let image = spec.image();
        let targets = targets(&image);
        for seed in 0..count {
            let name = format!("{}:{seed}", spec.name);
            if chosen.as_ref().is_some_and(|chosen| *chosen != name) {
                continue;
            }
            let mut random = Random::new(seed);
            let lines: Vec<String> = (0..=random.below(2)).map(|_| cut(&targets, &mut random)).collect();
            std::fs::copy(&image, &path).expect("copying an image");
            debugfs(&path, DebugfsMode::Write, &lines);
            let theirs = e2fsck(&path);
            let (found, _) = ours(Arc::new(FileDevice::open(&path).expect("opening")), 512 << 10);
            if chosen.is_some() {
                println!("{lines:#?}\ne2fsck: {:#?}\nours: {:#?}", theirs.lines, found.lines);
                std::fs::copy(&path, cache::directory().join("chosen.img")).expect("keeping an image");
            }
            agreement.add(&format!("{name} {lines:?}"), &theirs, &found);
        }
    }
    agreement.print();
    assert!(agreement.only_ours.is_empty(), "found on what e2fsck calls clean: {:#?}", agreement.only_ours);
}
