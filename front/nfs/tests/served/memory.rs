//! What a server takes of the host, however many clients there are and whatever they touch.

use crate::restart::start_with;
use crate::support::{Client, LIMIT_BYTES, Place, mount, user};
use nfs3_client::nfs3_types::nfs3::*;
use rumpcap_nfs::{Options, Server};
use std::net::SocketAddr;

/// What a process takes beside: the C library, the test's harness, stacks as far as they are touched.
const REST_BYTES: u64 = 2 << 20;

fn anonymous_bytes(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// One client's day: makes, writes, reads, lists.
fn work(address: SocketAddr, root: &nfs_fh3, number: u32, rounds: u32) {
    let mut client = Client { nfs: Client::connect(address, user(0, 0, &[])), root: root.clone() };
    let dir = match client.mkdir(root, &format!("{number}"), 0o755) {
        Ok(made) => made.obj.unwrap(),
        Err(_) => client.path(&format!("{number}")).unwrap(),
    };
    for i in 0..rounds {
        let name = format!("{}", i % 50);
        let how = createhow3::UNCHECKED(crate::support::with_mode(0o644));
        let file = client.create(&dir, &name, how).unwrap().obj.unwrap();
        client.write(&file, 0, &[number as u8; 65_536], stable_how::UNSTABLE).unwrap();
        assert_eq!(client.read(&file, 0, 65_536).unwrap().count, 65_536);
        assert!(client.list_plus(&dir, 0, 65_536, 65_536).unwrap().reply.eof);
    }
}

#[test]
fn memory_is_the_limit_and_the_buffers() {
    let place = Place::new(128, &[]);
    let (child, address) = start_with(&place, "127.0.0.1:0".parse().unwrap(), "async");
    // One connection each, so that there are places for all.
    let root = mount(address, "/", user(0, 0, &[])).unwrap();
    let clients = 12;
    let all_work = |rounds| {
        std::thread::scope(|scope| {
            for number in 0..clients {
                let root = &root;
                scope.spawn(move || work(address, root, number, rounds));
            }
        });
        anonymous_bytes(child.id())
    };
    let first = all_work(30);
    let last = all_work(60);
    println!("anonymous: {first} bytes, then {last}");
    let buffers = Server::memory_bytes_max(&Options::default()) as u64;
    assert!(last <= LIMIT_BYTES + buffers + REST_BYTES, "{last} bytes beside {buffers} of buffers");
    // The second time, twice as long, takes nothing more but the buffers of threads that had no turn before: one of each connection.
    let options = Options::default();
    let call = buffers / (options.connections_max * options.calls_max) as u64;
    assert!(last <= first + u64::from(clients) * call, "{first}, then {last} bytes");
}
