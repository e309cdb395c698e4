//! The page around the charts: what was run, on what, how it ended, and the last report in full.
//!
//! Who calls it: `page`. Everything that comes from a command line or an image is escaped; a policy in the page forbids it to
//! fetch anything, and there is no script.

use super::chart::{Unit, duration, label};
use super::{Image, Page, Ran, charts};
use crate::quote::for_message;
use crate::report;
use crate::units::MemoryLimit;
use crate::watch::History;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// What a page begins with.
pub const BEGIN: &str = "<!doctype html>";

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub fn page(page: &Page, run: &Ran, history: &History) -> String {
    let command = page.arguments.iter().map(|argument| for_message(argument.as_bytes())).collect::<Vec<_>>();
    let command = escape(&format!("rumpcap {}", command.join(" ")));
    let mut out = format!(
        "{BEGIN}\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{command}</title>\n<style>\n{STYLE}</style>\n\
         <h1>rumpcap: memory of a run</h1>\n<p>{}, rumpcap {}</p>\n<code class=\"command\">{command}</code>\n",
        escape(&page.began_at.strftime("%F %T %:z").to_string()),
        env!("CARGO_PKG_VERSION"),
    );
    if let Some(message) = &run.message {
        let _ = writeln!(out, "<p class=\"bad\">{}</p>", escape(message));
    }
    facts(&mut out, page, run, history);
    match charts::of(history) {
        charts if charts.is_empty() => {
            out.push_str("<p class=\"none\">No kernel was booted in this run.</p>\n")
        }
        charts => {
            out.push_str("<h2>Over time</h2>\n<div class=\"charts\">\n");
            charts.iter().for_each(|chart| chart.write(&mut out));
            out.push_str("</div>\n");
        }
    }
    run.images.iter().for_each(|one| image(&mut out, one));
    last_report(&mut out, history);
    out
}

fn facts(out: &mut String, page: &Page, run: &Ran, history: &History) {
    let limit = match run.limit {
        MemoryLimit::Unlimited => "none".to_owned(),
        MemoryLimit::Bytes(bytes) => label(bytes as f64, Unit::Bytes),
    };
    let mut facts = vec![
        ("exit code", run.code.to_string()),
        ("duration", duration(page.elapsed())),
        ("memory limit", limit),
        ("policy", format!("{:?}", run.policy).to_lowercase()),
    ];
    if run.failures > 0 {
        facts.push(("paths that failed", run.failures.to_string()));
    }
    if let Some(last) = history.latest() {
        let r = last.report;
        let share = if r.lookups == 0 { 0.0 } else { r.hits as f64 / r.lookups as f64 };
        facts.push(("peak memory", label(r.peak_bytes as f64, Unit::Bytes)));
        facts.push(("hit ratio", label(share, Unit::Percent)));
        facts.push(("read from devices", label(r.device_read_bytes as f64, Unit::Bytes)));
        facts.push(("stuck rounds", r.stuck.to_string()));
        facts.push(("pictures taken", history.whole().len().to_string()));
    }
    out.push_str("<div class=\"facts\">");
    for (name, value) in facts {
        let _ = write!(out, "<div><b>{}</b><span>{name}</span></div>", escape(&value));
    }
    out.push_str("</div>\n");
}

fn image(out: &mut String, image: &Image) {
    let _ = write!(out, "<h2>{}</h2>\n<dl>", escape(&image.name));
    for (name, value) in image.facts.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escape(value));
    }
    out.push_str("</dl>\n");
}

fn last_report(out: &mut String, history: &History) {
    let Some(last) = history.latest() else { return };
    out.push_str("<h2>At the end</h2>\n<div class=\"tables\">\n");
    for (name, figures) in report::groups(&last.report) {
        let _ = write!(out, "<table><caption>{name}</caption>");
        rows(out, "", &figures);
        out.push_str("</table>\n");
    }
    out.push_str("</div>\n");
}

fn rows(out: &mut String, above: &str, figures: &Map<String, Value>) {
    for (name, value) in figures {
        if let Value::Object(inner) = value {
            rows(out, &format!("{above}{name}: "), inner);
            continue;
        }
        let shown = figure(name, above, value);
        let name = escape(&format!("{above}{}", name.trim_end_matches("_ns").replace('_', " ")));
        let _ = write!(out, "<tr><td>{name}<td class=\"v\">{}", escape(&shown));
    }
}

/// A figure in the unit that its name ends with.
fn figure(name: &str, above: &str, value: &Value) -> String {
    match value.as_u64() {
        Some(bytes) if name.ends_with("_bytes") || above.starts_with("pools") => {
            format!("{bytes} ({})", label(bytes as f64, Unit::Bytes))
        }
        Some(ns) if name.ends_with("_ns") => duration(Duration::from_nanos(ns)),
        Some(number) => number.to_string(),
        None => value.to_string(),
    }
}

/// Text as HTML; what a name may hold to trouble a reader is shown as U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}
