//! `find` against GNU find.

use crate::fixture::{model, mounted, stdout};
use std::collections::BTreeSet;
use std::ffi::OsString;

const EXPRESSIONS: &[&str] = &[
    "",
    "-type f",
    "-type d,l",
    "-type c -o -type b -o -type p -o -type s",
    "-name *a*",
    "-mindepth 1 -name .*",
    "-name e????",
    "-iname *ENTRY-00[0-4]?*",
    "-name [!a-m]*",
    "-path */deep/*",
    "-ipath */DEEP/*/B*",
    "-size 0",
    "-size +0 -size -10k",
    "-size 3M",
    "-size +1M",
    "-size 3c",
    "-size -4b",
    "-size 2w",
    "-perm 755",
    "-perm -4000",
    "-perm /222",
    "-perm u=rwx,go=rx",
    "-perm -u+w,g+r",
    "-perm /u+s,g+s,o+t",
    "-perm 0",
    "-perm -0",
    "-perm /0",
    "-uid 1000",
    "-uid +0",
    "-gid -60 -gid +0",
    "-uid 4000000000",
    "-empty",
    "-links +1",
    "-links 3 -type f",
    "-inum 2",
    "-mtime +100",
    "-mtime -1",
    "-mtime 0",
    "-mmin -10000000",
    "-mmin +10000000",
    "-maxdepth 0",
    "-maxdepth 1",
    "-mindepth 2 -maxdepth 3",
    "! -type d",
    "-not -name e*",
    "( -name e* -o -name d* ) -type d",
    "-type f -o -name e* -type d",
    "-true",
    "-false",
    "-false -o -true",
    "-name links -a -type d",
    "! ( -type f -a ! -name *9* )",
];

/// The paths that a NUL-separated list holds; the root is `/` in the image and `.` in the mount.
fn paths(list: &[u8], root: &[u8]) -> BTreeSet<Vec<u8>> {
    let relative = |path: &[u8]| path.strip_prefix(root).unwrap_or(path).to_vec();
    list.split(|b| *b == 0).filter(|p| !p.is_empty()).map(relative).collect()
}

#[test]
fn finds_what_gnu_find_finds() {
    let Some(m) = mounted("find") else { return };
    for expression in EXPRESSIONS {
        let words: Vec<&str> = expression.split_whitespace().collect();
        let mut ours: Vec<OsString> = vec!["find".into(), m.image.clone().into()];
        let mut theirs = vec!["."];
        if !words.is_empty() {
            ours.push("(".into());
            ours.extend(words.iter().map(OsString::from));
            ours.push(")".into());
            theirs.extend(["("].iter().chain(&words).chain(&[")"]));
        }
        ours.push("-print0".into());
        theirs.push("-print0");
        let got = paths(&stdout(&ours), b"/");
        let expected = paths(&model(&m.root, "find", &theirs), b"./");
        let expected =
            expected.into_iter().map(|p| if p == b"." { Vec::new() } else { p }).collect::<BTreeSet<_>>();
        let show = |set: &BTreeSet<Vec<u8>>| {
            set.iter().map(|p| String::from_utf8_lossy(p).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(show(&got), show(&expected), "{expression}");
    }
}

#[test]
fn json_gives_every_path_back() {
    let Some(m) = mounted("find-json") else { return };
    let image = m.image.to_str().unwrap();
    let objects: Vec<serde_json::Value> = serde_json::from_slice(&stdout(["find", "--json", image])).unwrap();
    let decoded: BTreeSet<Vec<u8>> = objects
        .iter()
        .map(|o| match o.get("path_hex").and_then(|h| h.as_str()) {
            Some(hex) => {
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
            }
            None => o["path"].as_str().unwrap().as_bytes().to_vec(),
        })
        .collect();
    let plain: BTreeSet<Vec<u8>> = stdout(["find", image, "-print0"])
        .split(|b| *b == 0)
        .filter(|p| !p.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    assert_eq!(decoded, plain);
    assert!(decoded.iter().any(|p| std::str::from_utf8(p).is_err()));
}

#[test]
fn quit_ends_the_search() {
    let Some(m) = mounted("find-quit") else { return };
    let out = stdout(["find", m.image.to_str().unwrap(), "-type", "d", "-print", "-quit"]);
    assert_eq!(out, b"/\n");
}
