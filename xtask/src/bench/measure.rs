//! Measures: each case (a workload on an image) by everybody who takes part, interleaved and repeated.
//!
//! Who calls it: `bench`. Whom it calls: `child`.
//! First a round that nobody is timed in: it warms the host's page cache, looks at every byte that is read, and finds who is
//! wrong or far too slow. Then the timed rounds: in each, everybody once, in an order that turns from round to round; so a
//! ratio compares runs that are seconds apart, and the median over the rounds is what counts.

use super::child::{self, Outcome};
use super::images::{Image, Images};
use super::subjects::{Limit, Subject, Subjects, peers};
use std::collections::BTreeMap;
use std::time::Duration;

/// A child of the first round that takes longer than this is not looked at further.
const SCREENING_TIMEOUT: Duration = Duration::from_secs(20);
/// Peers within this factor of the fastest of the first round are timed.
const PEER_HORIZON: f64 = 1.6;
/// But so many configurations at most.
const PEERS_TIMED: usize = 4;
/// The kernel is timed this often: it is several times slower, so few rounds tell enough.
const KERNEL_ROUNDS: usize = 3;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Workload {
    Walk,
    Sequential,
    Random,
}

impl Workload {
    /// Its name for the programs.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Workload::Walk => "walk",
            Workload::Sequential => "sequential",
            Workload::Random => "random",
        }
    }
}

/// A workload on an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Case {
    pub(crate) workload: Workload,
    pub(crate) image: Image,
}

impl Case {
    const fn new(workload: Workload, image: Image) -> Case {
        Case { workload, image }
    }

    /// All that are measured.
    pub(crate) const ALL: [Case; 7] = [
        Case::new(Workload::Walk, Image::Many),
        Case::new(Workload::Walk, Image::Many1Linear),
        Case::new(Workload::Walk, Image::Many1Htree),
        Case::new(Workload::Walk, Image::Usr),
        Case::new(Workload::Walk, Image::Huge),
        Case::new(Workload::Sequential, Image::Big),
        Case::new(Workload::Random, Image::Big),
    ];

    /// Its name in tables.
    pub(crate) fn name(self) -> String {
        match self.workload {
            Workload::Walk => format!("walk {}", self.image.name()),
            Workload::Sequential => format!("sequential {}", self.image.name()),
            Workload::Random => format!("random {}", self.image.name()),
        }
    }
}

/// All that was measured of one subject on one case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs {
    /// The first, untimed run.
    pub(crate) checked: Outcome,
    /// Whether it saw what is there.
    pub(crate) is_correct: bool,
    /// The timed runs, by their round.
    pub(crate) timed: BTreeMap<usize, Outcome>,
}

impl Runs {
    /// Median seconds.
    pub(crate) fn seconds(&self) -> Option<f64> {
        median(self.timed.values().map(|outcome| outcome.seconds).collect())
    }

    /// Median seconds on a processor.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        median(self.timed.values().map(|outcome| outcome.cpu_seconds).collect())
    }

    /// All runs.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Outcome> {
        self.timed.values().chain(std::iter::once(&self.checked))
    }

    /// How much faster it is than `other`: the median of the ratios of runs of the same round.
    pub(crate) fn speed_against(&self, other: &Runs) -> Option<f64> {
        self.ratio_against(other, |outcome| outcome.seconds)
    }

    /// The same by time on a processor.
    pub(crate) fn cpu_speed_against(&self, other: &Runs) -> Option<f64> {
        self.ratio_against(other, |outcome| outcome.cpu_seconds)
    }

    fn ratio_against(&self, other: &Runs, seconds: fn(&Outcome) -> f64) -> Option<f64> {
        let ratio =
            |(round, ours): (&usize, &Outcome)| Some(seconds(other.timed.get(round)?) / seconds(ours));
        median(self.timed.iter().filter_map(ratio).collect())
    }
}

