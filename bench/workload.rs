//! The workloads of the benchmark, for every subject alike: the library, its peers, the kernel and plain pread.
//!
//! Who calls it: each benchmark program (the library's example and the peers' programs include this one file, so that
//! all of them do the same work and count it in the same way). Whom it calls: the [`Subject`].
//! A program opens the image, does one workload, prints one line of JSON and then waits until its standard input
//! closes, so that its memory can be read from outside while it still has it.
//! Failure: the line then holds `"error"`, and what was seen until then.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Instant;

/// The file of `big.img`, and its length.
pub const BIG_FILE_PATH: &str = "/big";
/// Length of one piece of the sequential read.
const SEQUENTIAL_PIECE_BYTES: usize = 64 << 10;
/// Number, length and seed of the random reads.
const RANDOM_READS: u64 = 100_000;
const RANDOM_PIECE_BYTES: usize = 4096;
const RANDOM_SEED: u64 = 0x5eed_0f7e_a15e_d00d;

/// What is read or walked.
pub trait Subject {
    /// Visits everything below the root (not the root itself), with its attributes.
    fn walk(&mut self, seen: &mut Seen) -> Result<(), String>;

    /// Opens the one file of `big.img`; gives its length.
    fn open_big(&mut self) -> Result<u64, String>;

    /// Reads into all of `buf` at `offset` of the file that `open_big` opened.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), String>;

    /// Requests to the image so far, and bytes of them; `None` where nobody can count them.
    fn image_reads(&self) -> Option<(u64, u64)>;

    /// More fields for the line: `"name":value` pairs with a comma before each.
    fn more(&self) -> String {
        String::new()
    }
}

/// What a workload saw: equal for two subjects exactly if they saw the same, in whatever order.
#[derive(Default)]
pub struct Seen {
    /// Directory entries, without `.` and `..`.
    entries: u64,
    /// Sum of the sizes of regular files and symbolic links, or bytes read.
    bytes: u64,
    checksum: u64,
}

impl Seen {
    /// An entry: its name, its mode with the type, owner, group, and its size in bytes.
    pub fn entry(&mut self, name: &[u8], mode: u32, uid: u32, gid: u32, size_bytes: u64) {
        let kind = mode & 0o170_000;
        // The size of a directory is a matter of the file system, not of the file; device files have none.
        let size_bytes = if kind == 0o100_000 || kind == 0o120_000 { size_bytes } else { 0 };
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for &byte in name {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = mix(hash ^ u64::from(mode) ^ (u64::from(uid) << 16) ^ (u64::from(gid) << 40));
        self.entries += 1;
        self.bytes += size_bytes;
        self.checksum = self.checksum.wrapping_add(mix(hash ^ size_bytes));
    }

    /// Bytes that were read, in the order in which they were asked for.
    fn data(&mut self, data: &[u8], check: Check) {
        let step = match check {
            Check::OneWordPerPage => 4096,
            Check::AllBytes => 8,
        };
        let words = data.chunks_exact(8).step_by(step / 8);
        let folded = words.fold(0, |sum, word| sum ^ u64::from_le_bytes(word.try_into().unwrap_or_default()));
        self.bytes += data.len() as u64;
        self.checksum = self.checksum.rotate_left(1) ^ folded;
    }
}

/// How thoroughly read data is looked at. Timed runs look at one word of each page, which tells any page from any
/// other of random data and costs next to nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    OneWordPerPage,
    AllBytes,
}

/// What the program was asked to do.
pub struct Options {
    workload: String,
    /// The image.
    pub image: PathBuf,
    /// Further words, for the subject.
    pub words: Vec<String>,
    check: Check,
}

impl Options {
    fn parse() -> Result<Options, String> {
        let mut arguments = std::env::args().skip(1);
        let workload =
            arguments.next().ok_or("usage: PROGRAM open|walk|sequential|random IMAGE [--verify] ...")?;
        let image = PathBuf::from(arguments.next().ok_or("no image")?);
        let (verify, words): (Vec<_>, Vec<_>) = arguments.partition(|word| word == "--verify");
        let check = if verify.is_empty() { Check::OneWordPerPage } else { Check::AllBytes };
        Ok(Options { workload, image, words, check })
    }

