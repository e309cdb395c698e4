//! fsx: random reads, writes, maps, cuts, holes and copies in one file, each compared with what it must be.

use rumpcap_testing::mounted::{Driver, Image, Mounted, Options, can_run, judged, long_or, program};
use rumpcap_testing::tools::command;
use std::time::Duration;

/// Runs of each shape, and operations of a run: 1,000,000 in all when more is wanted. fsx becomes slower with every
/// operation, as its maps of the file add up.
const LONG: (u64, u32) = (50, 20_000);
const SHORT: (u64, u32) = (1, 5_000);

/// A way to run it.
struct Shape {
    seed: u64,
    file_bytes: u32,
    operation_bytes: u32,
    align: u32,
}

/// A file that fits the smallest memory, one that is larger than it, and whole blocks.
const SHAPES: [Shape; 4] = [
    Shape { seed: 1, file_bytes: 256 << 10, operation_bytes: 64 << 10, align: 1 },
    Shape { seed: 2, file_bytes: 4 << 20, operation_bytes: 256 << 10, align: 1 },
    Shape { seed: 3, file_bytes: 32 << 20, operation_bytes: 100_000, align: 1 },
    Shape { seed: 4, file_bytes: 1 << 20, operation_bytes: 64 << 10, align: 4096 },
];

#[test]
fn through_the_mount() {
    run(&Options::memory("1m"));
}

#[test]
fn with_the_writeback_cache() {
    if Driver::chosen() == Driver::Rumpcap {
        run(&Options { memory: Some("1m"), ..Options::writeback() });
    }
}

fn run(options: &Options) {
    if !can_run(&["fsx"]) {
        return;
    }
    for shape in &SHAPES {
        let image = Image::ext4(128);
        let settings = image.beside("fsx.toml");
        std::fs::write(&settings, settings_of(shape, Driver::chosen())).expect("its settings");
        judged(&image, options, |mounted| {
            let (runs, operations) = long_or(LONG, SHORT);
            (0..runs).try_for_each(|run| fsx(mounted, &settings, operations, shape.seed + 100 * run))
        });
    }
}

/// All operations but `invalidate`, which the kernel refuses on locked pages alone. fuse2fs knows no preallocation
/// beyond its own.
fn settings_of(shape: &Shape, driver: Driver) -> String {
    let fallocate = if driver == Driver::Fuse2fs { 0 } else { 3 };
    // With an alignment, fsx asks for places of no length, which every file system refuses.
    let reserve = if shape.align > 1 { 0 } else { fallocate };
    format!(
        "flen = {}\n[opsize]\nmax = {}\nalign = {}\n[weights]\nclose_open = 1\ninvalidate = 1\nread = 10\n\
         write = 10\nmapread = 10\nmapwrite = 10\ntruncate = 3\nfsync = 0.2\nfdatasync = 0.2\n\
         posix_fallocate = {reserve}\npunch_hole = {fallocate}\nsendfile = 3\nposix_fadvise = 1\n\
         copy_file_range = 3\n",
        shape.file_bytes, shape.operation_bytes, shape.align
    )
}

fn fsx(mounted: &Mounted, settings: &std::path::Path, operations: u32, seed: u64) -> Result<(), String> {
    let program = program("fsx").ok_or("fsx has gone")?;
    let artifacts = settings.parent().ok_or("a directory beside the image")?;
    let mut fsx = command(program.to_str().ok_or("its path")?);
    fsx.arg("-f").arg(settings).arg("-P").arg(artifacts);
    fsx.args(["-N", &operations.to_string(), "-S", &seed.to_string()]);
    fsx.arg(mounted.join("file"));
    mounted
        .run_long(Duration::from_secs(long_or(600, 120)), fsx)
        .map(drop)
        .map_err(|why| format!("seed {seed}: {why}"))
}
