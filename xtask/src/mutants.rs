//! `cargo xtask mutants`: takes one rule of the memory's code, or of writing, away at a time and sees that a test fails.
//!
//! Each mutant is a replacement of text in a copy of the sources; a text that is not found exactly once is an error, so
//! that a mutant never says less than its name. The copy and what is built of it are in the target folder. A mutant is
//! caught by a test that fails or that does not end in time. It must compile: only a test may catch it.
//!
//! Not part of CI: it takes minutes. `cargo test -p rumpcap-model` does the same to the design.

use crate::{Result, workspace};
use std::path::Path;
use std::process::{Command, Stdio};

/// Options of the task.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only mutants whose name contains this
    name: Option<String>,
}

/// Time for one run of the tests, in seconds: several times what they take when nothing is wrong.
const TIME_LIMIT_SECONDS: &str = "180";

/// Exit code of timeout(1) for a program that did not end.
const TIMED_OUT: i32 = 124;

/// In this file, this text becomes that one.
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

/// A rule that is taken away.
struct Mutant {
    name: &'static str,
    edits: &'static [Edit],
}

const fn edit(file: &'static str, from: &'static str, to: &'static str) -> Edit {
    Edit { file, from, to }
}

const BOOT: &str = "crates/vm/src/boot.rs";
const FAULT: &str = "crates/vm/src/fault.rs";
const FRAMES: &str = "crates/vm/src/frames.rs";
const COPYING: &str = "crates/vm/src/copying.rs";
const GATE: &str = "crates/vm/src/gate.rs";
const HIT: &str = "crates/vm/src/hit.rs";
const PAGE_TABLE: &str = "crates/vm/src/page_table.rs";
const NAMECACHE: &str = "crates/vfs/src/namecache.rs";
const PAGE: &str = "crates/vm/src/page.rs";
const PAGEDAEMON: &str = "crates/vm/src/pagedaemon.rs";
const RESIDENT: &str = "crates/vm/src/resident.rs";
const VNODE: &str = "crates/vfs/src/vnode.rs";

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "no gate (F2)",
        edits: &[
            edit(GATE, "        vm.gate.enter(frames);\n", ""),
            edit(GATE, "        self.vm.gate.leave(self.frames);\n", ""),
        ],
    },
    Mutant {
        name: "who fits passes who waits (GA-3)",
        edits: &[edit(GATE, "while state < WAITER && state >=", "while state % WAITER >=")],
    },
    Mutant {
        name: "waiters take what they can, whoever's turn it is (GA-3)",
        edits: &[edit(GATE, "turns.serving != ticket || !self.take(frames)", "!self.take(frames)")],
    },
    Mutant {
        name: "who leaves the gate wakes nobody",
        edits: &[edit(GATE, "if before >= WAITER {", "if before >= WAITER && false {")],
    },
    Mutant {
        name: "who is served at the gate does not wake the next",
        edits: &[edit(
            GATE,
            "        self.channel(turns.serving).notify_all();\n        drop(turns);",
            "        drop(turns);",
        )],
    },
    Mutant {
        name: "the last frames can be wired (GA-2)",
        edits: &[edit(GATE, "self.capacity - LARGEST - turns.wired", "self.capacity - turns.wired")],
    },
    Mutant {
        name: "more pins than reserved (F1)",
        edits: &[edit(GATE, "assert!(pinned <= self.frames,", "assert!(pinned <= u32::MAX,")],
    },
    Mutant {
        name: "the daemon has no reserve (GA-1)",
        edits: &[edit(BOOT, "Gate::new(plan.frames - RESERVE_FRAMES)", "Gate::new(plan.frames)")],
    },
    Mutant {
        name: "pinned pages are evicted (PG-3)",
        edits: &[edit(
            PAGE,
            "self.state.compare_exchange(VALID, 0, SeqCst, SeqCst).is_ok()",
            "self.state.load(Relaxed) & VALID != 0 && {\n            self.state.store(0, Relaxed);\n            true\n        }",
        )],
    },
    Mutant {
        name: "a page that is being copied is evicted (CO-1)",
        edits: &[edit(
            PAGE_TABLE,
            "        if self.copies.is_announced(frame) {\n            page.unevict();",
            "        if self.copies.is_announced(frame) && false {\n            page.unevict();",
        )],
    },
    Mutant {
        name: "a hint is believed however old it is (HI-3)",
        edits: &[edit(HIT, "wrapping_sub(hint.tick()) > 1 {", "wrapping_sub(hint.tick()) > u32::MAX - 1 {")],
    },
    Mutant {
        name: "a page is changed while it is copied (MO)",
        edits: &[edit(
            COPYING,
            "slot.frame.load(SeqCst) == frame.0)",
            "slot.frame.load(SeqCst) == frame.0 && false)",
        )],
    },
    Mutant {
        name: "who has read a wanted page wakes nobody",
        edits: &[edit(
            FAULT,
            "finish(u32::from(frame == first));",
            "finish(u32::from(frame == first)) && false;",
        )],
    },
    Mutant {
        name: "who has failed to read a wanted page wakes nobody",
        edits: &[edit(FAULT, "abandon(&self.vm.table, frame);", "abandon(&self.vm.table, frame) && false;")],
    },
    Mutant {
        name: "who makes a frame free wakes nobody",
        edits: &[edit(
            FAULT,
            "if self.frame_waiters.load(SeqCst) > 0 {",
            "if self.frame_waiters.load(SeqCst) > 0 && false {",
        )],
    },
    Mutant {
        name: "who unpins wakes nobody",
        edits: &[edit(
            FRAMES,
            "        self.reservation.unpin();\n        vm.frame_may_be_free();",
            "        self.reservation.unpin();",
        )],
    },
    Mutant {
        name: "who is woken before he sleeps sleeps",
        edits: &[edit(
            FAULT,
            "if !copying && resident.wakes != wakes {",
            "if !copying && (wakes, false).1 {",
        )],
    },
    Mutant {
        name: "a full quarter of I/O is no limit to reading ahead (FA-2)",
        edits: &[edit(FAULT, ".saturating_sub(in_flight);", ".saturating_sub(in_flight).max(u32::MAX);")],
    },
    Mutant {
        name: "an object over its share takes others' pages (F4)",
        edits: &[edit(
            RESIDENT,
            "        let object = self.over_share?;\n",
            "        let object = self.over_share.filter(|_| false)?;\n",
        )],
    },
    Mutant {
        name: "nobody wakes the daemon's thread",
        edits: &[edit(
            PAGEDAEMON,
            "            *order = Order::Work;\n",
            "            *order = Order::Sleep;\n",
        )],
    },
    Mutant {
        name: "the daemon's round wakes nobody",
        edits: &[edit(
            PAGEDAEMON,
            "        self.wake_frame_waiters();\n        round.tell",
            "        round.tell",
        )],
    },
    Mutant {
        name: "no round is ever stuck (F6)",
        edits: &[edit(
            PAGEDAEMON,
            "if round.frames() == 0 && waits_for_nothing {",
            "if round.frames() == 0 && waits_for_nothing && false {",
        )],
    },
    Mutant {
        name: "the daemon waits for the namecache's lock (PD-1)",
        edits: &[edit(
            NAMECACHE,
            "let Some(mut cache) = self.cache.try_lock() else { return 0 };",
            "let mut cache = self.cache.lock();",
        )],
    },
    Mutant {
        name: "the daemon waits for the vnode table's lock (PD-1)",
        edits: &[edit(
            VNODE,
            "let Some(mut cache) = self.cache.try_lock() else { return 0 };",
            "let mut cache = self.cache.lock();",
        )],
    },
];

