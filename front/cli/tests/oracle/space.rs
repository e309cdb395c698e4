//! `du` and `df` against coreutils.

use crate::fixture::{model, mounted, sorted_lines, stdout};

/// `./x` and `.` of the mount as `/x` and `/` of the image.
fn from_root(lines: Vec<String>) -> Vec<String> {
    let line = |l: String| match l.strip_suffix("\t.") {
        Some(size) => format!("{size}\t/"),
        None => l.replace("\t./", "\t/"),
    };
    let mut lines: Vec<String> = lines.into_iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn du_sums_as_gnu_du_does() {
    let Some(m) = mounted("du") else { return };
    for options in
        ["-a", "-s", "-d1", "-d0", "-ab", "-sh", "-c", "--apparent-size", "-sb", "-h", "-ah", "-ad2"]
    {
        let ours = stdout(["du", options, m.image.to_str().unwrap()]);
        let theirs = model(&m.root, "du", &[options, "."]);
        let (ours, theirs) = (sorted_lines(&ours), from_root(sorted_lines(&theirs)));
        let only =
            |a: &[String], b: &[String]| a.iter().filter(|l| !b.contains(l)).cloned().collect::<Vec<_>>();
        assert_eq!((only(&ours, &theirs), only(&theirs, &ours)), (vec![], vec![]), "{options}");
        assert_eq!(ours.len(), theirs.len(), "{options}");
    }
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
