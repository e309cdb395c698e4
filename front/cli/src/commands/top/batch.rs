//! `top --batch`: a line each second, for pipes and logs.

use super::job::Job;
use crate::outcome::Run;
use crate::session::Session;
use crate::units::human;
use crate::watch::Sample;
use rumpcap::MemoryReport;
use std::io::Write;
use std::time::{Duration, Instant};

const LINE_PERIOD: Duration = Duration::from_secs(1);
/// Time between two looks whether the command has ended.
const LOOK: Duration = Duration::from_millis(20);

const NAMES: &str = "    time     used    limit  clean  busy  pinned   free    hit %   read/s  evict/s  rounds  gate  frame  stuck";

/// Prints lines until the job has ended, the last one then.
pub fn run(session: &mut Session, job: &Job) -> Run {
    writeln!(session.out, "{NAMES}")?;
    let mut before = Sample { at: Duration::ZERO, report: MemoryReport::default() };
    let mut last_line = Instant::now();
    loop {
        let ended = job.has_ended();
        if ended || last_line.elapsed() >= LINE_PERIOD {
            last_line = Instant::now();
            let latest = job.history.lock().latest();
            if let Some(now) = latest.filter(|now| ended || now.at > before.at) {
                writeln!(session.out, "{}", line(&before, &now))?;
                before = now;
            }
            session.out.flush()?;
        }
        if ended {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

fn line(before: &Sample, now: &Sample) -> String {
    let (a, b) = (&before.report, &now.report);
    let seconds = (now.at.saturating_sub(before.at)).as_secs_f64();
    let rate = |from: u64, to: u64| if seconds > 0.0 { (to - from) as f64 / seconds } else { 0.0 };
    let lookups = b.lookups - a.lookups;
    let hits = if lookups > 0 { 100.0 * (b.hits - a.hits) as f64 / lookups as f64 } else { 0.0 };
    format!(
        "{:>8.1} {:>8} {:>8} {:>6} {:>5} {:>7} {:>6} {hits:>8.1} {:>8} {:>8.0} {:>7} {:>5} {:>6} {:>6}",
        now.at.as_secs_f64(),
        human(b.in_use_bytes),
        human(b.limit_bytes),
        b.pages_clean,
        b.pages_busy,
        b.pages_pinned,
        b.frames_free,
        human(rate(a.device_read_bytes, b.device_read_bytes) as u64),
        rate(a.evictions, b.evictions),
        b.daemon_rounds,
        b.gate_waits,
        b.frame_waits,
        b.stuck,
    )
}
