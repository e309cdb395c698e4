use rumpcap_testing::images::matrix;
use rumpcap_testing::oracle;
#[test]
fn all() {
    for spec in matrix::all() {
        let t = std::time::Instant::now();
        let r = std::panic::catch_unwind(|| {
            let image = spec.image();
            let built = t.elapsed();
            let t = std::time::Instant::now();
            let (d, by) = oracle::describe(&image);
            let unk =
                d.entries.values().filter(|e| e.content.is_none() && e.mode & 0o170000 == 0o100000).count();
            eprintln!(
                "{}: built {:?} described {:?} by {by}: {} entries, {unk} without content",
                spec.name,
                built,
                t.elapsed(),
                d.entries.len()
            );
        });
        if r.is_err() {
            eprintln!("FAILED {}", spec.name);
        }
    }
}
