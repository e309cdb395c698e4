//! `--log`: the kernel's events, as lines on standard error.
//!
//! Who calls it: `args` parses, `session` starts. Whom it calls: tracing-subscriber; its filter by target and level, not the
//! one with regular expressions.

use crate::messages::Messages;
use std::io::IsTerminal;
use std::sync::Mutex;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Which events are shown.
pub type Filter = Targets;

/// Parses `debug` or `rumpcap_vm=debug,warn`.
///
/// # Errors
/// A message for the user.
pub fn parse(text: &str) -> Result<Filter, String> {
    text.parse().map_err(|e| format!("not a filter: {e}"))
}

/// Shows the events from now on. One process has one log: where it has been started, that one stays.
pub fn start(filter: &Filter, messages: Messages) {
    let colours = matches!(messages, Messages::Stderr) && std::io::stderr().is_terminal();
    let lines =
        fmt::layer().with_writer(Mutex::new(messages)).with_ansi(colours).with_timer(fmt::time::uptime());
    let _ = tracing_subscriber::registry().with(lines).with(filter.clone()).try_init();
}
