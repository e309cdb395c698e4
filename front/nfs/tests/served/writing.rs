//! Every procedure that changes something, and what is on the image afterwards.

use crate::support::{Client, Place, Served, now, options, result, user, with_mode};
use nfs3_client::nfs3_types::nfs3::*;
use nfs3_client::nfs3_types::xdr_codec::Opaque;
use rumpcap_nfs::Writes;

fn served() -> (Place, Served) {
    let place = Place::new(32, &[]);
    let mut writable = options(Writes::Served);
    writable.squash = rumpcap_nfs::Squash::None;
    let served = Served::start(&place, writable);
    (place, served)
}

fn name<'a>(dir: &nfs_fh3, name: &'a str) -> diropargs3<'a> {
    diropargs3 { dir: dir.clone(), name: name.as_bytes().into() }
}

#[test]
fn every_kind_of_file_is_made_and_is_on_the_image() {
    let (place, served) = served();
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let dir = client.mkdir(&root, "dir", 0o751).unwrap().obj.unwrap();
    let file = client.make(&dir, "file", 0o640).unwrap();
    client.write(&file, 100, b"content", stable_how::FILE_SYNC).unwrap();
    let symlink =
        symlinkdata3 { symlink_attributes: sattr3::default(), symlink_data: (&b"dir/file"[..]).into() };
    result(now(client.nfs.symlink(&SYMLINK3args { where_: name(&root, "link"), symlink })).unwrap()).unwrap();
    result(now(client.nfs.link(&LINK3args { file: file.clone(), link: name(&root, "second") })).unwrap())
        .unwrap();
    let spec = specdata3 { specdata1: 4, specdata2: 64 };
    for (called, what) in [
        ("tty", mknoddata3::NF3CHR(devicedata3 { dev_attributes: with_mode(0o620), spec: spec.clone() })),
        ("disk", mknoddata3::NF3BLK(devicedata3 { dev_attributes: with_mode(0o660), spec })),
        ("socket", mknoddata3::NF3SOCK(with_mode(0o777))),
        ("pipe", mknoddata3::NF3FIFO(with_mode(0o600))),
    ] {
        result(now(client.nfs.mknod(&MKNOD3args { where_: name(&root, called), what })).unwrap()).unwrap();
    }
    served.stop();
    place.fsck();
    let listing = String::from_utf8(place.debugfs("ls -l /")).unwrap();
    for (called, mode) in
        [("dir", "40751"), ("link", "120777"), ("second", "100640"), ("tty", "20620"), ("disk", "60660")]
    {
        assert!(
            listing.lines().any(|l| l.contains(&format!(" {mode} ")) && l.trim_end().ends_with(called)),
            "{listing}"
        );
    }
    let stat = String::from_utf8(place.debugfs("stat /tty")).unwrap();
    assert!(stat.contains("04:64") || stat.contains("major/minor number: 04:64"), "{stat}");
    assert_eq!(place.debugfs("cat /second"), [&[0; 100][..], b"content"].concat());
    assert!(String::from_utf8(place.debugfs("stat /link")).unwrap().contains("\"dir/file\""));
}

#[test]
fn attributes_before_and_after_are_those_of_the_change() {
    let (_place, served) = served();
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let before = client.attributes(&root).unwrap();
    let made = client.create(&root, "a", createhow3::GUARDED(with_mode(0o644))).unwrap();
    let after = client.attributes(&root).unwrap();
    let (wcc_before, wcc_after) = (made.dir_wcc.before.unwrap(), made.dir_wcc.after.unwrap());
    assert_eq!((wcc_before.size, wcc_before.ctime), (before.size, before.ctime));
    assert_eq!(
        (wcc_after.mtime, wcc_after.ctime, wcc_after.fileid),
        (after.mtime, after.ctime, after.fileid)
    );
    assert_ne!(wcc_before.mtime, wcc_after.mtime);

    let file = made.obj.unwrap();
    let written = client.write(&file, 0, &[7; 5_000], stable_how::UNSTABLE).unwrap();
    assert_eq!(written.file_wcc.before.unwrap().size, 0);
    assert_eq!(written.file_wcc.after.unwrap().size, 5_000);
    let removed = client.remove(&root, "a").unwrap();
    assert_eq!(removed.before.unwrap().ctime, after.ctime);
    assert_eq!(client.attributes(&file).unwrap_err(), nfsstat3::NFS3ERR_STALE);
    // Of a failure too: nothing was changed.
    let args = REMOVE3args { object: name(&root, "a") };
    let Nfs3Result::Err((status, fail)) = now(client.nfs.remove(&args)).unwrap() else {
        panic!("removed twice")
    };
    assert_eq!(status, nfsstat3::NFS3ERR_NOENT);
    assert_eq!(fail.dir_wcc.before.unwrap().ctime, fail.dir_wcc.after.unwrap().ctime);
}

