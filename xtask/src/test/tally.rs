//! [`Tally`]: counts tests from what the test programs print.
//!
//! Who calls it: `test`, with every line of the output of `cargo test`.
//!
//! Invariants: TALLY-1 a test counts once, as passed, failed or skipped. TALLY-2 a test program that is started and
//! ends without its result (a crash, an abort) counts as one failed test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Numbers of tests.
#[derive(Default)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
    /// A program said how many tests it has, and has not yet said how they went.
    is_open: bool,
    /// Why tests were skipped, and how many for each reason.
    reasons: BTreeMap<String, u64>,
}

impl Tally {
    /// Takes in a line of a test program's output; gives whether it was the program's result.
    pub(crate) fn see_line(&mut self, line: &str) -> bool {
        if is_opening(line) {
            self.close();
            self.is_open = true;
        } else if let Some(result) = line.strip_prefix("test result: ") {
            self.is_open = false;
            self.passed += count_before(result, " passed");
            self.failed += count_before(result, " failed");
            self.skip("marked #[ignore]", count_before(result, " ignored"));
            return true;
        }
        false
    }

    /// The output has ended: a program without its result crashed (TALLY-2).
    pub(crate) fn close(&mut self) {
        self.failed += u64::from(self.is_open);
        self.is_open = false;
    }

    /// Takes in what the tests of one program, which gave its result last, noted of themselves: `test`, a tab and
    /// `reason` on each line. The program counted them as passed. A test counts once, however often it says so.
    pub(crate) fn see_skip_log(&mut self, log: &str) {
        let mut told = BTreeSet::new();
        for (test, reason) in log.lines().filter_map(|line| line.split_once('\t')) {
            // Where a program runs its tests one after the other, their thread has no name of its own.
            if told.insert(test) || test == "main" {
                let moved = self.passed.min(1);
                self.passed -= moved;
                self.skip(reason, moved);
            }
        }
    }

    fn skip(&mut self, reason: &str, tests: u64) {
        if tests > 0 {
            self.skipped += tests;
            *self.reasons.entry(reason.to_owned()).or_default() += tests;
        }
    }

    /// Tests that ran to their end, well or not.
    pub(crate) fn ran(&self) -> u64 {
        self.passed + self.failed
    }

    /// Tests that failed.
    pub(crate) fn failed(&self) -> u64 {
        self.failed
    }

    /// Why tests were skipped, and how many for each reason.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (&str, u64)> {
        self.reasons.iter().map(|(reason, tests)| (reason.as_str(), *tests))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// `running 12 tests`: how a test program begins.
fn is_opening(line: &str) -> bool {
    let mut words = line.split(' ');
    words.next() == Some("running")
        && words.next().is_some_and(|n| n.parse::<u64>().is_ok())
        && matches!(words.next(), Some("test" | "tests"))
        && words.next().is_none()
}

/// The number that stands before `word`: `5` in `ok. 5 passed; 0 failed`.
fn count_before(text: &str, word: &str) -> u64 {
    let digits = text.split(word).next().and_then(|before| before.rsplit(' ').next());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(output: &str, skip_log: &str) -> Tally {
        let mut tally = Tally::default();
        for line in output.lines() {
            tally.see_line(line);
        }
        tally.close();
        tally.see_skip_log(skip_log);
        tally
    }

    #[test]
    fn sums_up_the_results_of_several_programs() {
        let output = "running 3 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            running 2 tests\n\
            test result: FAILED. 1 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 1.20s\n";
        assert_eq!(tally(output, "").to_string(), "4 passed, 1 failed, 4 skipped");
    }

    #[test]
    fn a_program_that_dies_counts_as_a_failed_test() {
        let output = "running 3 tests\ntest a ... ok\nrunning 1 test\n\
            test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            running 7 tests\n";
        assert_eq!(tally(output, "").to_string(), "1 passed, 2 failed, 0 skipped");
    }

    #[test]
    fn a_test_that_skips_itself_is_not_passed() {
        let output =
            "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        let tally = tally(output, "mounts::one\tnot root\nmounts::two\tnot root\nmounts::one\tnot root\n\n");
        assert_eq!(tally.to_string(), "3 passed, 0 failed, 2 skipped");
        assert_eq!(tally.reasons().collect::<Vec<_>>(), [("not root", 2)]);
    }

    #[test]
    fn nothing_ran_where_nothing_was_printed() {
        assert_eq!(tally("Compiling\n", "").ran(), 0);
    }

    #[test]
    fn talk_of_running_is_no_opening() {
        assert!(is_opening("running 1 test"));
        assert!(!is_opening("running 12 tests of the gate"));
        assert!(!is_opening("running tests"));
    }
}
