//! A server that is killed: what was made durable is there, by the journal.

use crate::fixture::{Place, end_of, is_possible};
use rumpcap_testing::tools::{command, output, run};
use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

#[test]
fn after_a_kill_the_journal_is_replayed_and_what_was_synced_is_there() {
    if !is_possible() {
        return;
    }
    let place = Place::new(&["-t", "ext4"]);
    for round in 0..3_u32 {
        assert_eq!(end_of(&place.mount(&["--rw", "--memory-limit", "1m"])).0, 0);
        let dir = place.mnt.join(round.to_string());
        fs::create_dir(&dir).unwrap();
        for n in 0..50_u32 {
            let mut file = File::create(dir.join(n.to_string())).unwrap();
            file.write_all(&vec![n as u8; 20_000]).unwrap();
            file.sync_all().unwrap();
        }
        // Something is under way when it dies.
        let busy = std::thread::spawn({
            let dir = dir.clone();
            move || {
                (0..)
                    .take_while(|n| fs::write(dir.join(format!("busy-{n}")), vec![1; 50_000]).is_ok())
                    .count()
            }
        });
        std::thread::sleep(Duration::from_millis(u64::from(50 * round)));
        run(command("kill").arg("-KILL").arg(place.server().unwrap().to_string()));
        busy.join().unwrap();
        place.wait_for_end();
        run(command("umount").arg("-l").arg(&place.mnt));
        assert_eq!(end_of(&place.mount(&["--rw", "--memory-limit", "1m"])).0, 0);
        for n in 0..50_u32 {
            assert_eq!(fs::read(dir.join(n.to_string())).unwrap(), vec![n as u8; 20_000], "{round}/{n}");
        }
        place.umount();
        place.check();
    }
    // By the kernel's own recovery too.
    let recovered = output(command("e2fsck").args(["-fp"]).arg(&place.image));
    assert!(recovered.status.code().is_some_and(|code| code <= 1));
}
