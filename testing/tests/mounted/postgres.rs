//! PostgreSQL in a mount: initdb, pgbench, its server killed and recovered, its own checks of pages and indexes.
//!
//! What pgbench leaves must add up: the changes of its history are those of accounts, tellers and branches.

use crate::shell::run;
use rumpcap_testing::mounted::{Driver, Image, Options, can_run, is_long, judged, long_or};
use rumpcap_testing::skip::skip;
use rumpcap_testing::tools::{command, output};
use std::path::PathBuf;

/// Where Debian puts the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions.filter_map(|version| Some(version.ok()?.path())).max()?;
    Some(newest.join("bin")).filter(|bin| bin.join("initdb").exists())
}

#[test]
fn is_killed_and_recovers() {
    judge(&Options::memory("2m"));
}

#[test]
fn with_the_writeback_cache() {
    if Driver::chosen() == Driver::Rumpcap && is_long() {
        judge(&Options::writeback());
    }
}

fn judge(options: &Options) {
    if !can_run(&["runuser"]) {
        return;
    }
    let Some(programs) = programs() else { return skip("PostgreSQL is not installed") };
    if !output(command("id").arg("postgres")).status.success() {
        return skip("there is no user postgres");
    }
    let image = Image::ext4(1024);
    judged(&image, options, |mounted| {
        // Its socket is beside the data: nothing of the host is used but the user. It listens to nobody else.
        let script = r#"
            export PATH="$1:$PATH"; data="$M/pg/data"
            mkdir -p "$M/pg/socket"; chown -R postgres "$M/pg"; cd "$M/pg"
            as() { runuser -u postgres -- "$@"; }
            start() { as pg_ctl -D "$data" -w -t 120 -l "$M/pg/log" start > /dev/null || { tail -20 "$M/pg/log"; exit 1; }; }
            sql() { as psql -h "$M/pg/socket" -XAtq -v ON_ERROR_STOP=1 -c "$1" bench; }
            bench() { as pgbench -h "$M/pg/socket" "$@" bench; }
            adds_up() {
                test "$(sql "select (select sum(abalance) from pgbench_accounts) = (select coalesce(sum(delta), 0) from pgbench_history)
                    and (select sum(tbalance) from pgbench_tellers) = (select coalesce(sum(delta), 0) from pgbench_history)
                    and (select sum(bbalance) from pgbench_branches) = (select coalesce(sum(delta), 0) from pgbench_history)")" = t
            }
            trap 'as pg_ctl -D "$data" -m immediate stop > /dev/null 2>&1 || true' EXIT
            as initdb -D "$data" -k -A trust -E UTF8 --locale=C > /dev/null
            printf "listen_addresses = ''\nunix_socket_directories = '%s'\nmax_wal_size = 64MB\nshared_buffers = 16MB\nautovacuum_naptime = 5s\n" \
                "$M/pg/socket" >> "$data/postgresql.conf"
            start
            as createdb -h "$M/pg/socket" bench
            bench -i -q -s "$2" > /dev/null 2>&1
            bench -n -c 4 -j 2 -t "$3" | grep -E 'processed|tps'
            adds_up
            for round in $(seq "$4"); do
                bench -n -c 4 -j 2 -T 30 > /dev/null 2>&1 &
                client=$!
                sleep 2
                # The server and all of its processes at once.
                server=$(head -1 "$data/postmaster.pid")
                all="$server $(ps -o pid= --ppid "$server")"
                kill -9 $all 2> /dev/null || true
                wait $client || true
                for one in $all; do
                    while grep -qs '^State:\s[^Z]' "/proc/$one/status"; do sleep 0.1; done
                done
                # Where nobody collects the dead, their numbers look as if they lived.
                rm -f "$data/postmaster.pid" "$M"/pg/socket/.s.*
                start
                adds_up
                as pg_amcheck -h "$M/pg/socket" --install-missing --heapallindexed --parent-check bench
            done
            sql 'vacuum full'; sql 'reindex database bench'; sql 'checkpoint'
            as pg_amcheck -h "$M/pg/socket" --heapallindexed --parent-check bench
            as pg_ctl -D "$data" -m fast -w stop > /dev/null
            as pg_checksums --check -D "$data" | grep -i bad"#;
        let script = format!("{script}; echo done");
        let (scale, transactions, rounds) = long_or(("20", "5000", "10"), ("1", "150", "1"));
        let bin = programs.to_str().ok_or("a path")?;
        let said = run(mounted, long_or(1800, 200), &script, &[bin, scale, transactions, rounds])?;
        println!("{}", said.trim());
        if said.contains("Bad checksums:  0") { Ok(()) } else { Err(said) }
    });
}
