//! [`Recorder`]: listens to a kernel and writes its trace.
//!
//! Who calls it: whoever boots a kernel to be recorded; then the kernel, at every access, from any thread.
//!
//! It takes nothing of the kernel's memory: its buffer is the front end's, so a recorded run has the same frames as another.
//! It never calls the kernel (`rumpcap_vm::Trace`). Locks: one, the innermost of all. Failure: the first error stops the
//! writing, and [`Recorder::finish`] gives it.

use crate::format::Header;
use crate::writer::Writer;
use rumpcap_vm::{Trace, TraceEvent};
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are gathered before the file is written.
const BUFFER_BYTES: usize = 64 << 10;

type State<W> = io::Result<Option<Writer<BufWriter<W>>>>;

/// Records what kernels tell.
pub struct Recorder<W: Write> {
    /// The writer, until it is finished or has failed.
    state: Mutex<State<W>>,
}

impl<W: Write + Send + 'static> Recorder<W> {
    /// A recorder that writes to `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(out: W, header: &Header) -> io::Result<Arc<Recorder<W>>> {
        let writer = Writer::new(BufWriter::with_capacity(BUFFER_BYTES, out), header)?;
        Ok(Arc::new(Recorder { state: Mutex::new(Ok(Some(writer))) }))
    }

    /// What the kernel is to be booted with.
    pub fn listener(self: &Arc<Self>) -> Trace {
        let recorder = self.clone();
        Trace::from(Arc::new(move |event| recorder.record(event)) as Arc<dyn Fn(TraceEvent) + Send + Sync>)
    }

    fn record(&self, event: TraceEvent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(Some(writer)) = &mut *state
            && let Err(error) = writer.event(event)
        {
            *state = Err(error);
        }
    }

    /// Ends the trace: what is told from now on is not recorded. Gives the output and the number of accesses; `None` when it
    /// was finished before.
    ///
    /// # Errors
    /// The first of writing.
    pub fn finish(&self) -> io::Result<Option<(W, u64)>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = std::mem::replace(&mut *state, Ok(None))? else { return Ok(None) };
        let accesses = writer.accesses();
        let out = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(Some((out, accesses)))
    }
}
