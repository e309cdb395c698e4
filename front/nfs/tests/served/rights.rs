//! Who may do what: users, groups, squashing, lists, addresses and ports.

use crate::support::{Client, Place, Served, mount, now, options, result, user, with_mode};
use nfs3_client::nfs3_types::nfs3::*;
use nfs3_client::nfs3_types::rpc::opaque_auth;
use rumpcap_nfs::{Options, Owner, Ports, Refused, Squash, Writes};
use rumpcap_testing::loop_mount::{self, LoopMount};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, exists, run};

/// A file system whose root belongs to user 1000, and its server.
fn served(squash: Squash) -> (Place, Served) {
    let place = Place::new(16, &["-E", "root_owner=1000:1000"]);
    let served = Served::start(&place, Options { squash, ..options(Writes::Served) });
    (place, served)
}

#[test]
fn owners_groups_and_others() {
    let (_place, served) = served(Squash::Root);
    let mut owner = Client::new(served.address, user(1000, 1000, &[]));
    let mut member = Client::new(served.address, user(1001, 5, &[7, 1000]));
    let mut other = Client::new(served.address, user(1002, 5, &[]));
    let root = owner.root.clone();
    let file = owner.make(&root, "file", 0o640).unwrap();
    owner.write(&file, 0, b"secret", stable_how::UNSTABLE).unwrap();
    assert_eq!(member.read_all(&file).unwrap(), b"secret");
    assert_eq!(member.write(&file, 0, b"x", stable_how::UNSTABLE).unwrap_err(), nfsstat3::NFS3ERR_ACCES);
    assert_eq!(other.read(&file, 0, 9).unwrap_err(), nfsstat3::NFS3ERR_ACCES);
    let all = ACCESS3_READ | ACCESS3_MODIFY | ACCESS3_EXTEND;
    assert_eq!((owner.access(&file), member.access(&file), other.access(&file)), (all, ACCESS3_READ, 0));
    // The directory is its owner's.
    assert_eq!(other.make(&root, "x", 0o644).unwrap_err(), nfsstat3::NFS3ERR_ACCES);
    assert_eq!(other.remove(&root, "file").unwrap_err(), nfsstat3::NFS3ERR_ACCES);
    // An owner reads and writes what was opened before its mode was taken away.
    owner.setattr(&file, with_mode(0), Nfs3Option::None).unwrap();
    assert_eq!(owner.read_all(&file).unwrap(), b"secret");
    owner.write(&file, 0, b"S", stable_how::UNSTABLE).unwrap();
    assert_eq!(member.read(&file, 0, 9).unwrap_err(), nfsstat3::NFS3ERR_ACCES);
    // What may be executed may be read.
    owner.setattr(&file, with_mode(0o711), Nfs3Option::None).unwrap();
    assert_eq!(other.read_all(&file).unwrap(), b"Secret");
    // Without the right to search there is no way in, nor are there handles in a listing.
    owner.setattr(&root, with_mode(0o744), Nfs3Option::None).unwrap();
    assert_eq!(other.lookup(&root, "file").unwrap_err(), nfsstat3::NFS3ERR_ACCES);
    let listed = other.list_plus(&root, 0, 4_096, 4_096).unwrap().reply.entries.into_inner();
    assert!(listed.len() >= 3 && listed.iter().all(|entry| entry.name_handle.is_none()));
    owner.setattr(&root, with_mode(0o711), Nfs3Option::None).unwrap();
    assert_eq!(other.list(&root, 4_096).unwrap_err(), nfsstat3::NFS3ERR_ACCES);
}

