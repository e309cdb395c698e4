//! What random sequences seldom build: files in thousands of pieces, directories of thousands of names, and their end.

use crate::support::{Case, Plan, first_seed, is_thorough, require};
use rumpcap::{Allocate, DataMode, Rename};
use rumpcap_testing::images::build;
use rumpcap_testing::seed::Random;
use rumpcap_testing::skip;
use rumpcap_testing::writing::{Handle, Limit, Op, Setup};

const SMALL: Limit = Some(256 << 10);

fn given(name: &str, limit: Limit, ops: Vec<Op>) {
    let case = Case { setup: Setup::named(name), limit, data: DataMode::Ordered };
    require(&case, &Plan::Given(ops));
}

/// Blocks of a file written one by one in random order, every other one left out; then holes, more blocks, and shorter and shorter.
fn pieces(block: u64, count: u64, random: &mut Random) -> Vec<Op> {
    let path = "/pieces".to_owned();
    let file = || Handle::Path("/pieces".to_owned());
    let mut order: Vec<u64> = (0..count).collect();
    (1..count as usize).rev().for_each(|n| order.swap(n, random.below(n as u64 + 1) as usize));
    let mut ops = vec![Op::Create { path, mode: 0o644, uid: 0, gid: 0 }];
    let write = |at: u64| Op::Write { file: file(), offset: at * 2 * block + at % 7, len: 30, seed: at };
    ops.extend(order.iter().map(|at| write(*at)));
    for at in order.iter().take(count as usize / 4) {
        let range = at * block..at * block + block * (1 + at % 9);
        ops.push(match at % 4 {
            0 => Op::Allocate { file: file(), range, how: Allocate::KeepSize },
            1 => Op::ZeroRange { file: file(), range },
            _ => Op::Punch { file: file(), range },
        });
    }
    ops.push(Op::Remount);
    ops.extend(order.iter().take(count as usize / 4).map(|at| write(*at)));
    ops.extend(
        (1..8).rev().map(|eighth| Op::SetLen { file: file(), len: count * 2 * block * eighth / 8 + 5 }),
    );
    ops
}

#[test]
fn files_in_thousands_of_pieces() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let mut random = Random::new(first_seed());
    let count = if is_thorough() { 6000 } else { 700 };
    given("w-ext4-1k", SMALL, pieces(1024, count, &mut random));
    given("w-ext3-1k", SMALL, pieces(1024, count, &mut random));
    given("w-ext4-4k", Some(512 << 10), pieces(4096, count.min(2000), &mut random));
    given("w-bigalloc-1k", SMALL, pieces(1024, count, &mut random));
}

/// A directory that grows to `count` names of `name_len` bytes, loses some, gets them again, moves and goes.
fn crowd(count: u32, name_len: usize) -> Vec<Op> {
    let (dir, moved) = ("/crowd".to_owned(), "/other/crowd".to_owned());
    let make = |path: &str| Op::MakeDir { path: path.to_owned(), mode: 0o755, uid: 0, gid: 0 };
    let thin = |dir: &str, step| Op::Thin { dir: dir.to_owned(), count, name_len, step };
    let fill = |dir: &str| Op::Crowd { dir: dir.to_owned(), count, name_len };
    let mut ops = vec![make(&dir), make("/other"), fill(&dir), thin(&dir, 3), fill(&dir), Op::Remount];
    ops.push(Op::Rename { from: dir, to: moved.clone(), how: Rename::Replace });
    ops.extend([thin(&moved, 2), fill(&moved), thin(&moved, 1), Op::Sync, Op::RemoveDir { path: moved }]);
    ops
}

#[test]
fn directories_of_thousands_of_names() {
    if !build::tools_exist() {
        return skip::skip("e2fsprogs is not installed");
    }
    let count = if is_thorough() { 5000 } else { 900 };
    given("w-ext4-1k", SMALL, crowd(count, 200));
    given("w-large-dir", Some(512 << 10), crowd(count, 240));
    given("w-no-dir-index", Some(512 << 10), crowd(count / 8, 200));
    given("w-ext2-1k", SMALL, crowd(count, 30));
    given("w-bigalloc", SMALL, crowd(count, 200));
}
