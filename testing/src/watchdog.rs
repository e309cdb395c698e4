//! [`Watchdog`]: ends the process when a piece of work takes for ever, and says which piece it was.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Of a thousand threads that hang, so many are told by name.
const MOST_PIECES_TOLD: usize = 20;

/// A state that is not told by then is not told.
const STATE_TAKES: Duration = Duration::from_secs(5);

/// Tells the state of what is watched, for the last words. It may hang in its turn, or panic.
type State = Box<dyn Fn() -> String + Send + Sync>;

/// Watches pieces of work on any number of threads.
pub struct Watchdog {
    shared: Arc<Shared>,
}

struct Shared {
    pieces: Mutex<Vec<Option<(Instant, String)>>>,
    limit: Duration,
    over: AtomicBool,
    state: Option<State>,
}

impl Watchdog {
    /// Watches `workers` workers, none of whose pieces may take longer than `limit`.
    pub fn new(workers: usize, limit: Duration) -> Watchdog {
        Watchdog::start(workers, limit, None)
    }

    /// As [`Watchdog::new`]; what hangs is told together with `state`, such as the report of a kernel's memory.
    pub fn showing(
        workers: usize,
        limit: Duration,
        state: impl Fn() -> String + Send + Sync + 'static,
    ) -> Watchdog {
        Watchdog::start(workers, limit, Some(Box::new(state)))
    }

    fn start(workers: usize, limit: Duration, state: Option<State>) -> Watchdog {
        let pieces = Mutex::new(vec![None; workers]);
        let shared = Arc::new(Shared { pieces, limit, over: AtomicBool::new(false), state });
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
            if pieces.iter().flatten().any(|(since, _)| since.elapsed() > self.limit) {
                self.last_words(&pieces);
            }
        }
    }

    fn last_words(&self, pieces: &[Option<(Instant, String)>]) -> ! {
        // Not through the macros, whose output a test harness keeps for a later that does not come.
        let say = |text: &str| std::io::stderr().write_all(text.as_bytes());
        for (since, what) in pieces.iter().flatten().take(MOST_PIECES_TOLD) {
            let _ = say(&format!("unfinished for {:?}: {what}\n", since.elapsed()));
        }
        let _ = say(&format!("hangs: {} pieces unfinished\n", pieces.iter().flatten().count()));
        // What hangs may hold the lock that the state is under: it is asked last, and not for ever.
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _ = self.state.as_ref().map(|state| say(&format!("{}\n", state())));
                std::process::abort();
            });
            std::thread::sleep(STATE_TAKES);
            std::process::abort()
        })
    }
}