#[test]
fn only_owners_change_attributes() {
    let (_place, served) = served(Squash::None);
    let mut owner = Client::new(served.address, user(1000, 1000, &[7]));
    let mut other = Client::new(served.address, user(1001, 1001, &[]));
    let mut superuser = Client::new(served.address, user(0, 0, &[]));
    let root = owner.root.clone();
    let file = owner.make(&root, "file", 0o666).unwrap();
    let perm = nfsstat3::NFS3ERR_PERM;
    let set = |client: &mut Client, new: sattr3| client.setattr(&file, new, Nfs3Option::None).map(drop);
    let uid = |uid| sattr3 { uid: Nfs3Option::Some(uid), ..sattr3::default() };
    let gid = |gid| sattr3 { gid: Nfs3Option::Some(gid), ..sattr3::default() };
    let touch = |mtime| sattr3 { mtime, ..sattr3::default() };
    let at = nfstime3 { seconds: 5, nseconds: 0 };
    assert_eq!(set(&mut other, with_mode(0o777)), Err(perm));
    assert_eq!(set(&mut other, gid(1001)), Err(perm));
    assert_eq!(set(&mut other, touch(set_mtime::SET_TO_CLIENT_TIME(at))), Err(perm));
    assert_eq!(set(&mut other, touch(set_mtime::SET_TO_SERVER_TIME)), Ok(()), "who may write may");
    assert_eq!(set(&mut owner, uid(1001)), Err(perm));
    assert_eq!(set(&mut owner, gid(8)), Err(perm));
    assert_eq!(set(&mut owner, gid(7)), Ok(()));
    assert_eq!(set(&mut owner, with_mode(0o6775)), Ok(()));
    assert_eq!(owner.attributes(&file).unwrap().mode, 0o6775);
    // Content that another writes does not run with its owner's rights.
    other
        .setattr(&file, sattr3 { size: Nfs3Option::Some(0), ..sattr3::default() }, Nfs3Option::None)
        .unwrap_err();
    owner.setattr(&file, with_mode(0o6777), Nfs3Option::None).unwrap();
    other.write(&file, 0, b"x", stable_how::UNSTABLE).unwrap();
    assert_eq!(owner.attributes(&file).unwrap().mode, 0o777);
    assert_eq!(set(&mut superuser, uid(1001)), Ok(()));
    assert_eq!(set(&mut owner, with_mode(0)), Err(perm));
    // A group that one is not in cannot be given to a file to run with.
    assert_eq!(set(&mut other, with_mode(0o2755)), Ok(()));
    assert_eq!(owner.attributes(&file).unwrap().mode, 0o755);
    let device =
        devicedata3 { dev_attributes: with_mode(0o666), spec: specdata3 { specdata1: 1, specdata2: 3 } };
    let where_ = diropargs3 { dir: root.clone(), name: (&b"null"[..]).into() };
    let args = MKNOD3args { where_, what: mknoddata3::NF3CHR(device) };
    assert_eq!(result(now(owner.nfs.mknod(&args)).unwrap()).map(drop), Err(perm));
}

#[test]
fn a_sticky_directory_and_one_that_gives_its_group() {
    let (_place, served) = served(Squash::Root);
    let mut owner = Client::new(served.address, user(1000, 1000, &[]));
    let mut other = Client::new(served.address, user(1001, 1001, &[]));
    let root = owner.root.clone();
    let tmp = owner.mkdir(&root, "tmp", 0o777).unwrap().obj.unwrap();
    owner.setattr(&tmp, with_mode(0o3777), Nfs3Option::None).unwrap();
    owner.make(&tmp, "mine", 0o666).unwrap();
    let perm = nfsstat3::NFS3ERR_PERM;
    assert_eq!(other.remove(&tmp, "mine").unwrap_err(), perm);
    assert_eq!(other.rename((&tmp, "mine"), (&tmp, "taken")).unwrap_err(), perm);
    let theirs = other.make(&tmp, "theirs", 0o2775).unwrap();
    let attributes = other.attributes(&theirs).unwrap();
    assert_eq!(
        (attributes.uid, attributes.gid, attributes.mode),
        (1001, 1000, 0o775),
        "the directory's group"
    );
    assert_eq!(other.rename((&tmp, "theirs"), (&tmp, "mine")).unwrap_err(), perm);
    let below = other.mkdir(&tmp, "below", 0o755).unwrap().obj_attributes.unwrap();
    assert_eq!((below.gid, below.mode), (1000, 0o2755));
    owner.remove(&tmp, "theirs").unwrap();
}

