//! SQLite in a mount: processes beside each other, in both kinds of journal, and killed in the middle.
//!
//! Money moves between accounts; its sum never changes. WAL needs shared maps of a file, the rollback journal needs
//! locks, synced directories and unlinked files.

use crate::shell::run;
use rumpcap_testing::mounted::{Driver, Image, Mounted, Options, can_run, judged, long_or};

const JOURNALS: [&str; 4] = ["wal", "delete", "truncate", "persist"];

#[test]
fn processes_beside_each_other() {
    if can_run(&["sqlite3"]) {
        judged(&Image::ext4(128), &Options::memory("1m"), |mounted| {
            JOURNALS.iter().try_for_each(|journal| transfers(mounted, journal, "false"))
        });
    }
}

#[test]
fn processes_killed_in_the_middle() {
    if can_run(&["sqlite3"]) {
        judged(&Image::ext4(128), &Options::memory("1m"), |mounted| {
            JOURNALS.iter().try_for_each(|journal| transfers(mounted, journal, "true"))
        });
    }
}

#[test]
fn with_the_writeback_cache() {
    if Driver::chosen() == Driver::Rumpcap && can_run(&["sqlite3"]) {
        judged(&Image::ext4(128), &Options::writeback(), |mounted| {
            JOURNALS.iter().try_for_each(|journal| transfers(mounted, journal, "true"))
        });
    }
}

fn transfers(mounted: &Mounted, journal: &str, kill: &str) -> Result<(), String> {
    let script = r#"
        db="$M/$1.db"; rm -f "$db"*
        sqlite3 "$db" "pragma journal_mode=$1; create table account(id integer primary key, balance, note);
            with recursive n(i) as (select 1 union all select i+1 from n where i < 1000)
            insert into account select i, 100, hex(randomblob(100)) from n; create index balances on account(balance);" > /dev/null
        move() {
            for n in $(seq "$1"); do
                from=$((1 + RANDOM % 1000)); to=$((1 + RANDOM % 1000))
                echo "begin immediate; update account set balance = balance - $n where id = $from; update account set balance = balance + $n, note = hex(randomblob($n % 400)) where id = $to; commit;"
            done
        }
        children=
        for process in 1 2 3 4; do
            RANDOM=$process; move "$3" | sqlite3 -cmd ".timeout 60000" -cmd "pragma synchronous=full" -cmd "pragma journal_mode=$1" "$db" > /dev/null &
            children="$children $!"
        done
        if [ "$2" = true ]; then
            sleep 0.5; kill -9 $children 2> /dev/null || true
            wait $children 2> /dev/null || true
        else
            for child in $children; do wait $child; done
        fi
        test "$(sqlite3 "$db" 'pragma integrity_check')" = ok
        test "$(sqlite3 "$db" 'select sum(balance), count(*) from account')" = "100000|1000"
        sqlite3 "$db" 'vacuum'; test "$(sqlite3 "$db" 'pragma integrity_check')" = ok"#;
    let count: u32 = long_or(1000, 40);
    run(mounted, 300, script, &[journal, kill, &count.to_string()])
        .map(drop)
        .map_err(|why| format!("{journal}: {why}"))
}
