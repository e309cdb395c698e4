//! What developers do all day: git, and cargo.

use crate::shell::run;
use rumpcap_testing::mounted::{Image, Options, can_run, judged};

#[test]
fn git_clones_works_and_is_content() {
    if !can_run(&["git"]) {
        return;
    }
    let origin = tempfile::tempdir().expect("a directory for the origin");
    let image = Image::ext4(256);
    judged(&image, &Options::memory("1m"), |mounted| {
        let script = r#"
            export HOME="$1" GIT_CONFIG_NOSYSTEM=1
            git config --global user.name nobody; git config --global user.email nobody@localhost
            git config --global init.defaultBranch main; git config --global core.fsync all
            git config --global safe.directory '*'
            git init -q "$1/origin"; cd "$1/origin"
            for round in $(seq 20); do
                for n in $(seq 30); do mkdir -p "d$((n % 7))"; echo "$round $n $RANDOM" >> "d$((n % 7))/f$n"; done
                head -c 200000 /dev/urandom > "large$((round % 5))"
                git add -A; git commit -qm "round $round"
            done
            git clone -q --no-hardlinks "$1/origin" "$M/clone"
            cd "$M/clone"
            git fsck --full --strict
            test -z "$(git status --porcelain)"
            for round in $(seq 10); do
                git checkout -q -b "b$round" "HEAD~$round"; echo "$round" > "new$round"
                git add -A; git commit -qm "on $round"; git checkout -q main
            done
            git merge -q -m "merge" b3 || { git checkout -q --ours . ; git add -A; git commit -qm "merge"; }
            git worktree add -q "$M/second" b5
            git gc -q --aggressive --prune=now
            git repack -adq; git fsck --full --strict
            git clone -q "$M/clone" "$M/linked"; git -C "$M/linked" fsck --full
            git -C "$M/linked" log --oneline | wc -l
            git push -q origin b1 b2; git -C "$1/origin" fsck --full
            test -z "$(git status --porcelain)""#;
        run(mounted, 120, script, &[origin.path().to_str().ok_or("a path")?]).map(drop)
    });
}

#[test]
fn cargo_builds_and_runs() {
    if !can_run(&["cargo"]) {
        return;
    }
    let image = Image::ext4(512);
    judged(&image, &Options::default(), |mounted| {
        // Hard links, locks, times that say what is new, maps that are executed; a second build finds nothing to do.
        let script = r#"
            unset CARGO_TARGET_DIR RUSTFLAGS; export CARGO_INCREMENTAL=1
            mkdir -p "$M/made/src" "$M/made/helper/src"; cd "$M/made"
            printf '[workspace]\nmembers = ["helper"]\n[package]\nname = "made"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\nhelper = { path = "helper" }\n' > Cargo.toml
            printf '[package]\nname = "helper"\nversion = "0.1.0"\nedition = "2021"\n' > helper/Cargo.toml
            echo 'pub fn answer() -> u32 { (1..=6).map(|n| n * 2).sum() }' > helper/src/lib.rs
            echo 'fn main() { println!("{}", helper::answer()); }' > src/main.rs
            cargo build --offline
            test "$(target/debug/made)" = 42
            cargo build --offline 2>&1 | tee again; ! grep -q Compiling again
            echo 'pub fn answer() -> u32 { 7 }' > helper/src/lib.rs
            cargo run --offline -q > said; test "$(cat said)" = 7
            cargo build --offline --release; test "$(target/release/made)" = 7"#;
        run(mounted, 180, script, &[]).map(drop)
    });
}
