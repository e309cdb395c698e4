//! `du` and `df` against coreutils.

use crate::fixture::{Mounted, at, model, mounted, scratch, sorted_lines, stdout, tool};
use std::ffi::{OsStr, OsString};

/// Which name of a file with several is counted depends on the order of the visit, which is nobody's promise. So lines are compared
/// below directories without such files, and sums where all names are.
#[test]
fn du_sums_as_gnu_du_does() {
    let Some(m) = mounted("du") else { return };
    let below = ["deep/a", "many", "names", "dev", "locked", "empty"];
    for options in ["-a", "-d1", "-d0", "-ab", "-sh", "-c", "--apparent-size", "-sb", "-h", "-ah", "-ad2"] {
        compare(&m, options, &below);
    }
    for options in ["-s", "-sh", "-sb", "-s --apparent-size", "-sc"] {
        compare(&m, options, &["."]);
        compare(&m, options, &["etc", "big"]);
    }
}

fn compare(m: &Mounted, options: &str, paths: &[&str]) {
    let options: Vec<&str> = options.split(' ').collect();
    let mut args: Vec<OsString> = vec!["du".into()];
    args.extend(options.iter().map(OsString::from));
    args.extend(paths.iter().map(|p| at(&m.image, p.trim_start_matches('.'))));
    let ours = String::from_utf8_lossy(&stdout(&args)).replace("\t/", "\t");
    let theirs = model(&m.root, "du", &[&options[..], paths].concat());
    let theirs = String::from_utf8_lossy(&theirs).replace("\t.\n", "\t\n");
    let (ours, theirs) = (sorted_lines(ours.as_bytes()), sorted_lines(theirs.as_bytes()));
    let only = |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>();
    assert_eq!((only(&ours, &theirs), only(&theirs, &ours)), (vec![], vec![]), "{options:?} {paths:?}");
    assert_eq!(ours.len(), theirs.len(), "{options:?} {paths:?}");
}

#[test]
fn every_directory_comes_behind_what_is_in_it() {
    let Some(m) = mounted("du-order") else { return };
    let out = String::from_utf8_lossy(&stdout(["du", "-a", m.image.to_str().unwrap()])).into_owned();
    let paths: Vec<&str> = out.lines().filter_map(|l| l.split_once('\t').map(|(_, p)| p)).collect();
    assert_eq!(paths.last(), Some(&"/"));
    let place = |path: &str| paths.iter().position(|p| *p == path).unwrap();
    assert!(place("/deep/a/b/c/d/file") < place("/deep/a/b/c/d"));
    assert!(place("/deep/a") < place("/deep"));
}

#[test]
fn json_sizes_are_bytes() {
    let Some(m) = mounted("du-json") else { return };
    let out = stdout(["du", "--json", "-s", m.image.to_str().unwrap()]);
    let json: serde_json::Value = serde_json::from_slice(&out).unwrap();
    let theirs = String::from_utf8(model(&m.root, "du", &["-s", "-B1", "."])).unwrap();
    assert_eq!(json[0]["bytes"].as_u64().unwrap().to_string(), theirs.split_once('\t').unwrap().0);
}

#[test]
fn df_shows_what_the_kernel_shows() {
    let Some(m) = mounted("df") else { return };
    let fields = |text: Vec<u8>, skip: usize| {
        let text = String::from_utf8(text).unwrap();
        text.lines()
            .nth(1)
            .unwrap()
            .split_whitespace()
            .skip(skip)
            .take(4)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    for options in [&["df"][..], &["df", "-i"]] {
        let ours = stdout(options.iter().copied().chain([m.image.to_str().unwrap()]));
        let theirs = model(&m.root, options[0], &[&options[1..], &["."]].concat());
        assert_eq!(fields(ours, 2), fields(theirs, 1), "{options:?}");
    }
}

/// Without the feature `filetype` a directory does not say which of its entries are directories, and the walk takes another order.
#[test]
fn directories_without_types_are_summed_up_too() {
    let directory = scratch("du-no-filetype");
    let tree = directory.join("tree");
    for sub in ["a/b/c", "a/d", "e/f", "empty"] {
        std::fs::create_dir_all(tree.join(sub)).unwrap();
        std::fs::write(tree.join(sub).join("file"), "x").unwrap();
    }
    std::fs::remove_file(tree.join("empty/file")).unwrap();
    let image = directory.join("small.img");
    std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let features = OsStr::new("^filetype");
    tool(
        "mke2fs",
        &[
            "-q".as_ref(),
            "-t".as_ref(),
            "ext2".as_ref(),
            "-O".as_ref(),
            features,
            "-d".as_ref(),
            tree.as_ref(),
            image.as_ref(),
        ],
    );
    let paths = |out: Vec<u8>| {
        sorted_lines(&out).into_iter().map(|l| l.split('\t').nth(1).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut du = paths(stdout([OsStr::new("du"), image.as_ref()]));
    let mut find: Vec<String> =
        sorted_lines(&stdout([OsStr::new("find"), image.as_ref(), "-type".as_ref(), "d".as_ref()]));
    du.sort();
    find.sort();
    assert_eq!(du, find);
    let sums =
        String::from_utf8(stdout([OsStr::new("du"), "-a".as_ref(), at(&image, "/a").as_ref()])).unwrap();
    let place = |path: &str| sums.lines().position(|l| l.ends_with(&format!("\t{path}"))).unwrap();
    assert!(
        place("/a/b/c/file") < place("/a/b/c")
            && place("/a/b/c") < place("/a/b")
            && place("/a/d") < place("/a")
    );
    let sum = |path: &str| {
        sums.lines().nth(place(path)).unwrap().split('\t').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(
        sum("/a") > sum("/a/b") && sum("/a/b") > sum("/a/b/c") && sum("/a/b/c") > sum("/a/b/c/file"),
        "{sums}"
    );
}