    /// The value of `--name=value` among the words.
    #[allow(dead_code)]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    }
}

/// The whole program: opens with `open`, works, reports.
pub fn run<S: Subject>(open: impl FnOnce(&Options) -> Result<S, String>) -> std::process::ExitCode {
    let options = match Options::parse() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return std::process::ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let opened = open(&options);
    let open_seconds = began.elapsed().as_secs_f64();
    let mut seen = Seen::default();
    match opened {
        Ok(mut subject) => {
            let open_reads = subject.image_reads();
            let done = work(&mut subject, &options, &mut seen);
            let seconds = began.elapsed().as_secs_f64();
            let more = subject.more();
            report(&seen, open_seconds, seconds, open_reads, subject.image_reads(), &more, done.err());
            wait_for_end_of_input();
            drop(subject);
        }
        Err(why) => report(&seen, open_seconds, open_seconds, None, None, "", Some(why)),
    }
    std::process::ExitCode::SUCCESS
}

fn work<S: Subject>(subject: &mut S, options: &Options, seen: &mut Seen) -> Result<(), String> {
    match options.workload.as_str() {
        "open" => Ok(()),
        "walk" => subject.walk(seen),
        "sequential" => read_sequentially(subject, options.check, seen),
        "random" => read_randomly(subject, options.check, seen),
        other => Err(format!("unknown workload {other}")),
    }
}

fn read_sequentially<S: Subject>(subject: &mut S, check: Check, seen: &mut Seen) -> Result<(), String> {
    let len_bytes = subject.open_big()?;
    let mut buf = vec![0; SEQUENTIAL_PIECE_BYTES];
    for offset in (0..len_bytes).step_by(SEQUENTIAL_PIECE_BYTES) {
        let piece = (len_bytes - offset).min(SEQUENTIAL_PIECE_BYTES as u64) as usize;
        subject.read_at(offset, &mut buf[..piece])?;
        seen.data(&buf[..piece], check);
    }
    Ok(())
}

fn read_randomly<S: Subject>(subject: &mut S, check: Check, seen: &mut Seen) -> Result<(), String> {
    let len_bytes = subject.open_big()?;
    let pages = len_bytes / RANDOM_PIECE_BYTES as u64;
    if pages == 0 {
        return Err("the file is shorter than one page".to_owned());
    }
    let mut buf = [0; RANDOM_PIECE_BYTES];
    for i in 0..RANDOM_READS {
        let page = mix(RANDOM_SEED.wrapping_add(i)) % pages;
        subject.read_at(page * RANDOM_PIECE_BYTES as u64, &mut buf)?;
        seen.data(&buf, check);
    }
    Ok(())
}

/// The finalizer of splitmix64: every bit of the input moves every bit of the output.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn report(
    seen: &Seen,
    open_seconds: f64,
    seconds: f64,
    open_reads: Option<(u64, u64)>,
    reads: Option<(u64, u64)>,
    more: &str,
    error: Option<String>,
) {
    let number = |value: Option<u64>| value.map_or("null".to_owned(), |value| value.to_string());
    let error =
        error.map_or("null".to_owned(), |why| format!("\"{}\"", why.escape_default()).replace("\\'", "'"));
    println!(
        "{{\"open_seconds\":{open_seconds},\"seconds\":{seconds},\"entries\":{},\"bytes\":{},\"checksum\":\"{:016x}\",\
         \"open_image_bytes\":{},\"image_reads\":{},\"image_bytes\":{},\"error\":{error}{more}}}",
        seen.entries,
        seen.bytes,
        seen.checksum,
        number(open_reads.map(|(_, bytes)| bytes)),
        number(reads.map(|(count, _)| count)),
        number(reads.map(|(_, bytes)| bytes)),
    );
    // A reader that is gone wants no report.
    let _ = std::io::stdout().flush();
}

fn wait_for_end_of_input() {
    let mut rest = [0; 64];
    while matches!(std::io::stdin().read(&mut rest), Ok(n) if n > 0) {}
}