/// The tests, quickest first: of the memory, of the caches that it asks, of the memory under many schedules and threads.
const SUITES: &[&[&str]] = &[
    &["--package", "rumpcap-vm", "--lib", "--test", "policies"],
    &["--package", "rumpcap-vfs", "--lib"],
    &["--package", "rumpcap-vm", "--features", "shuttle", "--test", "schedules"],
    &["--package", "rumpcap-vm", "--test", "progress"],
];

const COMMIT: &str = "fs/ext4/src/transaction/commit.rs";
const BACKGROUND: &str = "fs/ext4/src/journal/write/background.rs";
const CHECKPOINT: &str = "fs/ext4/src/journal/write/checkpoint.rs";
const SYNC_FILE: &str = "fs/ext4/src/transaction/sync_file.rs";
const WRITE: &str = "crates/vfs/src/write.rs";
const WRITING: &str = "crates/vfs/src/writing.rs";
const COMPOUND: &str = "fs/ext4/src/journal/write/compound.rs";
const ENCODE: &str = "fs/ext4/src/journal/write/encode.rs";
const FREED: &str = "fs/ext4/src/transaction/freed.rs";
const HANDLE: &str = "fs/ext4/src/transaction/handle.rs";
const REMOVE: &str = "fs/ext4/src/namespace/remove.rs";
const TRANSACTION: &str = "fs/ext4/src/transaction/mod.rs";
const TREE: &str = "fs/ext4/src/map_change/tree.rs";

