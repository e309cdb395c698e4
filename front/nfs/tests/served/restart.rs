//! Servers that end and begin again under their clients, in order and not.

use crate::support::{Client, Place, Served, options, user};
use nfs3_client::nfs3_types::nfs3::*;
use nfs3_client::nfs3_types::xdr_codec::Opaque;
use rumpcap_nfs::{Options, Squash, Stability, Writes};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// For the process that is killed: the image with its keys, where it listens, and whether it is `sync` or `async`.
const PLACE_VARIABLE: &str = "RUMPCAP_NFS_TEST_PLACE";
const ADDRESS_VARIABLE: &str = "RUMPCAP_NFS_TEST_ADDRESS";
const STABILITY_VARIABLE: &str = "RUMPCAP_NFS_TEST_STABILITY";

fn writable() -> Options {
    Options { squash: Squash::None, ..options(Writes::Served) }
}

#[test]
fn handles_outlive_the_server_and_the_verifier_does_not() {
    let place = Place::new(16, &[]);
    let served = Served::start(&place, writable());
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let (kept, gone) =
        (client.make(&root, "kept", 0o644).unwrap(), client.make(&root, "gone", 0o644).unwrap());
    let before = client.write(&kept, 0, b"1", stable_how::UNSTABLE).unwrap().verf;
    assert_eq!(client.commit(&kept).unwrap(), before);
    client.remove(&root, "gone").unwrap();
    // The number is given again.
    let next = client.make(&root, "next", 0o644).unwrap();
    let (old, new) = (gone.data.to_vec(), next.data.to_vec());
    assert_eq!(old[8..16], new[8..16], "the inode was used again, as this test wants it");
    assert_eq!(client.attributes(&gone).unwrap_err(), nfsstat3::NFS3ERR_STALE);
    served.stop();

    let served = Served::start(&place, writable());
    client.nfs = Client::connect(served.address, user(0, 0, &[]));
    assert_eq!(client.read_all(&kept).unwrap(), b"1");
    assert_eq!(client.lookup(&root, "kept").unwrap(), kept);
    assert_eq!(client.attributes(&gone).unwrap_err(), nfsstat3::NFS3ERR_STALE);
    let after = client.write(&kept, 1, b"2", stable_how::UNSTABLE).unwrap().verf;
    assert_ne!(before, after);
    served.stop();

    // Another key, or another file system: not the same handles.
    std::fs::remove_file(place.state().join("nfs.key")).unwrap();
    let served = Served::start(&place, writable());
    client.nfs = Client::connect(served.address, user(0, 0, &[]));
    assert_eq!(client.attributes(&kept).unwrap_err(), nfsstat3::NFS3ERR_BADHANDLE);
}

#[test]
fn forged_handles_are_refused() {
    let place = Place::new(16, &[]);
    let served = Served::start(&place, writable());
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let file = client.make(&root, "file", 0o600).unwrap();
    let genuine = file.data.to_vec();
    for at in 0..genuine.len() {
        let mut forged = genuine.clone();
        forged[at] ^= 0x40;
        let forged = nfs_fh3 { data: Opaque::owned(forged) };
        assert_eq!(client.attributes(&forged).unwrap_err(), nfsstat3::NFS3ERR_BADHANDLE, "byte {at}");
    }
    for len in [0, 1, 59, 61, 64] {
        let forged = nfs_fh3 { data: Opaque::owned(vec![1; len]) };
        assert_eq!(client.attributes(&forged).unwrap_err(), nfsstat3::NFS3ERR_BADHANDLE, "{len} bytes");
    }
}

/// The process that is killed: a server until then. Does nothing unless it is told where.
#[test]
fn a_server_to_be_killed() {
    let Some(image) = std::env::var_os(PLACE_VARIABLE) else { return };
    let place = Place::at(image.into());
    let address = std::env::var(ADDRESS_VARIABLE).unwrap().parse().unwrap();
    let is_async = std::env::var(STABILITY_VARIABLE).unwrap() == "async";
    let stability = if is_async { Stability::Async } else { Stability::Sync };
    let served = Served::at(&place, Options { stability, ..writable() }, address);
    println!("\nserved at {}", served.address);
    loop {
        std::thread::park();
    }
}

/// A server in a process of its own, until dropped: killed.
pub struct Killed(Child);

impl Killed {
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn start_at(place: &Place, address: SocketAddr) -> (Killed, SocketAddr) {
    start_with(place, address, "sync")
}

pub fn start_with(place: &Place, address: SocketAddr, stability: &str) -> (Killed, SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "restart::a_server_to_be_killed", "--nocapture"])
        .env(PLACE_VARIABLE, &place.image)
        .env(ADDRESS_VARIABLE, address.to_string())
        .env(STABILITY_VARIABLE, stability)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines
        .map(|line| line.unwrap())
        .find_map(|line| Some(line.strip_prefix("served at ")?.parse().unwrap()));
    (Killed(child), address.expect("the server says where it is"))
}

#[test]
fn what_was_committed_outlives_a_server_that_is_killed() {
    for round in 0..3u8 {
        let place = Place::new(32, &[]);
        let (child, address) = start_at(&place, "127.0.0.1:0".parse().unwrap());
        // Somebody else works meanwhile, until the server is gone.
        let load = std::thread::spawn(move || {
            let mut client = Client::new(address, user(0, 0, &[]));
            let root = client.root.clone();
            let dir = client.mkdir(&root, "load", 0o755).unwrap().obj.unwrap();
            for i in 0.. {
                let file = client.make(&dir, &format!("{i}"), 0o644).unwrap();
                client.write(&file, 0, &[1; 20_000], stable_how::UNSTABLE).unwrap();
                if i % 2 == 0 {
                    client.remove(&dir, &format!("{i}")).unwrap();
                }
            }
        });
        let mut client = Client::new(address, user(0, 0, &[]));
        let root = client.root.clone();
        let data: Vec<u8> = (0..600_000u32).map(|i| (i % 239) as u8 ^ round).collect();
        let file = client.make(&root, "committed", 0o644).unwrap();
        let mut verifiers = Vec::new();
        for (i, part) in data.chunks(50_000).enumerate() {
            verifiers.push(client.write(&file, i as u64 * 50_000, part, stable_how::UNSTABLE).unwrap().verf);
        }
        let committed = client.commit(&file).unwrap();
        assert!(verifiers.iter().all(|verifier| *verifier == committed));
        let stable = client.make(&root, "stable", 0o644).unwrap();
        let written = client.write(&stable, 0, &data[..60_000], stable_how::FILE_SYNC).unwrap();
        assert_eq!(written.committed, stable_how::FILE_SYNC);
        client.rename((&root, "stable"), (&root, "renamed")).unwrap();
        drop(child);
        // Its client saw the end of the connection.
        assert!(load.join().is_err());

        let served = Served::start(&place, writable());
        let mut client = Client::new(served.address, user(0, 0, &[]));
        let file = client.path("committed").unwrap();
        assert_eq!(client.read_all(&file).unwrap(), data);
        let file = client.path("renamed").unwrap();
        assert_eq!(client.read_all(&file).unwrap(), &data[..60_000]);
        let verifier = client.write(&file, 0, b"", stable_how::UNSTABLE).unwrap().verf;
        assert_ne!(verifier, committed, "so that what was not committed is sent again");
        served.stop();
        place.fsck();
    }
}
