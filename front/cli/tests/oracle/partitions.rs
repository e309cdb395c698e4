//! Disk images with partitions, made by sfdisk.

use crate::fixture::{rumpcap, scratch, tool};
use rumpcap_testing::skip::skip;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;

/// A disk of 32 MiB with partitions of 8 MiB from 1 MiB on, with a file system on those in `with`. `None`, with the reason printed,
/// where there is no sfdisk.
fn disk(name: &str, label: &str, with: &[u64]) -> Option<PathBuf> {
    let directory = scratch(name);
    let image = directory.join("disk.img");
    let file = fs::File::create(&image).unwrap();
    file.set_len(32 * MIB).unwrap();
    let mut sfdisk = match Command::new("sfdisk").arg("-q").arg(&image).stdin(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(e) => {
            skip(&format!("sfdisk: {e}"));
            return None;
        }
    };
    let script = format!("label: {label}\n1MiB,8MiB,L\n9MiB,8MiB,S\n17MiB,8MiB,L\n");
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success());
    for number in with {
        let part = file_system(&directory, *number);
        file.write_all_at(&fs::read(part).unwrap(), MIB + (number - 1) * 8 * MIB).unwrap();
    }
    Some(image)
}

fn file_system(directory: &Path, number: u64) -> PathBuf {
    let (tree, part) = (directory.join(format!("tree{number}")), directory.join(format!("part{number}")));
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("which"), format!("{number}\n")).unwrap();
    fs::File::create(&part).unwrap().set_len(8 * MIB).unwrap();
    tool(
        "mke2fs",
        &["-q".as_ref(), "-t".as_ref(), "ext4".as_ref(), "-d".as_ref(), tree.as_ref(), part.as_ref()],
    );
    part
}

fn cat(image: &Path, partition: &str) -> std::process::Output {
    let mut address = OsString::from(image);
    address.push(partition);
    address.push(":/which");
    rumpcap([OsStr::new("cat"), &address])
}

#[test]
fn a_partition_is_named_by_its_number() {
    for label in ["gpt", "dos"] {
        let Some(image) = disk(&format!("parts-{label}"), label, &[1, 3]) else { return };
        for number in ["1", "3"] {
            assert_eq!(cat(&image, &format!("@{number}")).stdout, format!("{number}\n").as_bytes());
        }
        let none = cat(&image, "");
        assert_eq!(none.status.code(), Some(2));
        let text = String::from_utf8_lossy(&none.stderr).into_owned();
        assert!(
            text.contains("disk.img@1 ") && text.contains("disk.img@3 ") && !text.contains("disk.img@2 "),
            "{text}"
        );
        assert_eq!(cat(&image, "@2").status.code(), Some(1));
        assert!(
            String::from_utf8_lossy(&cat(&image, "@7").stderr).contains("no partition 7; there are 1 2 3")
        );
        let offset = rumpcap([
            OsStr::new("--offset"),
            "17m".as_ref(),
            "cat".as_ref(),
            &crate::fixture::at(&image, "/which"),
        ]);
        assert_eq!(offset.stdout, b"3\n");
    }
}

#[test]
fn the_only_file_system_is_used() {
    let Some(image) = disk("parts-one", "gpt", &[3]) else { return };
    let out = cat(&image, "");
    assert_eq!(out.stdout, b"3\n", "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn info_shows_all_partitions() {
    let Some(image) = disk("parts-info", "gpt", &[1, 3]) else { return };
    let out = rumpcap([OsStr::new("info"), "--json".as_ref(), image.as_ref()]);
    let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let parts = info["partition_table"]["partitions"].as_array().unwrap();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[2]["start"], 17 * MIB);
    assert_eq!(parts[1]["bytes"], 8 * MIB);
    let systems = info["file_systems"].as_array().unwrap();
    assert_eq!((&systems[0]["partition"], &systems[1]["partition"]), (&1.into(), &3.into()));
    let text = rumpcap([OsStr::new("info"), image.as_ref()]);
    assert!(text.status.success() && String::from_utf8_lossy(&text.stdout).contains("partition 2:"));
}