/// Rules of writing: what is durable when.
const DURABLE: &[Mutant] = &[
    Mutant {
        name: "fsync takes every change for durable (LC-3)",
        edits: &[edit(
            SYNC_FILE,
            "last.is_durable(last.transaction(ino, what)).then_some",
            "(last.is_durable(0) || last.transaction(ino, what) > 0).then_some",
        )],
    },
    Mutant {
        name: "the tail moves before what was logged meanwhile is durable (BG-1)",
        edits: &[edit(
            BACKGROUND,
            "        self.sync(map, now)?;\n        let (head, next)",
            "        let (head, next)",
        )],
    },
    Mutant {
        name: "what is newer than the mark goes home (LW-3)",
        edits: &[edit(
            CHECKPOINT,
            "placement.distance(logged.place) < within;",
            "placement.distance(logged.place) < u32::MAX;",
        )],
    },
    Mutant {
        name: "who writes a file does not wait while it is changed in steps",
        edits: &[edit(
            WRITING,
            "if !change.opens.is_changing(ino) {",
            "if !change.opens.is_changing(ino) || true {",
        )],
    },
    Mutant {
        name: "a large overwrite forgets dirty pages that it does not write",
        edits: &[edit(WRITE, "        self.vfs.vm.write_back(Dirty::In(vnode.object(), first, end));\n", "")],
    },
];

/// Their tests.
const DURABLE_SUITES: &[&[&str]] = &[
    &["--package", "rumpcap", "--test", "durable"],
    &["--package", "rumpcap-ext4", "--test", "journal_write"],
    &["--package", "rumpcap-testing", "--test", "writing", "power::content_before"],
];

