//! Clients that send anything, or nothing.

use crate::support::{Client, Place, Served, options, user};
use nfs3_client::nfs3_types::nfs3::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rumpcap_nfs::{Options, Refused, Squash, Stability, Writes};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Whether the server ends a connection, whatever it says before.
fn is_ended(mut stream: TcpStream) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) => return e.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// A record of one fragment.
fn record(body: &[u8]) -> Vec<u8> {
    let mark = 0x8000_0000 | u32::try_from(body.len()).unwrap();
    [&mark.to_be_bytes()[..], body].concat()
}

/// The head of a call with AUTH_SYS, and arguments.
fn call(program: u32, procedure: u32, args: &[u8]) -> Vec<u8> {
    let head = [7, 0, 2, program, 3, procedure, 1, 20, 0, 0, 0, 0, 0, 0, 0];
    let mut bytes: Vec<u8> = head.iter().flat_map(|word: &u32| word.to_be_bytes()).collect();
    bytes.extend_from_slice(args);
    bytes
}

/// Sends a call and gives the answer without its mark.
fn exchange(stream: &mut TcpStream, body: &[u8]) -> Vec<u8> {
    stream.write_all(&record(body)).unwrap();
    let mut mark = [0; 4];
    stream.read_exact(&mut mark).unwrap();
    let mut answer = vec![0; (u32::from_be_bytes(mark) & 0x7fff_ffff) as usize];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn word(answer: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(answer[at * 4..at * 4 + 4].try_into().unwrap())
}

#[test]
fn records_that_are_too_long_end_the_connection_unread() {
    let place = Place::new(16, &[]);
    let served = Served::start(&place, options(Writes::Refused));
    for mark in [0xffff_ffffu32, 0x7fff_ffff, 0x8001_4000] {
        let mut stream = connect(served.address);
        stream.write_all(&mark.to_be_bytes()).unwrap();
        assert!(is_ended(stream), "{mark:x}");
    }
    // Neither are many fragments of nothing read for ever, nor those that are too long together.
    let mut stream = connect(served.address);
    stream.write_all(&[0; 4 * 1_000]).unwrap();
    assert!(is_ended(stream));
    let mut stream = connect(served.address);
    let part = [&0x0000_f000u32.to_be_bytes()[..], &[0; 0xf000]].concat();
    let _ = stream.write_all(&[part.clone(), part].concat());
    assert!(is_ended(stream));
}

#[test]
fn a_call_in_many_fragments_is_one_call() {
    let place = Place::new(16, &[]);
    let served = Served::start(&place, options(Writes::Refused));
    let mut stream = connect(served.address);
    let body = call(100_003, 0, b"");
    let (first, rest) = body.split_at(13);
    let mut bytes = Vec::new();
    for (part, is_last) in [(first, 0u32), (&[][..], 0), (rest, 0x8000_0000)] {
        bytes.extend_from_slice(&(is_last | part.len() as u32).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    // One byte at a time.
    for byte in bytes {
        stream.write_all(&[byte]).unwrap();
    }
    let mut answer = [0; 28];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((word(&answer, 0), word(&answer, 1), word(&answer, 6)), (0x8000_0018, 7, 0));
}

#[test]
fn what_is_not_served_is_told_so() {
    let place = Place::new(16, &[]);
    let served = Served::start(&place, options(Writes::Refused));
    let mut stream = connect(served.address);
    // Accepted; then: no such program, version, procedure, arguments.
    assert_eq!(word(&exchange(&mut stream, &call(100_227, 0, b"")), 5), 1);
    let mut other_version = call(100_003, 1, b"");
    other_version[19] = 4;
    let answer = exchange(&mut stream, &other_version);
    assert_eq!((word(&answer, 5), word(&answer, 6), word(&answer, 7)), (2, 3, 3));
    assert_eq!(word(&exchange(&mut stream, &call(100_003, 22, b"")), 5), 3);
    assert_eq!(word(&exchange(&mut stream, &call(100_003, 1, b"")), 5), 4);
    assert_eq!(word(&exchange(&mut stream, &call(100_003, 1, &[0xff; 400])), 5), 4);
    // Refused: another version of RPC, other credentials.
    let mut rpc = call(100_003, 1, b"");
    rpc[11] = 3;
    let answer = exchange(&mut stream, &rpc);
    assert_eq!((word(&answer, 2), word(&answer, 3)), (1, 0));
    let mut kerberos = call(100_003, 1, b"");
    kerberos[27] = 6;
    let answer = exchange(&mut stream, &kerberos);
    assert_eq!((word(&answer, 2), word(&answer, 3), word(&answer, 4)), (1, 1, 5));
    // No call at all ends the connection.
    let mut reply = call(100_003, 1, b"");
    reply[7] = 1;
    stream.write_all(&record(&reply)).unwrap();
    assert!(is_ended(stream));
}

#[test]
fn slow_and_silent_clients_hold_nobody() {
    let place = Place::new(16, &[]);
    let few =
        Options { connections_max: 3, record_timeout: Duration::from_secs(1), ..options(Writes::Refused) };
    let served = Served::start(&place, few);
    let silent: Vec<_> = (0..3).map(|_| connect(served.address)).collect();
    let mut slow = connect(served.address);
    slow.write_all(&[0x80, 0, 0, 40, 1]).unwrap();
    // Each new one takes the place of one that is silent; one that is slow loses it.
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    assert!(client.attributes(&root).is_ok());
    assert!(is_ended(slow));
    drop(silent);
    assert!(client.attributes(&root).is_ok());
    assert!(!served.refused.try_iter().any(|why| !matches!(why, Refused::Full(_))));
}

#[test]
fn a_call_that_is_sent_again_is_not_done_again() {
    let place = Place::new(16, &[]);
    let served = Served::start(&place, Options { squash: Squash::None, ..options(Writes::Served) });
    let client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.data.to_vec();
    let mut args = 60u32.to_be_bytes().to_vec();
    args.extend_from_slice(&root);
    args.extend_from_slice(&[0, 0, 0, 3, b'd', b'i', b'r', 0]);
    let (mkdir, rmdir) = ([&args[..], &[0; 24]].concat(), args);
    let mut stream = connect(served.address);
    let first = exchange(&mut stream, &call(100_003, 9, &mkdir));
    assert_eq!((word(&first, 5), word(&first, 6)), (0, 0));
    // From another connection, as after a break.
    let mut stream = connect(served.address);
    assert_eq!(exchange(&mut stream, &call(100_003, 9, &mkdir)), first);
    let mut another = call(100_003, 9, &mkdir);
    another[3] = 8;
    assert_eq!(word(&exchange(&mut stream, &another), 6), nfsstat3::NFS3ERR_EXIST as u32);
    let removed = exchange(&mut stream, &call(100_003, 13, &rmdir));
    assert_eq!(word(&removed, 6), 0);
    assert_eq!(exchange(&mut stream, &call(100_003, 13, &rmdir)), removed);
}

/// One genuine call of every procedure, to be broken.
fn genuine(root: &[u8], file: &[u8]) -> Vec<Vec<u8>> {
    let handle = |bytes: &[u8]| [&60u32.to_be_bytes()[..], bytes].concat();
    let (root, file) = (handle(root), handle(file));
    let name = |name: &[u8; 4]| [&[0, 0, 0, 4][..], name].concat();
    let entry = [&root[..], &name(b"name")].concat();
    let nothing = [0; 24];
    let with = |parts: &[&[u8]]| parts.concat();
    let mut calls = vec![call(100_005, 1, &[0, 0, 0, 1, b'/', 0, 0, 0]), call(100_005, 5, b"")];
    for (procedure, args) in [
        (1, root.clone()),
        (2, with(&[&file, &nothing, &[0; 4]])),
        (3, entry.clone()),
        (4, with(&[&file, &[0, 0, 0, 63]])),
        (5, file.clone()),
        (6, with(&[&file, &[0; 8], &[0, 0, 1, 0]])),
        (7, with(&[&file, &[0; 8], &[0, 0, 0, 4], &[0; 4], &[0, 0, 0, 4], b"data"])),
        (8, with(&[&entry, &[0; 4], &nothing])),
        (8, with(&[&entry, &[0, 0, 0, 2], &[1; 8]])),
        (9, with(&[&entry, &nothing])),
        (10, with(&[&entry, &nothing, &name(b"goal")])),
        (11, with(&[&entry, &[0, 0, 0, 7], &nothing])),
        (12, entry.clone()),
        (13, entry.clone()),
        (14, with(&[&entry, &entry])),
        (15, with(&[&file, &entry])),
        (16, with(&[&root, &[0; 16], &[0, 0, 16, 0]])),
        (17, with(&[&root, &[0; 16], &[0, 0, 4, 0], &[0, 0, 16, 0]])),
        (18, root.clone()),
        (19, root.clone()),
        (20, root.clone()),
        (21, with(&[&file, &[0; 12]])),
    ] {
        calls.push(call(100_003, procedure, &args));
    }
    calls
}

#[test]
fn broken_calls_are_answered_or_end_the_connection_and_nothing_else() {
    let place = Place::new(16, &["-E", "root_owner=0:0"]);
    let served = Served::start(
        &place,
        Options { squash: Squash::None, stability: Stability::Async, ..options(Writes::Served) },
    );
    let mut client = Client::new(served.address, user(0, 0, &[]));
    let root = client.root.clone();
    let file = client.make(&root, "file", 0o644).unwrap();
    let calls = genuine(&root.data, &file.data);
    let mut stream = connect(served.address);
    for body in &calls {
        let answer = exchange(&mut stream, body);
        assert_eq!((word(&answer, 2), word(&answer, 5)), (0, 0), "genuine: accepted, and no garbage");
    }
    let cases = std::env::var("RUMPCAP_NFS_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let change = (any::<prop::sample::Index>(), 0u8..4, any::<u32>());
    let strategy = (any::<prop::sample::Index>(), prop::collection::vec(change, 1..4));
    let address = served.address;
    let tested = runner.run(&strategy, |(which, changes)| {
        let mut body = which.get(&calls).clone();
        for (at, how, value) in changes {
            let at = at.index(body.len().max(1)) & !3;
            match how {
                0 => body.truncate(at),
                1 if at + 4 <= body.len() => body[at..at + 4].copy_from_slice(&value.to_be_bytes()),
                2 if at + 4 <= body.len() => body[at..at + 4].copy_from_slice(&(value % 300).to_be_bytes()),
                _ => body.extend_from_slice(&value.to_be_bytes()),
            }
        }
        let mut stream = connect(address);
        stream.write_all(&record(&body)).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        prop_assert!(is_ended(stream));
        Ok(())
    });
    tested.unwrap();
    assert!(client.attributes(&root).is_ok(), "it still serves");
    served.stop();
    place.fsck();
}
