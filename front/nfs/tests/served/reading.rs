//! What clients see of an image that is served to be read.

use crate::support::{Client, Place, Served, mount, now, options, result, user};
use nfs3_client::MountClient;
use nfs3_client::nfs3_types::nfs3::*;
use nfs3_client::nfs3_types::rpc::opaque_auth;
use rumpcap_nfs::{Options, Writes};
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, symlink};

/// A tree of the host with some of everything, in an image.
fn filled() -> (tempfile::TempDir, Place) {
    let tree = tempfile::tempdir().unwrap();
    let at = |path: &str| tree.path().join(path);
    std::fs::create_dir_all(at("sub/deeper")).unwrap();
    let content: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(at("sub/content"), &content).unwrap();
    std::fs::write(at("sub/deeper/small"), b"small\n").unwrap();
    std::fs::write(at("empty"), b"").unwrap();
    symlink("sub/content", at("link")).unwrap();
    std::fs::hard_link(at("empty"), at("second")).unwrap();
    std::fs::create_dir(at("many")).unwrap();
    for i in 0..1_500 {
        std::fs::write(
            at(&format!("many/a rather long name, so that there is more than one block {i:05}")),
            b"",
        )
        .unwrap();
    }
    let place = Place::from_tree(32, &[], Some(tree.path()));
    (tree, place)
}

#[test]
fn attributes_and_content_are_those_of_the_tree() {
    let (tree, place) = filled();
    let served = Served::start(&place, options(Writes::Refused));
    let mut client = Client::new(served.address, user(0, 0, &[]));
    for path in ["sub", "sub/content", "sub/deeper/small", "empty", "second", "link"] {
        let file = client.path(path).unwrap();
        let (seen, there) =
            (client.attributes(&file).unwrap(), tree.path().join(path).symlink_metadata().unwrap());
        assert_eq!(seen.mode, there.mode() & 0o7777, "{path}");
        assert_eq!(
            (seen.uid, seen.gid, seen.nlink),
            (there.uid(), there.gid(), there.nlink() as u32),
            "{path}"
        );
        if !there.is_dir() {
            assert_eq!(seen.size, there.size(), "{path}");
        }
        assert_eq!(i64::from(seen.mtime.seconds), there.mtime(), "{path}");
        if there.is_file() {
            assert_eq!(client.read_all(&file).unwrap(), std::fs::read(tree.path().join(path)).unwrap());
        }
    }
    let link = client.path("link").unwrap();
    let target = result(now(client.nfs.readlink(&READLINK3args { symlink: link.clone() })).unwrap()).unwrap();
    assert_eq!(target.data.as_ref(), b"sub/content");
    assert_eq!(client.read(&link, 0, 10).unwrap_err(), nfsstat3::NFS3ERR_INVAL);
    let sub = client.path("sub").unwrap();
    assert_eq!(client.read(&sub, 0, 10).unwrap_err(), nfsstat3::NFS3ERR_ISDIR);
    assert_eq!(client.path("sub/none").unwrap_err(), nfsstat3::NFS3ERR_NOENT);
    assert_eq!(client.path("empty/below").unwrap_err(), nfsstat3::NFS3ERR_NOTDIR);
    assert_eq!(client.lookup(&sub, &"n".repeat(256)).unwrap_err(), nfsstat3::NFS3ERR_NAMETOOLONG);
}

#[test]
fn reads_end_where_files_do() {
    let (_tree, place) = filled();
    let served = Served::start(&place, options(Writes::Refused));
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let file = client.path("sub/content").unwrap();
    for (offset, count, len, eof) in [
        (0, 1, 1, false),
        (299_999, 1, 1, true),
        (299_990, 100, 10, true),
        (300_000, 5, 0, true),
        (1 << 40, 5, 0, true),
        (u64::MAX, u32::MAX, 0, true),
        (3, 70_001, 65_536, false),
        (0, u32::MAX, 65_536, false),
        (7, 0, 0, false),
    ] {
        let part = client.read(&file, offset, count).unwrap();
        assert_eq!((part.count, part.eof), (len, eof), "{count} at {offset}");
        let expected: Vec<u8> = (0..u64::from(len)).map(|i| ((offset + i) % 251) as u8).collect();
        assert_eq!(part.data.as_ref(), expected, "{count} at {offset}");
    }
}

