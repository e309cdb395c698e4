//! [`Connection`]: records in, answers out, a few calls at once.
//!
//! Who calls it: `server` starts the first thread of a connection. Whom it calls: `dispatch`.
//!
//! Threads of a connection take turns at reading: who has a record lets the next one read, works, and sends. One that goes to work and
//! leaves nobody at the reading starts another, up to `calls_max`; so a client that asks one thing at a time has two threads, and one
//! that asks nothing has one, without buffers.
//!
//! CO-1. A thread reads a record whole, or ends the connection: a record is never read by two.
//! CO-2. A record is not read that does not fit the buffer; one that has begun must end within `record_timeout`, and an answer must be taken
//! within it. Between records a client may be silent for as long as nobody else needs its place ([`Connection::idle_since`]).
//! CO-3. When a connection ends, all its threads do, after the call that they work on.

use crate::dispatch::{self, Next};
use crate::export::Export;
use crate::options::Options;
use crate::rpc::{CALL_HEAD_BYTES_MAX, MARK_BYTES};
use nfs3_types::rpc::fragment_header;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After which a wait for the client looks at the time.
const TICK: Duration = Duration::from_secs(2);

/// Fragments of a record, of which each costs a call of the host.
const FRAGMENTS_MAX: usize = 64;

/// The most bytes of a call's arguments but the data of a WRITE: two handles with names, or a path with attributes.
const ARGUMENT_BYTES_MAX: usize = 8 << 10;

/// Bytes that listing a directory with attributes takes for names at most.
pub const SCRATCH_BYTES: usize = 32 << 10;

/// What an answer is longer than the data in it: the head, a status, attributes, lengths.
const ANSWER_HEAD_BYTES: usize = 1 << 10;

/// Buffers of one call.
pub struct Buffers {
    /// What came.
    pub record: Vec<u8>,
    /// What goes.
    pub answer: Vec<u8>,
    /// Names, while a directory is listed.
    pub scratch: Vec<u8>,
}

impl Buffers {
    /// Without memory: it comes with the first call.
    fn new() -> Buffers {
        Buffers { record: Vec::new(), answer: Vec::new(), scratch: Vec::new() }
    }

    /// The longest record that is taken.
    pub fn record_bytes_max(options: &Options) -> usize {
        CALL_HEAD_BYTES_MAX + ARGUMENT_BYTES_MAX + options.transfer_bytes
    }

    /// What the buffers of one call take at most.
    pub fn bytes_max(options: &Options) -> usize {
        Buffers::record_bytes_max(options) + ANSWER_HEAD_BYTES + options.transfer_bytes + SCRATCH_BYTES
    }
}

/// A connection to a client.
pub struct Connection {
    stream: TcpStream,
    client: IpAddr,
    /// Who reads. The same thread may not have read before.
    reading: Mutex<()>,
    sending: Mutex<()>,
    /// Threads, and those of them that read or wait for it.
    threads: AtomicUsize,
    readers: AtomicUsize,
    is_closed: AtomicBool,
    /// A record has begun to come in.
    is_receiving: AtomicBool,
    /// Calls that are worked on.
    working: AtomicUsize,
    born: Instant,
    /// Milliseconds after `born` at which the last call was done.
    used_ms: AtomicU64,
}

/// How reading a record ended.
enum Record {
    Whole,
    Ended,
}

/// Starts another thread for a connection.
pub type Spawn<'a> = dyn Fn(Arc<Connection>) -> bool + 'a;

