//! [`Watchdog`]: ends the process when a piece of work takes for ever, and says which piece it was.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Watches pieces of work on any number of threads.
pub struct Watchdog {
    shared: Arc<Shared>,
}

struct Shared {
    pieces: Mutex<Vec<Option<(Instant, String)>>>,
    limit: Duration,
    over: AtomicBool,
}

impl Watchdog {
    /// Watches `workers` workers, none of whose pieces may take longer than `limit`.
    pub fn new(workers: usize, limit: Duration) -> Watchdog {
        let pieces = Mutex::new(vec![None; workers]);
        let shared = Arc::new(Shared { pieces, limit, over: AtomicBool::new(false) });
        let watching = Arc::clone(&shared);
        std::thread::spawn(move || watching.watch());
        Watchdog { shared }
    }

    /// Worker `worker` begins the piece that `what` names.
    pub fn begin(&self, worker: usize, what: String) {
        self.shared.set(worker, Some((Instant::now(), what)));
    }

    /// Worker `worker` is done.
    pub fn end(&self, worker: usize) {
        self.shared.set(worker, None);
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
    }
}

impl Shared {
    fn set(&self, worker: usize, piece: Option<(Instant, String)>) {
        let mut pieces = self.pieces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pieces[worker] = piece;
    }

    fn watch(&self) {
        while !self.over.load(Relaxed) {
            std::thread::sleep(Duration::from_millis(200));
            let pieces = self.pieces.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for (since, what) in pieces.iter().flatten() {
                if since.elapsed() > self.limit {
                    // Not through the macros, whose output a test harness keeps for a later that does not come.
                    let text = format!("hangs for {:?}: {what}\n", since.elapsed());
                    let _ = std::io::stderr().write_all(text.as_bytes());
                    std::process::abort();
                }
            }
        }
    }
}