#[test]
fn listings_are_whole_whatever_size_is_asked_for() {
    let (tree, place) = filled();
    let served = Served::start(&place, options(Writes::Refused));
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let many = client.path("many").unwrap();
    let there = std::fs::read_dir(tree.path().join("many")).unwrap();
    let mut there: BTreeSet<Vec<u8>> =
        there.map(|entry| entry.unwrap().file_name().into_encoded_bytes()).collect();
    there.extend([b".".to_vec(), b"..".to_vec()]);
    for count in [512, 1_024, 4_096, 65_536, u32::MAX] {
        let names = client.list(&many, count).unwrap();
        assert_eq!(names.len(), there.len(), "an entry twice or missing in answers of {count}");
        assert_eq!(names.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>(), there);
    }
    assert_eq!(client.list(&many, 100).unwrap_err(), nfsstat3::NFS3ERR_TOOSMALL);

    for (names, all) in [(512, 4_096), (8_192, 32_768), (u32::MAX, u32::MAX), (1, 1_024)] {
        let (mut seen, mut cookie, mut answers) = (BTreeSet::new(), 0, 0);
        loop {
            let part = client.list_plus(&many, cookie, names, all).unwrap();
            answers += 1;
            for entry in part.reply.entries.into_inner() {
                cookie = entry.cookie;
                let handle = entry.name_handle.unwrap();
                if seen.len() % 100 == 0 {
                    assert_eq!(client.attributes(&handle).unwrap().fileid, entry.fileid);
                }
                assert_eq!(entry.name_attributes.unwrap().fileid, entry.fileid);
                assert!(seen.insert(entry.name.as_ref().to_vec()), "an entry came twice");
            }
            if part.reply.eof {
                break;
            }
        }
        assert_eq!(seen, there);
        assert!(answers > 1);
    }
    let status = client.list_plus(&many, 0, 512, 200).unwrap_err();
    assert_eq!(status, nfsstat3::NFS3ERR_TOOSMALL);
}

#[test]
fn nothing_above_the_export_can_be_reached() {
    let (_tree, place) = filled();
    let export = Options { export: b"/sub".to_vec(), ..options(Writes::Refused) };
    let served = Served::start(&place, export);
    let root = user(0, 0, &[]);
    let top = mount(served.address, "/sub", root.clone()).unwrap();
    let mut client = Client { nfs: Client::connect(served.address, root.clone()), root: top.clone() };
    for path in ["/", "", "/many", "/sub/..", "/sub/deeper/../..", "/su"] {
        let refused = mount(served.address, path, root.clone()).unwrap_err();
        assert!(refused.contains("MNT3ERR_ACCES"), "{path}: {refused}");
    }
    assert!(mount(served.address, "/sub/none", root.clone()).unwrap_err().contains("NOENT"));
    assert!(mount(served.address, "/sub/content", root.clone()).unwrap_err().contains("NOTDIR"));
    let above = client.lookup(&top, "..").unwrap();
    assert_eq!(above, top);
    let deeper = mount(served.address, "/sub//deeper/.", root.clone()).unwrap();
    assert_eq!(client.lookup(&deeper, "..").unwrap(), top);
    let number = client.attributes(&top).unwrap().fileid;
    let names = client.list(&top, 4_096).unwrap();
    assert!(names.contains(&(b"..".to_vec(), number)), "{names:?}");
    let all = client.list_plus(&top, 0, 4_096, 4_096).unwrap().reply.entries.into_inner();
    let up = all.into_iter().find(|entry| entry.name.as_ref() == b"..").unwrap();
    assert_eq!((up.fileid, up.name_handle.unwrap()), (number, top));
    let mut client =
        MountClient::new_with_auth(crate::support::stream(served.address), root, opaque_auth::default());
    let exports = now(client.export()).unwrap().into_inner();
    assert_eq!(exports.len(), 1);
    assert_eq!(exports[0].ex_dir.0.as_ref(), b"/sub");
}

#[test]
fn what_is_served_to_be_read_cannot_be_changed() {
    let (_tree, place) = filled();
    let before = std::fs::read(&place.image).unwrap();
    let served = Served::start(&place, options(Writes::Refused));
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let (root, file) = (client.root.clone(), client.path("sub/content").unwrap());
    let refused = nfsstat3::NFS3ERR_ROFS;
    assert_eq!(client.make(&root, "new", 0o644).unwrap_err(), refused);
    assert_eq!(client.mkdir(&root, "new", 0o755).unwrap_err(), refused);
    assert_eq!(client.remove(&root, "empty").unwrap_err(), refused);
    assert_eq!(client.rename((&root, "empty"), (&root, "x")).unwrap_err(), refused);
    assert_eq!(client.write(&file, 0, b"x", stable_how::UNSTABLE).unwrap_err(), refused);
    assert_eq!(client.setattr(&file, sattr3::default(), Nfs3Option::None).unwrap_err(), refused);
    assert_eq!(client.access(&file), ACCESS3_READ);
    served.stop();
    assert_eq!(std::fs::read(&place.image).unwrap(), before);
}