#[test]
fn names_that_are_there_and_names_that_cannot_be() {
    let (place, served) = served();
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let file = client.make(&root, "file", 0o644).unwrap();
    client.write(&file, 0, b"12345", stable_how::UNSTABLE).unwrap();
    assert_eq!(client.make(&root, "file", 0o644).unwrap_err(), nfsstat3::NFS3ERR_EXIST);
    // Unchecked: the same file, as long as it was, unless it is to be cut.
    let unchecked = |new| createhow3::UNCHECKED(new);
    let again = client.create(&root, "file", unchecked(with_mode(0o600))).unwrap();
    let attributes = again.obj_attributes.unwrap();
    assert_eq!((again.obj.unwrap(), attributes.size, attributes.mode), (file.clone(), 5, 0o644));
    let cut = sattr3 { size: Nfs3Option::Some(0), ..sattr3::default() };
    assert_eq!(client.create(&root, "file", unchecked(cut)).unwrap().obj_attributes.unwrap().size, 0);
    let dir = client.mkdir(&root, "dir", 0o755).unwrap().obj.unwrap();
    client.make(&dir, "below", 0o644).unwrap();
    assert_eq!(client.remove(&root, "dir").unwrap_err(), nfsstat3::NFS3ERR_ISDIR);
    assert_eq!(client.rmdir(&root, "file").unwrap_err(), nfsstat3::NFS3ERR_NOTDIR);
    assert_eq!(client.rmdir(&root, "dir").unwrap_err(), nfsstat3::NFS3ERR_NOTEMPTY);
    assert_eq!(client.rmdir(&dir, ".").unwrap_err(), nfsstat3::NFS3ERR_INVAL);
    assert_eq!(client.rmdir(&dir, "..").unwrap_err(), nfsstat3::NFS3ERR_EXIST);
    assert_eq!(client.mkdir(&root, "..", 0o755).unwrap_err(), nfsstat3::NFS3ERR_EXIST);
    for bad in ["", "a/b", "a\0b"] {
        assert_eq!(client.make(&root, bad, 0o644).unwrap_err(), nfsstat3::NFS3ERR_INVAL, "{bad:?}");
    }
    assert_eq!(client.make(&root, &"n".repeat(300), 0o644).unwrap_err(), nfsstat3::NFS3ERR_NAMETOOLONG);
    assert_eq!(client.rename((&root, "dir"), (&dir, "itself")).unwrap_err(), nfsstat3::NFS3ERR_INVAL);
    client.rename((&dir, "below"), (&root, "file")).unwrap();
    assert_eq!(client.attributes(&file).unwrap_err(), nfsstat3::NFS3ERR_STALE, "it was replaced");
    client.rename((&root, "file"), (&root, "file")).unwrap();
    client.rmdir(&root, "dir").unwrap();
    assert_eq!(client.list(&dir, 4_096).unwrap_err(), nfsstat3::NFS3ERR_STALE);
    let names: Vec<_> = client.list(&root, 4_096).unwrap().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&b"file".to_vec()) && !names.contains(&b"dir".to_vec()));
    served.stop();
    place.fsck();
}

#[test]
fn an_exclusive_create_knows_its_own() {
    let (_place, served) = served();
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let how = |byte| createhow3::EXCLUSIVE(createverf3([byte; 8]));
    let first = client.create(&root, "lock", how(0xd1)).unwrap().obj.unwrap();
    assert_eq!(client.create(&root, "lock", how(0xd1)).unwrap().obj.unwrap(), first, "asked again");
    assert_eq!(client.create(&root, "lock", how(0x35)).unwrap_err(), nfsstat3::NFS3ERR_EXIST);
    let server_time = sattr3 {
        mtime: set_mtime::SET_TO_SERVER_TIME,
        atime: set_atime::SET_TO_SERVER_TIME,
        ..with_mode(0o644)
    };
    client.setattr(&first, server_time, Nfs3Option::None).unwrap();
    assert_eq!(client.create(&root, "lock", how(0xd1)).unwrap_err(), nfsstat3::NFS3ERR_EXIST);
}

