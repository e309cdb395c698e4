//! What the benchmark must reach, and whether it did: each target, what was measured, met or not. Nothing here is an
//! opinion: a figure that is missing is "not measured", and says why where that is known.
//!
//! Who calls it: `bench`. Whom it calls: `measure`'s results.

use super::images::Image;
use super::measure::{Case, Measurements, Runs, Workload};
use super::replay::Replay;
use super::subjects::{Limit, Subject};

/// Anonymous memory of the process beyond the limit.
const PROCESS_ALLOWANCE_BYTES: u64 = 2 << 20;
/// Image bytes that opening the 16 TiB file system must stay under.
const OPEN_HUGE_BYTES: u64 = 1 << 20;

/// Met or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    Met,
    Missed,
    NotMeasured,
}

/// One line of the verdict.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What is asked.
    pub(crate) what: String,
    /// On what.
    pub(crate) case: String,
    /// The target, in words.
    pub(crate) target: String,
    /// What was measured, in words.
    pub(crate) measured: String,
    /// The same as a ratio of time on a processor, where it is a ratio of times.
    pub(crate) by_cpu_time: String,
    pub(crate) judgement: Judgement,
}

/// Judges everything.
pub(crate) fn judge(
    measurements: &Measurements,
    replays: &[Replay],
    limits: &[Limit],
    cases: &[Case],
) -> Vec<Line> {
    let mut judge = Judge { measurements, lines: Vec::new() };
    for &case in cases {
        match case.workload {
            Workload::Walk => judge.walk(case),
            Workload::Sequential => judge.sequential(case),
            Workload::Random => judge.random(case),
        }
        judge.against_the_best_peer(case);
    }
    judge.opening_huge();
    for &case in cases {
        judge.correct_at_every_limit(case, limits);
    }
    judge.memory(limits, cases);
    for replay in replays {
        judge.optimum(replay);
    }
    judge.lines
}

struct Judge<'a> {
    measurements: &'a Measurements,
    lines: Vec<Line>,
}

