//! Load that verifies: dbench, fio's verify jobs by several engines, stress-ng's file-system stressors.

use crate::shell::run;
use rumpcap_testing::mounted::{Driver, Image, Options, can_run, judged, long_or};

#[test]
fn dbench() {
    if !can_run(&["dbench"]) {
        return;
    }
    let image = Image::ext4(512);
    judged(&image, &Options::memory("1m"), |mounted| {
        let seconds: u64 = long_or(60, 3);
        let xattrs = if mounted.driver() == Driver::Fuse2fs { "" } else { "-x" };
        let script =
            r#"dbench $2 -D "$M" -t "$1" 4 > "$M/../said" 2>&1 || { tail -20 "$M/../said"; exit 1; }"#;
        let script = script.replace("$M/../said", "$3");
        let said = image.beside("dbench");
        let said = said.to_str().ok_or("a path")?;
        run(mounted, seconds * 20 + 60, &script, &[&seconds.to_string(), xattrs, said])?;
        let said = std::fs::read_to_string(said).map_err(|e| e.to_string())?;
        println!("{}", said.lines().last().unwrap_or_default());
        // It complains and goes on where an operation gives what a Linux file system would not.
        match said.lines().find(|line| line.starts_with('[') || line.contains("ERROR")) {
            Some(line) => Err(line.to_owned()),
            None => Ok(()),
        }
    });
}

/// Each job writes in its own order, and reads back and checks a checksum of each block.
const JOBS: [(&str, &str); 6] = [
    ("psync", "--rw=randwrite --bs=4k"),
    ("psync", "--rw=randrw --bsrange=512-64k --bs_unaligned=1 --norandommap=0"),
    ("mmap", "--rw=randwrite --bs=4k"),
    ("libaio", "--rw=randwrite --bs=16k --direct=1 --iodepth=16"),
    ("io_uring", "--rw=randwrite --bs=4k --iodepth=16"),
    ("sync", "--rw=write --bs=128k --fsync=32 --fallocate=none"),
];

#[test]
fn fio_verifies_what_it_wrote() {
    fio(&Options::memory("1m"));
}

#[test]
fn fio_with_the_writeback_cache() {
    if Driver::chosen() == Driver::Rumpcap {
        fio(&Options { memory: Some("1m"), ..Options::writeback() });
    }
}

fn fio(options: &Options) {
    if !can_run(&["fio"]) {
        return;
    }
    let image = Image::ext4(1024);
    judged(&image, options, |mounted| {
        let size = long_or("96m", "8m");
        for (n, (engine, job)) in JOBS.iter().enumerate() {
            let script = r#"
                cd "$3"
                fio --name="job$2" --directory="$M" --ioengine="$1" --size="$4" --numjobs=2 --verify=crc32c \
                    --verify_fatal=1 --do_verify=1 --randrepeat=1 --randseed="$2" --end_fsync=1 \
                    --output-format=terse $5 | cut -c1-60"#;
            let beside = image.beside("");
            let beside = beside.to_str().ok_or("a path")?;
            // An engine that the host does not allow is the host's matter.
            let probe = r#"cd "$2"; fio --name=probe --directory="$2" --ioengine="$1" --size=4k --rw=write > /dev/null && rm probe.0.0"#;
            if run(mounted, 60, probe, &[engine, beside]).is_err() {
                println!("fio: {engine} does not work on this host");
                continue;
            }
            let job = script.replace("$5", job);
            run(mounted, 600, &job, &[engine, &n.to_string(), beside, size])
                .map_err(|why| format!("{engine} {}: {why}", JOBS[n].1))?;
        }
        Ok(())
    });
}

/// The stressors of stress-ng's class `filesystem` that work on files of the current directory (the others look at
/// `/proc`, devices, or at other kernels' calls), each with what it verifies. `io` and `iomix` are not among them: they sync the whole
/// host, and so wait for what others have mounted.
const STRESSORS: [&str; 32] = [
    "access",
    "chattr",
    "chdir",
    "chmod",
    "chown",
    "copy-file",
    "dentry",
    "dir",
    "dirdeep",
    "dirmany",
    "dup",
    "fallocate",
    "fcntl",
    "fiemap",
    "file-ioctl",
    "filename",
    "flock",
    "fpunch",
    "fsize",
    "fstat",
    "getdent",
    "hdd",
    "inode-flags",
    "link",
    "locka",
    "lockf",
    "lockofd",
    "mknod",
    "rename",
    "symlink",
    "utime",
    "xattr",
];

#[test]
fn stress_ng_file_systems() {
    if !can_run(&["stress-ng"]) {
        return;
    }
    let image = Image::ext4(512);
    judged(&image, &Options::memory("1m"), |mounted| {
        let operations: u32 = long_or(2000, 30);
        let seconds: u32 = long_or(30, 2);
        let mut failed = Vec::new();
        for stressor in STRESSORS {
            let script = r#"
                mkdir -p "$M/stress"; cd "$M/stress"
                sizes="--fallocate-bytes 16m --hdd-bytes 16m"
                stress-ng --temp-path "$M/stress" $sizes "--$1" "$4" "--$1-ops" "$2" --timeout "$3" --verify --metrics-brief --seed 1 2>&1"#;
            // Two of `fcntl` share a file, which the first to end takes away with its directory.
            let instances = if stressor == "fcntl" { "1" } else { "2" };
            let arguments = [stressor, &operations.to_string(), &seconds.to_string(), instances];
            if let Err(why) = run(mounted, u64::from(seconds) + 60, script, &arguments) {
                if why.contains("not done after") {
                    return Err(why);
                }
                failed.push(format!(
                    "{stressor}: {}",
                    why.lines().skip(1).take(12).collect::<Vec<_>>().join("\n")
                ));
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
    });
}