/// Rules of transactions, of the log, of freed blocks and orphans.
const EXT4: &[Mutant] = &[
    Mutant {
        name: "what was taken back counts as changed (TX-1)",
        edits: &[edit(
            TRANSACTION,
            "            page.restore_held_units(units);\n",
            "            let _ = units;\n",
        )],
    },
    Mutant {
        name: "old bytes are not put back (TX-1)",
        edits: &[edit(TRANSACTION, "bytes.copy_from_slice(old);", "let _ = (bytes, old);")],
    },
    Mutant {
        name: "counts are not taken back (TX-1)",
        edits: &[edit(TRANSACTION, "        tx.state = tx.before;\n", "")],
    },
    Mutant {
        name: "freed blocks are used at once (FR-1)",
        edits: &[edit(
            HANDLE,
            "self.tx.freed.in_the_way(blocks)",
            "self.tx.freed.in_the_way(blocks).filter(|_| false)",
        )],
    },
    Mutant {
        name: "a full list of freed blocks forgets (FR-1)",
        edits: &[edit(FREED, "None => self.mark_groups(first, count),", "None => {}")],
    },
    Mutant {
        name: "freed metadata is written (commit)",
        edits: &[edit(COMMIT, "!= 0 && !is_freed {", "!= 0 && !(is_freed && false) {")],
    },
    Mutant {
        name: "without a journal no flush behind new blocks (CO-2)",
        edits: &[edit(
            COMMIT,
            "            self.write_blocks(created)?;\n            self.device.device().flush()?;\n",
            "            self.write_blocks(created)?;\n",
        )],
    },
    Mutant {
        name: "no flush before a commit block (LW-2)",
        edits: &[edit(COMPOUND, "        self.flush()?;\n        self.last_time", "        self.last_time")],
    },
    Mutant {
        name: "nothing is revoked in the log",
        edits: &[edit(COMPOUND, "        self.write_revokes(map)?;\n", "")],
    },
    Mutant {
        name: "a block that looks like the journal's is not escaped",
        edits: &[edit(
            COMPOUND,
            "if begin == MAGIC_BYTES =>",
            "if begin == MAGIC_BYTES && rest.is_empty() =>",
        )],
    },
    Mutant {
        name: "an escaped block comes home as it is in the log",
        edits: &[edit(CHECKPOINT, ".filter(|_| is_escaped)", ".filter(|_| is_escaped && false)")],
    },
    Mutant {
        name: "copies in the log have no checksum",
        edits: &[edit(
            ENCODE,
            "pieces.into_iter().fold(seed, crc32c)",
            "pieces.into_iter().take(0).fold(seed, crc32c)",
        )],
    },
    Mutant {
        name: "a file without names that is open is no orphan (DE-1)",
        edits: &[edit(
            REMOVE,
            "        self.add_orphan(inode)?;\n        self.put_inode(inode)?;\n        Ok(removed)",
            "        self.put_inode(inode)?;\n        Ok(removed)",
        )],
    },
    Mutant {
        name: "keys above a leaf stay as they were (TR-1)",
        edits: &[edit(TREE, "if is_first && level > 0 {", "if is_first && level > 0 && false {")],
    },
];

/// Their tests, quickest first: of the file system's parts, of the log under power cuts, of whole mounts.
const EXT4_SUITES: &[&[&str]] = &[
    &["--package", "rumpcap-ext4", "--lib"],
    &["--package", "rumpcap-ext4", "--test", "journal_write"],
    &["--package", "rumpcap-testing", "--test", "writing", "power::"],
    &["--package", "rumpcap-testing", "--test", "writing", "sequences::"],
];

/// Rules, and the tests of which one must fail without each.
const GROUPS: [(&[Mutant], &[&[&str]]); 3] =
    [(MUTANTS, SUITES), (DURABLE, DURABLE_SUITES), (EXT4, EXT4_SUITES)];

/// Runs all mutants, or those that are named.
pub(crate) fn run(args: &Args) -> Result {
    let metadata = workspace::metadata(&["--no-deps"])?;
    let copy = metadata.target_directory.join("mutants/sources");
    copy_sources(&copy)?;
    let wanted = |mutant: &&Mutant| args.name.as_ref().is_none_or(|name| mutant.name.contains(name.as_str()));
    let groups = GROUPS.iter().filter(|(mutants, _)| mutants.iter().any(|mutant| wanted(&mutant)));
    for suite in groups.flat_map(|(_, suites)| *suites) {
        if test(&copy, suite)? != Outcome::Passed {
            return Err(format!("the tests fail without any mutant: {}", suite.join(" ")).into());
        }
    }
    let (mut caught, mut survived) = (0, Vec::new());
    let each =
        GROUPS.iter().flat_map(|(mutants, suites)| mutants.iter().map(move |mutant| (mutant, *suites)));
    for (mutant, suites) in each.filter(|(mutant, _)| wanted(mutant)) {
        match who_catches(&copy, mutant, suites)? {
            Some(how) => {
                println!("caught    {}: {how}", mutant.name);
                caught += 1;
            }
            None => {
                println!("SURVIVED  {}", mutant.name);
                survived.push(mutant.name);
            }
        }
    }
    println!("{caught} mutants caught, {} survived", survived.len());
    if survived.is_empty() { Ok(()) } else { Err(format!("no test fails: {}", survived.join("; ")).into()) }
}