impl Judge<'_> {
    fn line(&mut self, what: &str, case: Case, target: &str, measured: Option<(String, bool)>) {
        let (measured, judgement) = match measured {
            Some((measured, true)) => (measured, Judgement::Met),
            Some((measured, false)) => (measured, Judgement::Missed),
            None => ("".to_owned(), Judgement::NotMeasured),
        };
        let (what, case, target) = (what.to_owned(), case.name(), target.to_owned());
        let by_cpu_time = String::new();
        self.lines.push(Line { what, case, target, measured, by_cpu_time, judgement });
    }

    /// The speed of one as a share of another's must be at least `least`.
    fn speed(&mut self, what: &str, case: Case, ours: Limit, other: &Subject, least: f64) {
        let runs = self.measurements.library(case, ours).zip(self.measurements.of(case, other));
        let speed = runs.and_then(|(ours, other)| speed_of(ours, other));
        // Mounting is part of the kernel's processor time, so that is no fair ratio.
        let cpu_runs = runs.filter(|_| *other != Subject::Kernel);
        let cpu_speed = cpu_runs.and_then(|(ours, other)| ours.cpu_speed_against(other));
        let shown = |speed: f64| match least {
            least if least >= 1.2 => format!("{speed:.2} ×"),
            _ => format!("{:.1} %", speed * 100.0),
        };
        let target =
            if least >= 1.2 { format!("≥ {least} ×") } else { format!("≥ {:.0} %", least * 100.0) };
        self.line(what, case, &target, speed.map(|speed| (shown(speed), speed >= least)));
        if let Some(line) = self.lines.last_mut() {
            line.by_cpu_time = cpu_speed.map(shown).unwrap_or_default();
        }
    }

    fn walk(&mut self, case: Case) {
        let unlimited = Subject::Library(Limit::NONE);
        self.speed("512 KiB against no limit", case, Limit::K512, &unlimited, 0.90);
        self.speed("1 MiB against no limit", case, Limit::M1, &unlimited, 0.97);
        self.speed("512 KiB against the kernel", case, Limit::K512, &Subject::Kernel, 4.0);
        self.speed("no limit against the kernel", case, Limit::NONE, &Subject::Kernel, 4.0);
    }

    fn sequential(&mut self, case: Case) {
        self.speed("512 KiB against no limit", case, Limit::K512, &Subject::Library(Limit::NONE), 0.90);
        self.speed("no limit against plain pread", case, Limit::NONE, &Subject::Pread, 0.90);
    }

    fn random(&mut self, case: Case) {
        self.speed("512 KiB against plain pread", case, Limit::K512, &Subject::Pread, 0.80);
        self.speed("no limit against plain pread", case, Limit::NONE, &Subject::Pread, 0.80);
    }

    fn against_the_best_peer(&mut self, case: Case) {
        let Some((peer, runs)) = self.measurements.best_peer(case) else {
            self.line("against the fastest correct peer", case, "faster", None);
            return;
        };
        let (peer, peer_bytes) = (peer.clone(), runs.checked.image_bytes);
        self.speed(&format!("512 KiB against {}", peer.name()), case, Limit::K512, &peer, 1.0);
        self.speed(&format!("no limit against {}", peer.name()), case, Limit::NONE, &peer, 1.25);
        if case.workload != Workload::Walk {
            return;
        }
        for limit in [Limit::K512, Limit::NONE] {
            let ours = self.measurements.library(case, limit).and_then(|runs| runs.checked.image_bytes);
            let pages = |bytes: u64| format!("{} ({:.0} pages)", mib(bytes), bytes as f64 / 4096.0);
            let measured = ours.zip(peer_bytes).map(|(ours, peer)| (pages(ours), ours < peer));
            let target = peer_bytes.map_or("fewer".to_owned(), |bytes| format!("< {}", pages(bytes)));
            let what = format!("image bytes read, {}, against {}", limit.name(), peer.name());
            self.line(&what, case, &target, measured);
        }
    }

    fn opening_huge(&mut self) {
        let case = Case { workload: Workload::Walk, image: Image::Huge };
        for limit in [Limit::K512, Limit::NONE] {
            let bytes = self.measurements.library(case, limit).and_then(|runs| runs.checked.open_image_bytes);
            let measured =
                bytes.map(|bytes| (format!("{:.1} KiB", bytes as f64 / 1024.0), bytes < OPEN_HUGE_BYTES));
            self.line(&format!("image bytes read to open it, {}", limit.name()), case, "< 1 MiB", measured);
        }
    }

    fn correct_at_every_limit(&mut self, case: Case, limits: &[Limit]) {
        let mut wrong = Vec::new();
        for &limit in limits {
            match self.measurements.library(case, limit) {
                Some(runs) if runs.is_correct => {}
                Some(runs) => {
                    wrong.push((limit, runs.checked.error.clone().unwrap_or("saw something else".to_owned())))
                }
                None => wrong.push((limit, "not run".to_owned())),
            }
        }
        let failed = wrong
            .iter()
            .map(|(limit, why)| format!("{}: {why}", limit.name()))
            .collect::<Vec<_>>()
            .join("; ");
        let met = wrong.is_empty();
        let seen = if met { "all right".to_owned() } else { failed };
        let oracle = self.measurements.oracle.get(&case).cloned().unwrap_or_default();
        let target = format!("as seen by {oracle}");
        self.line("what is seen, at every limit from 256 KiB", case, &target, Some((seen, met)));
    }

    /// The worst case of each limit.
    fn memory(&mut self, limits: &[Limit], cases: &[Case]) {
        for &limit in limits {
            let Some(bytes) = limit.0 else { continue };
            let runs =
                || cases.iter().filter_map(|&case| Some((case, self.measurements.library(case, limit)?)));
            let peak = worst(runs(), |outcome| outcome.report.as_ref().map(|report| report.peak_bytes));
            let anonymous = worst(runs(), |outcome| Some(outcome.anonymous_bytes).filter(|&bytes| bytes > 0));
            let stuck = worst(runs(), |outcome| outcome.report.as_ref().map(|report| report.stuck));
            let name = limit.name();
            self.bytes(&format!("peak use at {name}, by its own report"), peak, bytes);
            self.bytes(
                &format!("anonymous memory at {name}, from outside"),
                anonymous,
                bytes + PROCESS_ALLOWANCE_BYTES,
            );
            if let Some((case, stuck)) = stuck.filter(|(_, stuck)| *stuck > 0) {
                self.line(&format!("stuck rounds at {name}"), case, "0", Some((stuck.to_string(), false)));
            }
        }
    }

    fn bytes(&mut self, what: &str, worst: Option<(Case, u64)>, most: u64) {
        let target = format!("≤ {:.0} KiB", most as f64 / 1024.0);
        let measured = |bytes: u64| (format!("{:.0} KiB", bytes as f64 / 1024.0), bytes <= most);
        let (case, measured) = match worst {
            Some((case, bytes)) => (format!("worst: {}", case.name()), Some(measured(bytes))),
            None => ("".to_owned(), None),
        };
        let judgement = match measured {
            Some((_, true)) => Judgement::Met,
            Some((_, false)) => Judgement::Missed,
            None => Judgement::NotMeasured,
        };
        let measured = measured.map(|(text, _)| text).unwrap_or_default();
        let (what, by_cpu_time) = (what.to_owned(), String::new());
        self.lines.push(Line { what, case, target, measured, by_cpu_time, judgement });
    }

    fn optimum(&mut self, replay: &Replay) {
        let what = format!("pages read at {}, against Belady's optimum", replay.limit.name());
        let measured = replay.result.as_ref().ok().map(|result| {
            let ratio = result.pages_read as f64 / result.optimum.max(1) as f64;
            (format!("{ratio:.2} × ({} pages against {})", result.pages_read, result.optimum), ratio <= 1.3)
        });
        self.line(&what, Case { workload: Workload::Walk, image: replay.image }, "≤ 1.3 ×", measured);
        if let (Err(why), Some(line)) = (&replay.result, self.lines.last_mut()) {
            line.measured.clone_from(why);
        }
    }
}

