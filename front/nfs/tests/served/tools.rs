//! libnfs's tools, as anybody would use them, without root.

use crate::support::{Place, Served, options};
use rumpcap_nfs::{Options, Squash, Writes};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, exists, run};

#[test]
fn libnfs_lists_reads_and_copies() {
    if !exists("nfs-ls") || !exists("nfs-cp") || !exists("nfs-cat") {
        return skip("libnfs-utils is not there");
    }
    let tree = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..1_000_000u32).map(|i| (i % 253) as u8).collect();
    std::fs::create_dir(tree.path().join("dir")).unwrap();
    std::fs::write(tree.path().join("dir/file"), &content).unwrap();
    let place = Place::from_tree(32, &[], Some(tree.path()));
    let served = Served::start(&place, Options { squash: Squash::None, ..options(Writes::Served) });
    let port = served.address.port();
    let url = |path: &str| format!("nfs://127.0.0.1{path}?nfsport={port}&mountport={port}");
    let listing = String::from_utf8(run(command("nfs-ls").args(["-R", &url("/")]))).unwrap();
    assert!(listing.lines().any(|line| line.contains("1000000") && line.ends_with("dir/file")), "{listing}");
    assert!(run(command("nfs-cat").arg(url("/dir/file"))) == content);
    let copy = tree.path().join("copy");
    std::fs::write(&copy, &content[..777_777]).unwrap();
    run(command("nfs-cp").arg(&copy).arg(url("/dir/copy")));
    served.stop();
    place.fsck();
    assert!(place.debugfs("cat /dir/copy") == content[..777_777]);
}