/// What became of a run of tests.
#[derive(PartialEq)]
enum Outcome {
    Passed,
    Failed,
    TimedOut,
}

/// Which tests fail with the mutant, and how; `None` if none does. The copy is then as it was.
fn who_catches(copy: &Path, mutant: &Mutant, suites: &[&[&str]]) -> Result<Option<String>> {
    for edit in mutant.edits {
        let text = std::fs::read_to_string(workspace::root().join(edit.file))?;
        let count = text.matches(edit.from).count();
        if count != 1 {
            return Err(format!(
                "{}: found {count} times, not once, in {}: {}",
                mutant.name, edit.file, edit.from
            )
            .into());
        }
    }
    for edit in mutant.edits {
        let path = copy.join(edit.file);
        std::fs::write(&path, std::fs::read_to_string(&path)?.replacen(edit.from, edit.to, 1))?;
    }
    let caught = run_suites(copy, mutant.name, suites);
    for edit in mutant.edits {
        std::fs::copy(workspace::root().join(edit.file), copy.join(edit.file))?;
    }
    caught
}

fn run_suites(copy: &Path, name: &str, suites: &[&[&str]]) -> Result<Option<String>> {
    for suite in suites {
        let outcome = test(copy, suite).map_err(|why| format!("{name}: {why}"))?;
        let tests = suite.join(" ");
        match outcome {
            Outcome::Passed => {}
            Outcome::Failed => return Ok(Some(format!("a test fails ({tests})"))),
            Outcome::TimedOut => return Ok(Some(format!("a test does not end ({tests})"))),
        }
    }
    Ok(None)
}

/// Compiles and runs a suite in the copy.
///
/// # Errors
/// When it does not compile.
fn test(copy: &Path, suite: &[&str]) -> Result<Outcome> {
    let cargo = |seconds| {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", seconds]);
        command.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(["test", "--offline", "--locked", "--quiet"]).args(suite).current_dir(copy);
        command.env("CARGO_TARGET_DIR", copy.with_file_name("target"));
        // Lints are for the sources as they are.
        command.env("RUSTFLAGS", "--cap-lints=warn -Awarnings");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    // The time limit is for tests; a first build takes as long as it takes.
    let built = cargo("0").arg("--no-run").status()?;
    if !built.success() {
        return Err(format!("does not compile: cargo test {}", suite.join(" ")).into());
    }
    let status = cargo(TIME_LIMIT_SECONDS).status()?;
    Ok(match status.code() {
        Some(0) => Outcome::Passed,
        Some(TIMED_OUT) => Outcome::TimedOut,
        _ => Outcome::Failed,
    })
}

/// Copies what git knows, and what it would know, of the sources. Files that are the same keep their time, so that only
/// what has changed is compiled again.
fn copy_sources(copy: &Path) -> Result {
    let root = workspace::root();
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()?;
    for file in String::from_utf8(listed.stdout)?.split('\0').filter(|file| !file.is_empty()) {
        let (from, to) = (root.join(file), copy.join(file));
        let Ok(text) = std::fs::read(&from) else { continue };
        if std::fs::read(&to).is_ok_and(|there| there == text) {
            continue;
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&to, text)?;
    }
    Ok(())
}
