//! `cargo run --release -p rumpcap-model`: checks every configuration up to 4 threads, 3 objects and 6 frames, and prints
//! docs/model.md's table. With numbers behind it, `threads objects frames`, that configuration alone, and the way to what
//! fails. The exit code is 1 if anything fails.
#![forbid(unsafe_code)]

use rumpcap_model::check::{check, explain, must_be_seen};
use rumpcap_model::{Config, Daemon, Mix};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let numbers: Vec<u8> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let configs = match numbers[..] {
        [] => Config::sweep(),
        [threads, objects, frames] => [Daemon::Thread, Daemon::Inline]
            .map(|daemon| Config::new(threads, objects, frames, daemon, Mix::All))
            .into(),
        _ => {
            eprintln!("usage: rumpcap-model [threads objects frames]");
            return ExitCode::from(2);
        }
    };
    match sweep(&configs) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Checks `configs`, prints a row for each and what fails; says whether nothing does.
fn sweep(configs: &[Config]) -> bool {
    println!("| threads | operations of each | objects | frames | daemon | states | seconds | verdict |");
    println!("|---|---|---|---|---|---|---|---|");
    let (mut all_hold, mut seen, mut states) = (true, Vec::new(), 0);
    for config in configs {
        let start = Instant::now();
        let verdict = check(*config);
        let Config { threads, operations, objects, frames, daemon, .. } = config;
        let seconds = start.elapsed().as_secs_f32();
        let found = match verdict.broken[..] {
            [] => "holds".into(),
            _ => format!("**fails: {}**", verdict.broken.join(", ")),
        };
        println!(
            "| {threads} | {operations} | {objects} | {frames} | {daemon:?} | {} | {seconds:.1} | {found} |",
            verdict.states
        );
        if let Some(way) = verdict.broken.first().and_then(|property| explain(*config, property)) {
            eprintln!("{way}");
        }
        all_hold &= verdict.broken.is_empty();
        states += verdict.states;
        seen.extend(verdict.seen);
    }
    println!("\n{} configurations, {states} states.", configs.len());
    let missing: Vec<_> = must_be_seen().into_iter().filter(|what| !seen.contains(what)).collect();
    println!("Never seen: {}.", if missing.is_empty() { "nothing".into() } else { missing.join(", ") });
    all_hold
}