impl Connection {
    /// A connection that was admitted.
    ///
    /// # Errors
    /// The host's.
    pub fn new(stream: TcpStream, client: IpAddr) -> io::Result<Connection> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TICK))?;
        stream.set_write_timeout(Some(TICK))?;
        Ok(Connection {
            stream,
            client,
            reading: Mutex::new(()),
            sending: Mutex::new(()),
            threads: AtomicUsize::new(0),
            readers: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            is_receiving: AtomicBool::new(false),
            working: AtomicUsize::new(0),
            born: Instant::now(),
            used_ms: AtomicU64::new(0),
        })
    }

    /// One thread more, if there may be one: whoever asked starts it.
    pub fn admit_thread(&self, threads_max: usize) -> bool {
        let more = |threads| (threads < threads_max).then_some(threads + 1);
        self.threads.fetch_update(SeqCst, SeqCst, more).is_ok()
    }

    /// A thread that could not be started, or has ended.
    pub fn dismiss_thread(&self) {
        self.threads.fetch_sub(1, SeqCst);
    }

    /// Whether all threads have ended.
    pub fn is_over(&self) -> bool {
        self.threads.load(SeqCst) == 0
    }

    /// Since when nothing is worked on and nothing comes in; `None` while something does.
    pub fn idle_since(&self) -> Option<Instant> {
        let is_idle = !self.is_receiving.load(SeqCst) && self.working.load(SeqCst) == 0;
        is_idle.then(|| self.born + Duration::from_millis(self.used_ms.load(SeqCst)))
    }

    /// Takes no more records; what is worked on is answered.
    pub fn stop_reading(&self) {
        self.is_closed.store(true, SeqCst);
        // It may have gone by itself.
        let _ = self.stream.shutdown(Shutdown::Read);
    }

    /// Ends it.
    pub fn close(&self) {
        self.is_closed.store(true, SeqCst);
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// The body of a thread.
    pub fn work(self: &Arc<Self>, export: &Export, spawn: &Spawn<'_>) {
        let mut buffers = Buffers::new();
        loop {
            self.readers.fetch_add(1, SeqCst);
            let record = self.read(&mut buffers, &export.options);
            let readers = self.readers.fetch_sub(1, SeqCst) - 1;
            match record {
                Ok(Record::Whole) => {}
                Ok(Record::Ended) | Err(_) => return self.stop_reading(),
            }
            if readers == 0 && self.admit_thread(export.options.calls_max) && !spawn(self.clone()) {
                self.dismiss_thread();
            }
            let sent = match dispatch::answer(export, self.client, &mut buffers) {
                Next::Send => self.send(&buffers.answer, export.options.record_timeout),
                Next::Silence => Ok(()),
                Next::Close => return self.close(),
            };
            if sent.is_err() {
                return self.close();
            }
            self.working.fetch_sub(1, SeqCst);
            let used = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.used_ms.store(used, SeqCst);
        }
    }

    /// Reads the next record.
    fn read(&self, buffers: &mut Buffers, options: &Options) -> io::Result<Record> {
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let record = self.read_fragments(buffers, options);
        // In this order: it is never taken for idle between.
        if matches!(record, Ok(Record::Whole)) {
            self.working.fetch_add(1, SeqCst);
        }
        self.is_receiving.store(false, SeqCst);
        record
    }

    fn read_fragments(&self, buffers: &mut Buffers, options: &Options) -> io::Result<Record> {
        let mut deadline = None;
        let most = Buffers::record_bytes_max(options);
        buffers.record.clear();
        for _ in 0..FRAGMENTS_MAX {
            let mut mark = [0; MARK_BYTES];
            if !self.fill(&mut mark, &mut deadline, options.record_timeout)? {
                return Ok(Record::Ended);
            }
            let mark = fragment_header::from(mark);
            let (start, len) = (buffers.record.len(), mark.fragment_length() as usize);
            if len > most - start {
                return Err(ErrorKind::FileTooLarge.into());
            }
            buffers.record.reserve_exact(most - start);
            buffers.record.resize(start + len, 0);
            if !self.fill(&mut buffers.record[start..], &mut deadline, options.record_timeout)? {
                return Ok(Record::Ended);
            }
            if mark.eof() {
                return Ok(Record::Whole);
            }
        }
        Err(ErrorKind::InvalidData.into())
    }

    /// Fills `buffer`; whether it could, before the client closed. `deadline` is set with the first byte.
    fn fill(&self, buffer: &mut [u8], deadline: &mut Option<Instant>, timeout: Duration) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.is_closed.load(SeqCst) {
                return Ok(false);
            }
            match (&self.stream).read(&mut buffer[filled..]) {
                Ok(0) => return Ok(false),
                Ok(n) => {
                    filled += n;
                    if deadline.is_none() {
                        *deadline = Some(Instant::now() + timeout);
                        self.is_receiving.store(true, SeqCst);
                    }
                }
                Err(e) if is_for_now(&e) => {}
                Err(e) => return Err(e),
            }
            if filled < buffer.len() && deadline.is_some_and(|deadline| Instant::now() > deadline) {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(true)
    }

    fn send(&self, mut answer: &[u8], timeout: Duration) -> io::Result<()> {
        let _turn = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        let deadline = Instant::now() + timeout;
        while !answer.is_empty() {
            match (&self.stream).write(answer) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => answer = &answer[n..],
                Err(e) if is_for_now(&e) => {}
                Err(e) => return Err(e),
            }
            if !answer.is_empty() && Instant::now() > deadline {
                return Err(ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

fn is_for_now(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
