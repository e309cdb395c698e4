//! Watching a kernel's memory over time: a [`Sampler`] takes pictures of a [`Source`] into a [`History`].
//!
//! Who calls it: `session` starts a sampler when somebody wants to see (`top`, `--report`); `top` and `page` read the
//! history. Whom it calls: the library's `memory_sample`, which takes constant time.
//!
//! A kernel in this process is one source. A mount that runs elsewhere becomes another by implementing the trait over
//! whatever carries its reports here; nothing above a history knows the difference.
//!
//! Memory: two lists of fixed length, some 700 KiB when full, on the heap of the front end. Cost: measured in `docs/cli.md`.

mod history;
mod series;

pub use history::{History, Sample};
pub use series::{Series, Span};

use rumpcap::{Kernel, MemoryReport};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A history that a sampler writes and others read.
#[derive(Clone, Default)]
pub struct SharedHistory(Arc<Mutex<History>>);

impl SharedHistory {
    /// The history. A thread that panicked while it held it has left it whole: a push is its last step.
    pub fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner())
    }
}

/// Where pictures come from.
pub trait Source: Send {
    /// A picture of now; `None` when there will be none any more.
    fn sample(&mut self) -> Option<MemoryReport>;

    /// The last picture, which may take its time.
    fn last(&mut self) -> Option<MemoryReport> {
        self.sample()
    }
}

impl Source for Kernel {
    fn sample(&mut self) -> Option<MemoryReport> {
        Some(self.memory_sample())
    }

    fn last(&mut self) -> Option<MemoryReport> {
        Some(self.memory_report())
    }
}

/// A thread that takes pictures until it is dropped, the last one then.
pub struct Sampler {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sampler {
    /// Takes the first picture now and starts the thread. Without a thread there is no more than that picture.
    pub fn start(mut source: impl Source + 'static, history: SharedHistory) -> Sampler {
        let began = Instant::now();
        push(&history, began, source.sample());
        let (stop, stopped) = channel();
        let run = move || {
            loop {
                match stopped.recv_timeout(next_period(&history)) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => {
                        break push(&history, began, source.last());
                    }
                }
                let Some(report) = source.sample() else { break };
                push(&history, began, Some(report));
            }
            history.lock().end();
        };
        let thread = std::thread::Builder::new().name("sampler".to_owned()).spawn(run).ok();
        Sampler { stop: Some(stop), thread }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been told by the hook; the history stays as it is.
            let _ = thread.join();
        }
    }
}

fn next_period(history: &SharedHistory) -> Duration {
    history.lock().period()
}

fn push(history: &SharedHistory, began: Instant, report: Option<MemoryReport>) {
    if let Some(report) = report {
        history.lock().push(Sample { at: began.elapsed(), report });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts its pictures in `lookups`, and ends after `most`.
    struct Counting {
        taken: u64,
        most: u64,
    }

    impl Source for Counting {
        fn sample(&mut self) -> Option<MemoryReport> {
            self.taken += 1;
            (self.taken <= self.most).then(|| MemoryReport { lookups: self.taken, ..MemoryReport::default() })
        }
        fn last(&mut self) -> Option<MemoryReport> {
            Some(MemoryReport { lookups: u64::MAX, ..MemoryReport::default() })
        }
    }

    #[test]
    fn the_first_and_the_last_picture_are_taken_of_the_shortest_run() {
        let history = SharedHistory::default();
        drop(Sampler::start(Counting { taken: 0, most: 1000 }, history.clone()));
        let history = history.lock();
        let lookups: Vec<u64> = history.whole().iter().map(|sample| sample.report.lookups).collect();
        assert_eq!((lookups.first(), lookups.last()), (Some(&1), Some(&u64::MAX)));
    }

    #[test]
    fn a_source_that_is_gone_ends_the_history() {
        let history = SharedHistory::default();
        let sampler = Sampler::start(Counting { taken: 0, most: 3 }, history.clone());
        while !sampler.thread.as_ref().unwrap().is_finished() {
            std::thread::yield_now();
        }
        drop(sampler);
        assert_eq!(history.lock().whole().len(), 3);
    }
}
