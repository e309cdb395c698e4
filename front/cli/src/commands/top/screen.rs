//! [`Screen`]: the terminal while `top` has it. However the program leaves, the terminal is as it was: dropped, by a panic of
//! whatever thread, by a signal.
//!
//! Who calls it: `top`. Signals that end a program are noted, and died of when the terminal has been given back.

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// The terminal, in raw mode, showing its second screen.
pub struct Screen {
    terminal: DefaultTerminal,
    signal: Arc<AtomicUsize>,
    broken: Arc<AtomicBool>,
}

/// What came from outside.
pub enum Input {
    /// Nothing, or a new size.
    Nothing,
    /// A key.
    Key(char),
    /// It is time to leave.
    End(End),
}

/// Why a view is left.
pub enum End {
    /// The user said so, or the command has ended.
    Quit,
    /// A signal came.
    Signal(i32),
    /// A thread has panicked, and the terminal is given back already.
    Broken,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When it cannot do what a view needs.
    pub fn open() -> io::Result<Screen> {
        let (signal, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            signal_hook::flag::register_usize(number, signal.clone(), number as usize)?;
        }
        // Its hook gives the terminal back before the message is printed; this one sees to it that nothing is drawn over that.
        let terminal = ratatui::try_init().inspect_err(|_| drop(ratatui::try_restore()))?;
        let (hook, is_broken) = (std::panic::take_hook(), broken.clone());
        std::panic::set_hook(Box::new(move |info| {
            is_broken.store(true, SeqCst);
            hook(info);
        }));
        Ok(Screen { terminal, signal, broken })
    }

    /// Draws, unless the terminal is no longer this one's.
    ///
    /// # Errors
    /// When the terminal cannot be written.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        if self.broken.load(SeqCst) {
            return Ok(());
        }
        self.terminal.draw(draw).map(drop)
    }

    /// Waits for a key or a signal, at most so long.
    ///
    /// # Errors
    /// When the terminal cannot be read.
    pub fn wait(&mut self, most: Duration) -> io::Result<Input> {
        let event = match event::poll(most) {
            Ok(true) => Some(event::read()?),
            Ok(false) => None,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => None,
            Err(e) => return Err(e),
        };
        let signal = self.signal.load(SeqCst);
        if signal > 0 {
            return Ok(Input::End(End::Signal(signal as i32)));
        }
        if self.broken.load(SeqCst) {
            return Ok(Input::End(End::Broken));
        }
        Ok(event.map_or(Input::Nothing, input))
    }
}

fn input(event: Event) -> Input {
    let Event::Key(key) = event else { return Input::Nothing };
    if key.kind == KeyEventKind::Release {
        return Input::Nothing;
    }
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Input::End(End::Quit),
        KeyCode::Char(letter) => Input::Key(letter.to_ascii_lowercase()),
        KeyCode::Esc => Input::Key('\x1b'),
        _ => Input::Nothing,
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Given back by the hook already, it holds a panic's message: a second time would write over that.
        if !self.broken.load(SeqCst) {
            // Nothing can be done when that fails.
            let _ = ratatui::try_restore();
        }
    }
}

/// Ends the program as `signal` would have.
pub fn die_of(signal: i32) -> ! {
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    std::process::exit(128 + signal)
}
