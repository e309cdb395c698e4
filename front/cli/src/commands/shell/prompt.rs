//! [`Prompt`]: reads lines with their editing and history, on a thread of its own: reading a key begins again after a signal, and a session
//! that is told to end must not wait for one.
//!
//! States: between lines the thread waits for a request; at a line it waits for keys. A session that ends at a line leaves the thread where it is, and
//! gives the terminal back itself.
//! PR-1. The thread has the mount only through [`Shared`], which the session empties: nothing keeps the image from being unmounted.

use super::complete::{Completer, Shared};
use crate::outcome::{Run, Stop, plain};
use crate::quote::for_message;
use crate::session::{Session, Within};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::io::{IsTerminal, stdin};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Lines that are remembered from session to session.
const HISTORY_LINES: usize = 1000;

/// How long a signal may go unnoticed.
const WAIT: Duration = Duration::from_millis(100);

type Lines = Editor<Completer, FileHistory>;

/// What came of a line.
pub enum Typed {
    /// A line.
    Line(String),
    /// It was given up.
    Nothing,
    /// There are no more.
    End,
    /// The terminal's word.
    Failed(String),
}

/// Reads lines.
pub struct Prompt {
    requests: Sender<String>,
    typed: Receiver<Typed>,
    thread: JoinHandle<Option<String>>,
    shared: Shared,
    /// How the terminal was.
    terminal: Option<Termios>,
}

impl Prompt {
    /// Begins.
    ///
    /// # Errors
    /// `Fatal` when there is no terminal that can be worked with, or no thread.
    pub fn start() -> Run<Prompt> {
        let shared = Shared::default();
        let mut editor = editor(shared.clone()).map_err(|e| Stop::Fatal(format!("terminal: {e}")))?;
        let (requests, wanted) = channel::<String>();
        let (sink, typed) = channel();
        let read = move || {
            let history = history_file();
            if let Some(history) = &history {
                // None yet, at the first time.
                let _ = editor.load_history(history);
            }
            for prompt in wanted {
                let line = match editor.readline(&prompt) {
                    Ok(line) => Typed::Line(line),
                    Err(ReadlineError::Interrupted) => Typed::Nothing,
                    Err(ReadlineError::Eof) => Typed::End,
                    Err(e) => Typed::Failed(e.to_string()),
                };
                if sink.send(line).is_err() {
                    break;
                }
            }
            history.filter(|_| stdin().is_terminal()).and_then(|history| save(&mut editor, &history))
        };
        let thread = std::thread::Builder::new().name("prompt".to_owned()).spawn(read);
        let thread = thread.map_err(|e| Stop::Fatal(format!("a thread: {}", plain(&e))))?;
        Ok(Prompt { requests, typed, thread, shared, terminal: tcgetattr(stdin()).ok() })
    }

    /// Reads a line, where paths are completed from `within` on.
    ///
    /// # Errors
    /// `Code`, of a signal that ends the session.
    pub fn read(&mut self, session: &Session, within: Option<Within>) -> Run<Typed> {
        let path = within.as_ref().map(|w| for_message(w.target.path.as_os_str().as_bytes()));
        self.shared.set(within);
        let gone = || Typed::Failed("the prompt has ended".to_owned());
        if self.requests.send(format!("rumpcap:{}> ", path.unwrap_or_default())).is_err() {
            return Ok(gone());
        }
        let typed = loop {
            match self.typed.recv_timeout(WAIT) {
                Ok(typed) => break typed,
                Err(RecvTimeoutError::Disconnected) => break gone(),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some(interrupt) = session.interrupt() {
                // At a line there is nothing that it could end.
                interrupt.forget_sigint();
            }
            if let Err(stop) = session.check_interrupt() {
                self.shared.set(None);
                self.give_terminal_back();
                return Err(stop);
            }
        };
        self.shared.set(None);
        Ok(typed)
    }

    fn give_terminal_back(&self) {
        if let Some(terminal) = &self.terminal {
            // One that is gone wants nothing back.
            let _ = tcsetattr(stdin(), OptionalActions::Now, terminal);
        }
    }

    /// Ends between lines; gives what could not be remembered.
    pub fn end(self) -> Option<String> {
        drop(self.requests);
        self.thread.join().ok().flatten()
    }
}

fn editor(shared: Shared) -> rustyline::Result<Lines> {
    let config = Config::builder().completion_type(CompletionType::List).max_history_size(HISTORY_LINES)?;
    let mut editor = Lines::with_config(config.auto_add_history(true).build())?;
    editor.set_helper(Some(Completer::new(shared)));
    Ok(editor)
}

/// Where lines are remembered.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let state = state.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(state.join("rumpcap/history"))
}

fn save(editor: &mut Lines, path: &Path) -> Option<String> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(|e| plain(&e));
    let saved = made.and_then(|()| editor.save_history(path).map_err(|e| e.to_string()));
    saved.err().map(|e| format!("{}: {e}", for_message(path.as_os_str().as_bytes())))
}
