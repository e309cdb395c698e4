//! [`Interrupt`]: SIGINT, SIGTERM and SIGHUP while an image is written: the operation that runs is finished, the image is unmounted in order,
//! and the exit code says which it was.
//!
//! Who calls it: `session`, as soon as an image is mounted to be written; every loop of a writing command asks it; `top`, which ends
//! the command that it runs. A second signal
//! ends the process at once: the image then is as after a power cut, and its journal puts it in order.

use crate::outcome::{Run, Stop};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// How long a signal may go unnoticed that comes right before a wait for input.
const WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// What an exit code begins with that tells of a signal.
const SIGNAL_CODE: usize = 128;

/// Signals that have come.
#[derive(Clone, Default)]
pub struct Interrupt {
    signal: Arc<AtomicUsize>,
    /// Whether the next one ends the process.
    is_last: Arc<AtomicBool>,
    /// Whether somebody takes them, and asks.
    is_heeded: Arc<AtomicBool>,
    _registered: Option<Arc<Registered>>,
}

struct Registered(Vec<SigId>);

impl Drop for Registered {
    fn drop(&mut self) {
        for id in self.0.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}

impl Interrupt {
    /// Takes the signals from now on.
    ///
    /// # Errors
    /// The host's.
    pub fn watch(&self) -> io::Result<Interrupt> {
        let (signal, is_last) = (&self.signal, &self.is_last);
        let mut ids = Vec::new();
        for number in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the first signal finds the flag unset, and sets it.
            ids.push(signal_hook::flag::register_conditional_default(number, is_last.clone())?);
            ids.push(signal_hook::flag::register(number, is_last.clone())?);
            ids.push(signal_hook::flag::register_usize(number, signal.clone(), number as usize)?);
        }
        self.is_heeded.store(true, SeqCst);
        Ok(Interrupt { _registered: Some(Arc::new(Registered(ids))), ..self.clone() })
    }

    /// As if SIGINT had come; whether anybody heeds it, and will end soon.
    pub fn raise(&self) -> bool {
        self.signal.store(SIGINT as usize, SeqCst);
        self.is_heeded.load(SeqCst)
    }

    /// Goes on, unless a signal has come.
    ///
    /// # Errors
    /// `Code` with 128 and the signal's number.
    pub fn check(&self) -> Run {
        match self.signal.load(SeqCst) {
            0 => Ok(()),
            number => Err(Stop::Code(u8::try_from(SIGNAL_CODE + number).unwrap_or(u8::MAX))),
        }
    }

    /// Forgets a SIGINT: it was meant for the command that it has ended, not for the session. Others stay.
    pub fn forget_sigint(&self) {
        if self.signal.compare_exchange(SIGINT as usize, 0, SeqCst, SeqCst).is_ok() {
            self.is_last.store(false, SeqCst);
        }
    }
}

/// Input that a signal ends: a read of the host's begins again by itself, and would wait for ever.
pub struct Input<R> {
    source: R,
    interrupt: Option<Interrupt>,
}

impl<R: Read + AsFd> Input<R> {
    /// Reads from `source` until a signal comes.
    pub fn new(source: R, interrupt: Option<Interrupt>) -> Input<R> {
        Input { source, interrupt }
    }
}

impl<R: Read + AsFd> Read for Input<R> {
    /// After a signal an error, of which nobody is told: who gets it asks [`Interrupt::check`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(interrupt) = &self.interrupt else { return self.source.read(buffer) };
        loop {
            interrupt.check().map_err(|_| io::Error::other("interrupted"))?;
            let ready = poll(&mut [PollFd::new(&self.source, PollFlags::IN)], Some(&WAIT));
            match ready {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.source.read(buffer),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_has_come_is_told_and_forgotten() {
        let nothing = Interrupt::default();
        assert!(nothing.check().is_ok());
        nothing.signal.store(SIGINT as usize, SeqCst);
        assert!(matches!(nothing.check(), Err(Stop::Code(130))));
        nothing.forget_sigint();
        assert!(nothing.check().is_ok());
        nothing.signal.store(SIGTERM as usize, SeqCst);
        nothing.forget_sigint();
        assert!(matches!(nothing.check(), Err(Stop::Code(143))));
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"there").unwrap();
        assert!(Input::new(reader, Some(nothing)).read(&mut [0; 8]).is_err());
    }
}