#[test]
fn attributes_are_set_and_guarded() {
    let (place, served) = served();
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let file = client.make(&root, "file", 0o644).unwrap();
    let at = nfstime3 { seconds: 1_000_000_000, nseconds: 123_456_789 };
    let new = sattr3 {
        mode: Nfs3Option::Some(0o4711),
        uid: Nfs3Option::Some(0),
        gid: Nfs3Option::Some(0),
        size: Nfs3Option::Some(70_000),
        atime: set_atime::SET_TO_CLIENT_TIME(at),
        mtime: set_mtime::SET_TO_CLIENT_TIME(at),
    };
    client.setattr(&file, new, Nfs3Option::None).unwrap();
    let seen = client.attributes(&file).unwrap();
    assert_eq!((seen.size, seen.atime, seen.mtime), (70_000, at, at));
    assert_eq!(seen.mode, 0o711, "an owner was set, so it does not run with one's rights");
    client.setattr(&file, with_mode(0o4755), Nfs3Option::None).unwrap();
    let seen = client.attributes(&file).unwrap();
    assert_eq!(seen.mode, 0o4755);
    assert_eq!(client.read_all(&file).unwrap(), vec![0; 70_000]);
    let old = nfstime3 { seconds: seen.ctime.seconds - 1, nseconds: 0 };
    let refused = client.setattr(&file, with_mode(0), Nfs3Option::Some(old)).unwrap_err();
    assert_eq!(refused, nfsstat3::NFS3ERR_NOT_SYNC);
    client.setattr(&file, with_mode(0o600), Nfs3Option::Some(seen.ctime)).unwrap();
    let longer = |size| sattr3 { size: Nfs3Option::Some(size), ..sattr3::default() };
    assert_eq!(
        client.setattr(&file, longer(u64::MAX), Nfs3Option::None).unwrap_err(),
        nfsstat3::NFS3ERR_FBIG
    );
    assert_eq!(client.setattr(&root, longer(0), Nfs3Option::None).unwrap_err(), nfsstat3::NFS3ERR_ISDIR);
    client.setattr(&file, longer(3), Nfs3Option::None).unwrap();
    assert_eq!(client.attributes(&file).unwrap().size, 3);
    served.stop();
    place.fsck();
}

#[test]
fn a_full_file_system_says_so_and_stays_whole() {
    let (place, served) = served();
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let file = client.make(&root, "file", 0o644).unwrap();
    let mut written = 0;
    let status = loop {
        match client.write(&file, written, &[9; 65_536], stable_how::UNSTABLE) {
            Ok(ok) => written += u64::from(ok.count),
            Err(status) => break status,
        }
        assert!(written < 64 << 20, "more than there is");
    };
    assert_eq!(status, nfsstat3::NFS3ERR_NOSPC);
    client.commit(&file).unwrap();
    assert_eq!(client.attributes(&file).unwrap().size, written);
    client.remove(&root, "file").unwrap();
    let stat = result(now(client.nfs.fsstat(&FSSTAT3args { fsroot: root })).unwrap()).unwrap();
    assert!(stat.fbytes >= written && stat.abytes <= stat.fbytes && stat.fbytes < stat.tbytes);
    served.stop();
    place.fsck();
}

#[test]
fn many_clients_at_once_leave_a_sound_tree() {
    let (place, served) = served();
    let address = served.address;
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            scope.spawn(move || {
                let mut client = Client::new(address, user(0, 0, &[]));
                let root = client.root.clone();
                let dir = client.mkdir(&root, &format!("d{thread}"), 0o755).unwrap().obj.unwrap();
                for i in 0..40 {
                    let file = client.make(&dir, &format!("f{i}"), 0o644).unwrap();
                    let data = vec![thread + i; 9_000 + usize::from(i) * 100];
                    client.write(&file, 0, &data, stable_how::UNSTABLE).unwrap();
                    assert_eq!(client.read_all(&file).unwrap(), data);
                    // All meet in one directory.
                    client.rename((&dir, &format!("f{i}")), (&root, &format!("t{thread}-{i}"))).unwrap();
                    if i % 3 == 0 {
                        client.remove(&root, &format!("t{thread}-{i}")).unwrap();
                    }
                }
                client.rmdir(&root, &format!("d{thread}")).unwrap();
            });
        }
    });
    let mut client = Client::new(address, user(0, 0, &[]));
    let root = client.root.clone();
    let names = client.list(&root, 65_536).unwrap();
    assert_eq!(names.iter().filter(|(name, _)| name.starts_with(b"t")).count(), 4 * 26);
    for thread in 0..4u8 {
        let file = client.path(&format!("t{thread}-1")).unwrap();
        assert_eq!(client.read_all(&file).unwrap(), vec![thread + 1; 9_100]);
    }
    assert!(served.kernel.memory_report().peak_bytes <= crate::support::LIMIT_BYTES);
    served.stop();
    place.fsck();
}

#[test]
fn links_that_cannot_be() {
    let (_place, served) = served();
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let link = |client: &mut Client, file: &nfs_fh3| {
        let args = LINK3args { file: file.clone(), link: name(&root, "new") };
        result(now(client.nfs.link(&args)).unwrap()).map(drop)
    };
    assert_eq!(link(&mut client, &root), Err(nfsstat3::NFS3ERR_ISDIR));
    let forged = nfs_fh3 { data: Opaque::borrowed(&[1; 60]) };
    assert_eq!(link(&mut client, &forged), Err(nfsstat3::NFS3ERR_BADHANDLE));
    let what = mknoddata3::NF3FIFO(with_mode(0o600));
    result(now(client.nfs.mknod(&MKNOD3args { where_: name(&root, "pipe"), what })).unwrap()).unwrap();
    let pipe = client.path("pipe").unwrap();
    link(&mut client, &pipe).unwrap();
    assert_eq!(link(&mut client, &pipe), Err(nfsstat3::NFS3ERR_EXIST));
    assert_eq!(client.attributes(&pipe).unwrap().nlink, 2);
}