#[test]
fn superusers_are_nobody_unless_told_otherwise() {
    for (squash, uid, made_by) in
        [(Squash::Root, 0, 77), (Squash::Root, 5, 5), (Squash::All, 5, 77), (Squash::None, 0, 0)]
    {
        let place = Place::new(16, &[]);
        let anonymous = Owner { uid: 77, gid: 78 };
        let served = Served::start(&place, Options { squash, anonymous, ..options(Writes::Served) });
        let mut client = Client::new(served.address, user(uid, uid, &[0]));
        let root = client.root.clone();
        let made = client.make(&root, "file", 0o644);
        if made_by == 0 {
            assert_eq!(client.attributes(&made.unwrap()).unwrap().uid, 0);
        } else {
            assert_eq!(made.unwrap_err(), nfsstat3::NFS3ERR_ACCES, "{squash:?} {uid}");
        }
        let mut nobody = Client::new(served.address, opaque_auth::default());
        assert_eq!(nobody.make(&root, "x", 0o644).unwrap_err(), nfsstat3::NFS3ERR_ACCES);
    }
}

#[test]
fn access_control_lists_count() {
    if !loop_mount::available() || !exists("setfacl") {
        return skip("setting lists needs root, loop devices and setfacl");
    }
    let place = Place::new(16, &[]);
    let list = |path: &std::path::Path, list: &str| {
        run(command("setfacl").args(["-m", list]).arg(path));
    };
    {
        let mounted = LoopMount::new(&place.image, "acl").unwrap();
        for (name, mode, entries) in [
            ("user", 0o600, "u:1001:r"),
            ("masked", 0o600, "u:1001:rw,m::r"),
            ("denied", 0o644, "u:1001:---"),
            ("group", 0o600, "g:50:r,g:51:w"),
            ("not mine", 0o604, "g:50:---"),
        ] {
            let path = mounted.join(name);
            std::fs::write(&path, name).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            list(&path, entries);
        }
    }
    let served = Served::start(&place, options(Writes::Served));
    let mut named = Client::new(served.address, user(1001, 1, &[]));
    let mut groups = Client::new(served.address, user(1002, 50, &[51]));
    let mut other = Client::new(served.address, user(1003, 1, &[]));
    let write = ACCESS3_MODIFY | ACCESS3_EXTEND;
    for (name, expected) in [
        ("user", [ACCESS3_READ, 0, 0]),
        ("masked", [ACCESS3_READ, 0, 0]),
        ("denied", [0, ACCESS3_READ, ACCESS3_READ]),
        ("group", [0, ACCESS3_READ | write, 0]),
        ("not mine", [ACCESS3_READ, 0, ACCESS3_READ]),
    ] {
        let file = named.path(name).unwrap();
        assert_eq!([named.access(&file), groups.access(&file), other.access(&file)], expected, "{name}");
        assert_eq!(named.read(&file, 0, 99).is_ok(), expected[0] & ACCESS3_READ != 0, "{name}");
    }
}

#[test]
fn addresses_and_ports() {
    let place = Place::new(16, &[]);
    let elsewhere = vec!["10.0.0.0/8".parse().unwrap()];
    let served = Served::start(&place, Options { allow: elsewhere, ..options(Writes::Refused) });
    let tried = std::panic::catch_unwind(|| mount(served.address, "/", opaque_auth::default()));
    assert!(!matches!(tried, Ok(Ok(_))));
    assert!(matches!(served.refused.recv().unwrap(), Refused::Address(_)));
    served.stop();
    let served = Served::start(&place, Options { ports: Ports::Privileged, ..options(Writes::Refused) });
    let tried = std::panic::catch_unwind(|| mount(served.address, "/", opaque_auth::default()));
    assert!(!matches!(tried, Ok(Ok(_))));
    assert!(matches!(served.refused.recv().unwrap(), Refused::Port(_)));
}