/// Everything that was measured.
#[derive(Default)]
pub(crate) struct Measurements {
    pub(crate) runs: BTreeMap<(Case, Subject), Runs>,
    /// Who said what each case must see.
    pub(crate) oracle: BTreeMap<Case, String>,
}

impl Measurements {
    /// The runs of a subject on a case.
    pub(crate) fn of(&self, case: Case, subject: &Subject) -> Option<&Runs> {
        self.runs.get(&(case, subject.clone()))
    }

    /// The runs of the library.
    pub(crate) fn library(&self, case: Case, limit: Limit) -> Option<&Runs> {
        self.of(case, &Subject::Library(limit))
    }

    /// The fastest peer that is right.
    pub(crate) fn best_peer(&self, case: Case) -> Option<(&Subject, &Runs)> {
        let peers = self
            .runs
            .iter()
            .filter(|((of, subject), runs)| *of == case && subject.is_peer() && runs.is_correct);
        let timed = peers.filter_map(|((_, subject), runs)| Some((runs.seconds()?, subject, runs)));
        timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, subject, runs)| (subject, runs))
    }
}

/// How much is measured.
pub(crate) struct Plan {
    pub(crate) limits: Vec<Limit>,
    pub(crate) rounds: usize,
    pub(crate) cases: Vec<Case>,
}

/// Measures all cases of the plan.
pub(crate) fn measure(plan: &Plan, subjects: &Subjects, images: &Images) -> Measurements {
    let mut measurements = Measurements::default();
    for &case in &plan.cases {
        eprintln!("{}", case.name());
        let bench = Bench { case, subjects, image: images.path(case.image) };
        let (mut runs, oracle) = bench.first_round(&plan.limits);
        let timed = chosen(&runs);
        for round in 0..plan.rounds {
            for at in 0..timed.len() {
                let subject = &timed[(at + round) % timed.len()];
                if *subject == Subject::Kernel && round >= KERNEL_ROUNDS {
                    continue;
                }
                let outcome = bench.run(subject, &[]);
                if let (Some(outcome), Some(runs)) = (outcome, runs.get_mut(subject)) {
                    // A timed run that fails is an error of the subject, whatever its first run did.
                    runs.is_correct &= outcome.error.is_none();
                    runs.timed.insert(round, outcome);
                }
            }
        }
        measurements.oracle.insert(case, oracle);
        measurements.runs.extend(runs.into_iter().map(|(subject, runs)| ((case, subject), runs)));
    }
    measurements
}

struct Bench<'a> {
    case: Case,
    subjects: &'a Subjects,
    image: std::path::PathBuf,
}

impl Bench<'_> {
    fn run(&self, subject: &Subject, more: &[&str]) -> Option<Outcome> {
        let program = self.subjects.program(subject)?;
        let mut outcome =
            child::run(&program, self.case.workload.word(), &self.image, more, SCREENING_TIMEOUT);
        if *subject == Subject::Kernel {
            // The mount is not held against the kernel; against everybody else, opening is.
            outcome.seconds -= outcome.open_seconds;
        }
        Some(outcome)
    }

    /// Runs everybody once, thoroughly; gives what they saw and who the oracle was.
    fn first_round(&self, limits: &[Limit]) -> (BTreeMap<Subject, Runs>, String) {
        let mut everybody: Vec<Subject> = limits.iter().map(|&limit| Subject::Library(limit)).collect();
        everybody.extend([Subject::Kernel, Subject::Pread]);
        everybody.extend(peers());
        // The image must be in the host's page cache before anybody is compared: whoever goes first pays for that.
        let _ = self.run(&Subject::Library(Limit::NONE), &["--verify"]);
        let mut runs = BTreeMap::new();
        for subject in everybody {
            if subject == Subject::Pread && self.case.workload == Workload::Walk {
                continue;
            }
            if let Some(checked) = self.run(&subject, &["--verify"]) {
                runs.insert(subject, Runs { checked, ..Runs::default() });
            }
        }
        let (oracle, truth) = truth(&runs);
        for (subject, runs) in &mut runs {
            runs.is_correct =
                runs.checked.error.is_none() && (*subject == Subject::Pread || seen(&runs.checked) == truth);
        }
        (runs, oracle)
    }
}

