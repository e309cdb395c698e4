//! `rumpcap trace replay`: misses by policy and limit, as a table, as JSON, as a drawing.
//!
//! Memory: the recording, 12 bytes a step, outside any limit: the optimum has to know the future.

use super::table;
use crate::outcome::{Run, Stop, plain};
use crate::quote;
use crate::session::Session;
use crate::units::parse_size;
use clap::{Args, ValueEnum};
use rumpcap_trace::format::Header;
use rumpcap_trace::{Contender, Curves, ReadAhead, Trace, curves, draw};
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
s3-fifo and lru are run as they are, in a kernel's memory at each limit; the others are simulated with as \
many frames as pages would have there. What the kernel kept for other things is taken in proportion to the limit.

Examples:
  rumpcap trace replay walk.trace
  rumpcap trace replay --limits 256k,512k,1m --policies s3-fifo,lru,optimum walk.trace
  rumpcap trace replay --svg misses.svg --json walk.trace > misses.json";

/// Between the smallest and what nearly everything fits.
const DEFAULT_LIMITS: &str = "128k,192k,256k,384k,512k,768k,1m,1536k,2m,3m,4m,8m";

const BUFFER_BYTES: usize = 64 << 10;

/// Options of `trace replay`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ReplayArgs {
    /// Limits to replay at; that of the recording is added
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',', value_parser = parse_size, default_value = DEFAULT_LIMITS)]
    limits: Vec<u64>,
    /// Policies to compare
    #[arg(
        long,
        value_name = "POLICY,...",
        value_delimiter = ',',
        default_value = "optimum,s3-fifo,lru,s3-fifo-published,clock-pro"
    )]
    policies: Vec<Compared>,
    /// Read ahead where the recorded command did (s3-fifo and lru only)
    #[arg(long)]
    read_ahead: bool,
    /// Draw the misses against the limit
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// The recording
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// A [`Contender`] by name.
#[derive(Clone, Copy, Debug)]
struct Compared(Contender);

impl ValueEnum for Compared {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Compared; Contender::ALL.len()] = {
            let mut all = [Compared(Contender::Optimum); Contender::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = Compared(Contender::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.0.name()))
    }
}

/// What is shown.
pub(super) struct Results {
    pub(super) trace: Trace,
    pub(super) curves: Curves,
    pub(super) read_ahead: ReadAhead,
    /// What the recording's limit and policy give with its read-ahead, if it had a limit.
    pub(super) again: Option<rumpcap_trace::Replayed>,
}

/// Runs `trace replay`.
pub fn run(session: &mut Session, args: &ReplayArgs) -> Run {
    let results = results(args)?;
    if let Some(path) = &args.svg {
        let title = table::title(&results);
        let drawn = draw(&results.curves, &title, &table::summary(&results));
        std::fs::write(path, drawn).map_err(|e| failed(path, &plain(&e)))?;
    }
    if args.json {
        serde_json::to_writer_pretty(&mut session.out, &table::json(&results))?;
        writeln!(session.out)?;
    } else {
        session.out.write_all(table::text(&results).as_bytes())?;
    }
    Ok(())
}

fn results(args: &ReplayArgs) -> Run<Results> {
    let file = File::open(&args.file).map_err(|e| failed(&args.file, &plain(&e)))?;
    let trace = Trace::read(BufReader::with_capacity(BUFFER_BYTES, file))
        .map_err(|fault| failed(&args.file, &fault.to_string()))?;
    let read_ahead = if args.read_ahead { ReadAhead::Recorded } else { ReadAhead::None };
    let Header { limit_bytes, policy, .. } = trace.header;
    let limits: Vec<u64> = args.limits.iter().copied().chain(limit_bytes).collect();
    let who: Vec<Contender> = args.policies.iter().map(|compared| compared.0).collect();
    let fatal = |e: rumpcap::Error| Stop::Fatal(e.to_string());
    let curves = curves(&trace, &limits, &who, read_ahead).map_err(fatal)?;
    let again = limit_bytes.map(|bytes| rumpcap_trace::replay(&trace, policy, bytes, ReadAhead::Recorded));
    let again = again.transpose().map_err(fatal)?;
    Ok(Results { trace, curves, read_ahead, again })
}

fn failed(path: &Path, why: &str) -> Stop {
    Stop::Fatal(format!("{}: {why}", quote::for_message(path.as_os_str().as_bytes())))
}