fn speed_of(ours: &Runs, other: &Runs) -> Option<f64> {
    ours.is_correct.then(|| ours.speed_against(other))?
}

/// The largest value over all runs, and the case that it is of.
fn worst<'a>(
    runs: impl Iterator<Item = (Case, &'a Runs)>,
    value: impl Fn(&super::child::Outcome) -> Option<u64> + Copy,
) -> Option<(Case, u64)> {
    let values = runs.filter_map(|(case, runs)| Some((case, runs.all().filter_map(value).max()?)));
    values.max_by_key(|(_, value)| *value)
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::super::child::Outcome;
    use super::*;

    const WALK: Case = Case { workload: Workload::Walk, image: Image::Many };
    const PEER: Subject = Subject::Peer("peer", "configuration");

    /// Runs of `seconds` that were right and read `image_bytes`.
    fn runs(seconds: &[f64], image_bytes: u64) -> Runs {
        let outcome = |&seconds: &f64| Outcome { seconds, cpu_seconds: seconds, ..Outcome::default() };
        Runs {
            checked: Outcome { image_bytes: Some(image_bytes), ..Outcome::default() },
            is_correct: true,
            timed: seconds.iter().map(outcome).enumerate().collect(),
        }
    }

    fn judged(measurements: &Measurements, what: &str) -> Judgement {
        let lines = judge(measurements, &[], &Limit::QUICK, &[WALK]);
        let line = lines.iter().find(|line| line.what.starts_with(what));
        line.unwrap_or_else(|| panic!("no line about {what}")).judgement
    }

    #[test]
    fn ratios_are_judged_by_their_targets() {
        let mut measurements = Measurements::default();
        let mut insert = |subject, runs| measurements.runs.insert((WALK, subject), runs);
        insert(Subject::Library(Limit::NONE), runs(&[1.0, 1.0, 1.0], 100));
        insert(Subject::Library(Limit::K512), runs(&[1.1, 1.1, 9.0], 120));
        insert(Subject::Library(Limit::M1), runs(&[1.04, 1.04, 1.04], 110));
        insert(PEER, runs(&[1.2, 1.2, 1.2], 110));
        assert_eq!(judged(&measurements, "512 KiB against no limit"), Judgement::Met);
        assert_eq!(judged(&measurements, "1 MiB against no limit"), Judgement::Missed);
        assert_eq!(judged(&measurements, "512 KiB against peer"), Judgement::Met);
        assert_eq!(judged(&measurements, "no limit against peer"), Judgement::Missed);
        assert_eq!(judged(&measurements, "image bytes read, 512 KiB"), Judgement::Missed);
        assert_eq!(judged(&measurements, "image bytes read, no limit"), Judgement::Met);
        assert_eq!(judged(&measurements, "512 KiB against the kernel"), Judgement::NotMeasured);
        // Nothing was run at 256 KiB.
        assert_eq!(judged(&measurements, "what is seen"), Judgement::Missed);
    }

    #[test]
    fn who_is_wrong_is_neither_fast_nor_a_peer_to_beat() {
        let mut measurements = Measurements::default();
        let wrong = Runs { is_correct: false, ..runs(&[0.1], 1) };
        measurements.runs.insert((WALK, Subject::Library(Limit::K512)), wrong.clone());
        measurements.runs.insert((WALK, Subject::Library(Limit::NONE)), runs(&[1.0], 1));
        measurements.runs.insert((WALK, PEER), wrong);
        assert_eq!(judged(&measurements, "512 KiB against no limit"), Judgement::NotMeasured);
        assert_eq!(judged(&measurements, "against the fastest correct peer"), Judgement::NotMeasured);
    }

    #[test]
    fn memory_is_judged_by_the_worst_run() {
        let mut measurements = Measurements::default();
        let mut used = runs(&[1.0, 1.0], 1);
        used.checked.anonymous_bytes = 1 << 20;
        measurements.runs.insert((WALK, Subject::Library(Limit::K512)), used.clone());
        assert_eq!(judged(&measurements, "anonymous memory at 512 KiB"), Judgement::Met);
        used.timed.entry(1).and_modify(|outcome| outcome.anonymous_bytes = 3 << 20);
        measurements.runs.insert((WALK, Subject::Library(Limit::K512)), used);
        assert_eq!(judged(&measurements, "anonymous memory at 512 KiB"), Judgement::Missed);
        assert_eq!(judged(&measurements, "anonymous memory at 256 KiB"), Judgement::NotMeasured);
    }
}