fn seen(outcome: &Outcome) -> (u64, u64, String) {
    (outcome.entries, outcome.bytes, outcome.checksum.clone())
}

/// What is there: what the kernel saw, else what most of the peers saw, else what the library saw at most limits.
fn truth(runs: &BTreeMap<Subject, Runs>) -> (String, (u64, u64, String)) {
    if let Some(kernel) = runs.get(&Subject::Kernel).filter(|runs| runs.checked.error.is_none()) {
        return ("the kernel".to_owned(), seen(&kernel.checked));
    }
    let most_of = |is_voter: fn(&Subject) -> bool| {
        let mut votes: BTreeMap<_, u32> = BTreeMap::new();
        for (_, runs) in runs.iter().filter(|(who, runs)| is_voter(who) && runs.checked.error.is_none()) {
            *votes.entry(seen(&runs.checked)).or_default() += 1;
        }
        votes.into_iter().max_by_key(|(_, votes)| *votes)
    };
    if let Some((what, votes)) = most_of(Subject::is_peer) {
        return (format!("{votes} configurations of peers"), what);
    }
    let (what, votes) = most_of(|who| matches!(who, Subject::Library(_))).unwrap_or_default();
    (format!("itself at {votes} limits (nobody else ran)"), what)
}

/// Who is timed: the library, the kernel, pread, and the peers that are near the fastest of those that are right.
fn chosen(runs: &BTreeMap<Subject, Runs>) -> Vec<Subject> {
    let mut rest = Vec::new();
    let mut fast_peers = Vec::new();
    for (subject, runs) in runs {
        match subject.is_peer() {
            true if runs.is_correct => fast_peers.push((runs.checked.seconds, subject.clone())),
            true => {}
            false if runs.checked.error.is_none() => rest.push(subject.clone()),
            false => {}
        }
    }
    fast_peers.sort_by(|a, b| a.0.total_cmp(&b.0));
    let horizon = fast_peers.first().map_or(0.0, |fastest| fastest.0 * PEER_HORIZON);
    let near = fast_peers.into_iter().filter(|peer| peer.0 <= horizon).take(PEERS_TIMED);
    rest.extend(near.map(|(_, subject)| subject));
    rest
}

/// The middle value; of an even number, the mean of the two.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(seconds: &[f64]) -> Runs {
        let outcome = |&seconds: &f64| Outcome { seconds, ..Outcome::default() };
        Runs { timed: seconds.iter().map(outcome).enumerate().collect(), ..Runs::default() }
    }

    #[test]
    fn median_of_odd_and_even() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(vec![]), None);
    }

    #[test]
    fn speeds_are_compared_within_a_round() {
        // The machine is twice as slow in the last two rounds; the ratio does not move.
        let ours = runs(&[1.0, 2.0, 2.0]);
        let theirs = runs(&[1.5, 3.0, 3.0]);
        assert_eq!(ours.speed_against(&theirs), Some(1.5));
    }

    #[test]
    fn the_kernel_is_the_oracle_and_else_the_majority() {
        let saw = |checksum: &str| Runs {
            checked: Outcome { checksum: checksum.to_owned(), ..Outcome::default() },
            ..Runs::default()
        };
        let mut all = BTreeMap::from([
            (Subject::Peer("a", "1"), saw("x")),
            (Subject::Peer("b", "1"), saw("y")),
            (Subject::Peer("c", "1"), saw("y")),
        ]);
        assert_eq!(truth(&all).1.2, "y");
        all.insert(Subject::Kernel, saw("x"));
        assert_eq!(truth(&all).1.2, "x");
    }
}
