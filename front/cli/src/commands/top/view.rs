//! The picture of `top`: memory by kind, page states, curves over time, daemon, waits, output.
//!
//! Who calls it: `top`, with what `shown` has gathered. Rows are given away by worth, so that a small terminal shows the
//! first few and a large one larger curves.

use super::bar::{Bar, Part};
use super::shown::{Shown, Window};
use crate::units::human;
use crate::watch::Series;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Sparkline, SparklineBar};
use rumpcap::MemoryReport;
use std::time::Duration;

const GREY: Color = Color::Indexed(245);
const PURPLE: Color = Color::Indexed(139);
const PINK: Color = Color::Indexed(168);
const ORANGE: Color = Color::Indexed(172);
const BLUE: Color = Color::Indexed(68);
const GREEN: Color = Color::Indexed(71);
const RED: Color = Color::Indexed(160);

const PAGE_BYTES: u64 = 4096;
/// Rows of a curve, its name included, below which there is one row of curves less.
const CURVE_ROWS: u16 = 4;
/// Columns of a curve, below which there is one column of curves less.
const CURVE_COLUMNS: u16 = 38;
/// Steps of a curve's height: a value is drawn as so many parts of the highest.
const HEIGHT_STEPS: f64 = 10_000.0;

const HELP: &[&str] = &[
    "q   leave; a command that still runs is ended",
    "p   stand still, and go on",
    "w   the last minute, or the whole run",
    "h   this help",
    "",
    "Memory: everything that the kernel uses, against its limit.",
    "small, main, ghosts: the queues of S3-FIFO; ghosts are pages that have gone",
    "  and are remembered.",
    "Daemon: what its steps gave back: empty slabs, pages, items, drained slabs.",
    "Waits: at the gate, inside for a frame, for a page that is being read.",
    "stuck: rounds that freed nothing while somebody waited; it should stay 0.",
];

/// Draws.
pub fn draw(frame: &mut Frame<'_>, shown: &Shown) {
    let mut rest = Rows(frame.area());
    let keys = rest.take_below(1);
    title(frame, rest.take(1), shown);
    let report = shown.report();
    if shown.latest.is_none() {
        let text = if shown.ended { "No kernel was booted." } else { "Waiting for the kernel." };
        frame.render_widget(Paragraph::new(text), rest.take(1));
    } else {
        memory(frame, rest.take(3), &report);
        pages(frame, rest.take(3), &report);
        lines(frame, rest.take(2), &[daemon(&report), waits(&report)]);
        let text_rows = if rest.0.height >= 11 { (rest.0.height / 5).max(3) } else { 0 };
        let text = rest.take_below(text_rows);
        curves(frame, rest.0, shown);
        rest = Rows(text);
    }
    output(frame, rest.0, shown);
    let window = if shown.window == Window::Run { "last minute" } else { "whole run" };
    let pause = if shown.paused { "go on" } else { "pause" };
    let help = format!("q quit   p {pause}   w {window}   h help");
    frame.render_widget(Line::styled(help, Style::new().add_modifier(Modifier::DIM)), keys);
    if shown.help {
        explain(frame);
    }
}

/// Rows that are still free.
struct Rows(Rect);

impl Rows {
    fn take(&mut self, most: u16) -> Rect {
        let height = most.min(self.0.height);
        let taken = Rect { height, ..self.0 };
        self.0 = Rect { y: self.0.y + height, height: self.0.height - height, ..self.0 };
        taken
    }

    fn take_below(&mut self, most: u16) -> Rect {
        let height = most.min(self.0.height);
        self.0.height -= height;
        Rect { y: self.0.y + self.0.height, height, ..self.0 }
    }
}

fn lines(frame: &mut Frame<'_>, area: Rect, lines: &[Line<'_>]) {
    frame.render_widget(Paragraph::new(lines.to_vec()), area);
}

fn bold(text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), Style::new().add_modifier(Modifier::BOLD))
}

fn dim(text: impl Into<String>) -> Span<'static> {
    Span::styled(text.into(), Style::new().add_modifier(Modifier::DIM))
}

fn title(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    let state = match (shown.paused, shown.ended, shown.code) {
        (true, ..) => "paused, at".to_owned(),
        (_, true, Some(code)) => format!("exit code {code} after"),
        (_, true, None) => "ended after".to_owned(),
        _ => "running".to_owned(),
    };
    let right = format!(" {state} {} ", seconds(shown.elapsed));
    let style = Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD);
    let left = format!(" rumpcap top {} -- {}", shown.heading.image, shown.heading.command);
    frame.render_widget(Paragraph::new(left).style(style), area);
    let width = (right.chars().count() as u16).min(area.width);
    let corner = Rect { x: area.x + area.width - width, width, ..area };
    frame.render_widget(Paragraph::new(right).style(style), corner);
}

fn memory(frame: &mut Frame<'_>, area: Rect, r: &MemoryReport) {
    let limit = if r.limited { "limit" } else { "host" };
    let share = 100.0 * r.in_use_bytes as f64 / r.limit_bytes.max(1) as f64;
    let words = Line::from(vec![
        bold("Memory  "),
        Span::raw(format!("{} of {} {limit} ({share:.0} %)", human(r.in_use_bytes), human(r.limit_bytes))),
        dim(format!("   peak {}   wired {}", human(r.peak_bytes), human(r.wired_bytes))),
    ]);
    let bytes = |name: &str, letter, colour, amount| Part {
        name: name.to_owned(),
        letter,
        colour,
        amount,
        label: human(amount),
    };
    let mut parts = vec![bytes("tables", 't', Some(GREY), r.tables_bytes)];
    for (pool, colour) in
        r.pools.iter().zip([PURPLE, PINK, PURPLE, PINK]).filter(|(pool, _)| !pool.name.is_empty())
    {
        parts.push(bytes(pool.name, pool.name.chars().next().unwrap_or('p'), Some(colour), pool.bytes));
    }
    let all = r.pages_clean + r.pages_dirty + r.pages_busy + r.pages_pinned;
    let metadata = r.pages_metadata.min(all);
    parts.push(bytes("buffers", 'b', Some(ORANGE), r.buffers_bytes));
    parts.push(bytes("meta", 'm', Some(BLUE), metadata * PAGE_BYTES));
    parts.push(bytes("data", 'd', Some(GREEN), (all - metadata) * PAGE_BYTES));
    parts.push(bytes("free", '.', None, r.limit_bytes.saturating_sub(r.in_use_bytes)));
    bar(frame, area, words, Bar { parts, whole: r.limit_bytes, plain: is_plain() });
}

fn pages(frame: &mut Frame<'_>, area: Rect, r: &MemoryReport) {
    let words = Line::from(vec![
        bold("Pages   "),
        Span::raw(format!("{} frames   queue: small {}, main {}", r.frames, r.queue_small, r.queue_main)),
        dim(format!(", ghosts {}   read ahead {}", r.queue_ghosts, r.read_ahead_pages)),
    ]);
    let state = |name: &str, letter, colour, amount: u64| Part {
        name: name.to_owned(),
        letter,
        colour,
        amount,
        label: amount.to_string(),
    };
    let parts = vec![
        state("wired", 'w', Some(GREY), (r.pools_bytes + r.buffers_bytes) / PAGE_BYTES),
        state("pinned", 'p', Some(PINK), r.pages_pinned),
        state("busy", 'b', Some(ORANGE), r.pages_busy),
        state("dirty", 'd', Some(PURPLE), r.pages_dirty),
        state("clean", 'c', Some(BLUE), r.pages_clean),
        state("free", '.', None, r.frames_free),
    ];
    bar(frame, area, words, Bar { parts, whole: r.frames, plain: is_plain() });
}

fn bar(frame: &mut Frame<'_>, area: Rect, words: Line<'_>, bar: Bar) {
    let mut rows = Rows(area);
    frame.render_widget(words, rows.take(1));
    let (at, legend) = (rows.take(1), bar.legend());
    frame.render_widget(bar, at);
    frame.render_widget(legend, rows.take(1));
}

fn is_plain() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

fn daemon(r: &MemoryReport) -> Line<'static> {
    Line::from(vec![
        bold("Daemon  "),
        Span::raw(format!(
            "{} rounds   1 caches {}   2 pages {}   3 callbacks {}   4 pools {}   ",
            r.daemon_rounds,
            r.daemon_freed_caches,
            r.daemon_freed_pages,
            r.daemon_freed_callbacks,
            r.daemon_freed_pools
        )),
        stuck(r.stuck),
    ])
}

fn stuck(rounds: u64) -> Span<'static> {
    let style = if rounds > 0 { Style::new().fg(RED).add_modifier(Modifier::BOLD) } else { Style::new() };
    Span::styled(format!("stuck {rounds}"), style)
}

fn waits(r: &MemoryReport) -> Line<'static> {
    let longest = |ns| seconds(Duration::from_nanos(ns));
    Line::from(vec![
        bold("Waits   "),
        Span::raw(format!("gate {}", r.gate_waits)),
        dim(format!(
            " of {} (longest {}, now {})",
            r.gate_entries,
            longest(r.gate_longest_wait_ns),
            r.gate_waiting
        )),
        Span::raw(format!("   frame {}", r.frame_waits)),
        dim(format!(" (longest {})", longest(r.frame_longest_wait_ns))),
        Span::raw(format!("   busy {}", r.busy_waits)),
    ])
}

/// A curve: its name, how a value is written, its values.
struct Curve {
    name: &'static str,
    label: fn(f64) -> String,
    colour: Color,
    /// The upper end, where it is not the highest value.
    top: Option<f64>,
    values: Vec<Option<f64>>,
}

fn curves(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    if area.height < 2 || area.width < 2 {
        return;
    }
    let columns = (area.width / CURVE_COLUMNS).clamp(1, 3);
    let rows = (area.height / CURVE_ROWS).clamp(1, 6 / columns);
    let width = (area.width - (columns - 1) * 2) / columns;
    let curves = all_curves(shown, usize::from(width));
    for (at, curve) in curves.into_iter().take(usize::from(columns * rows)).enumerate() {
        let (row, column) = (at as u16 / columns, at as u16 % columns);
        let (top, bottom) = (area.height * row / rows, area.height * (row + 1) / rows);
        let place = Rect { x: area.x + column * (width + 2), y: area.y + top, width, height: bottom - top };
        draw_curve(frame, place, curve);
    }
}

fn all_curves(shown: &Shown, width: usize) -> Vec<Curve> {
    let (series, span) = (Series::new(&shown.samples), shown.span(width));
    let bytes_rate: fn(f64) -> String = |value| format!("{}/s", human(value as u64));
    let rate: fn(f64) -> String =
        |value| if value < 10.0 { format!("{value:.1}/s") } else { format!("{value:.0}/s") };
    let curve = |name, label, colour, values| Curve { name, label, colour, top: None, values };
    let freed = |r: &MemoryReport| {
        (r.daemon_freed_caches + r.daemon_freed_pages + r.daemon_freed_callbacks + r.daemon_freed_pools)
            as f64
    };
    let hits = series.share(span, |r| r.hits as f64, |r| r.lookups as f64);
    let limit = Some(shown.report().limit_bytes as f64);
    let used = series.gauge(span, |r| r.in_use_bytes as f64);
    let all_waits = |r: &MemoryReport| (r.gate_waits + r.frame_waits + r.busy_waits) as f64;
    vec![
        Curve {
            top: Some(1.0),
            ..curve("Hit ratio", |value| format!("{:.1} %", value * 100.0), GREEN, hits)
        },
        curve("Device reads", bytes_rate, BLUE, series.rate(span, |r| r.device_read_bytes as f64)),
        curve("Evictions", rate, PURPLE, series.rate(span, |r| r.evictions as f64)),
        curve("Waits", rate, ORANGE, series.rate(span, all_waits)),
        curve("Freed by the daemon", rate, PINK, series.rate(span, freed)),
        Curve { top: limit, ..curve("Memory", |value| human(value as u64), GREY, used) },
    ]
}

fn draw_curve(frame: &mut Frame<'_>, area: Rect, curve: Curve) {
    let mut rows = Rows(area);
    let latest = curve.values.iter().rev().find_map(|value| *value);
    let highest = curve.values.iter().flatten().copied().fold(0.0, f64::max);
    let text = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), curve.label);
    let name = Line::from(vec![
        bold(curve.name),
        Span::raw(format!("  {}", text(latest))),
        dim(format!("  at most {}", text(latest.map(|_| highest)))),
    ]);
    frame.render_widget(name, rows.take(1));
    let top = curve.top.unwrap_or(highest).max(f64::MIN_POSITIVE);
    let scaled = |value: f64| ((value / top).clamp(0.0, 1.0) * HEIGHT_STEPS).round() as u64;
    let bars = curve.values.iter().map(|value| SparklineBar::from(value.map(scaled)));
    let line = Sparkline::default().data(bars).max(HEIGHT_STEPS as u64).style(Style::new().fg(curve.colour));
    frame.render_widget(line, rows.0);
}

fn output(frame: &mut Frame<'_>, area: Rect, shown: &Shown) {
    let room = usize::from(area.height).saturating_sub(1);
    let name = Line::from(vec![
        bold("Output  "),
        dim(format!("{} lines, {}B", shown.output.lines_seen, human(shown.output.bytes_seen))),
        Span::raw(match shown.messages.lines_seen {
            0 => String::new(),
            lines => format!("   messages: {lines} lines"),
        }),
    ]);
    // Messages are rarer and matter more: they have up to half of the room.
    let messages = &shown.messages.lines;
    let of_messages = messages.len().min(room.div_ceil(2));
    let of_output = shown.output.lines.len().min(room - of_messages);
    let last = |lines: &[String], most: usize| lines[lines.len() - most..].to_vec();
    let said =
        last(messages, of_messages).into_iter().map(|line| Line::styled(line, Style::new().fg(ORANGE)));
    let printed = last(&shown.output.lines, of_output).into_iter().map(|line| Line::from(dim(line)));
    let all: Vec<Line<'_>> = [name].into_iter().chain(printed).chain(said).collect();
    lines(frame, area, &all);
}

fn explain(frame: &mut Frame<'_>) {
    let area = frame.area();
    let longest = HELP.iter().map(|line| line.chars().count()).max().unwrap_or(0) as u16;
    let (width, height) = ((longest + 4).min(area.width), (HELP.len() as u16 + 2).min(area.height));
    let place =
        Rect { x: area.x + (area.width - width) / 2, y: area.y + (area.height - height) / 2, width, height };
    frame.render_widget(Clear, place);
    let text: Vec<Line<'_>> = HELP.iter().map(|line| Line::from(format!(" {line}"))).collect();
    frame.render_widget(Paragraph::new(text).block(Block::bordered().title(" top ")), place);
}

/// A time in few characters.
fn seconds(time: Duration) -> String {
    match time.as_secs_f64() {
        0.0 => "0".to_owned(),
        s if s < 0.001 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 60.0 => format!("{s:.1} s"),
        s => format!("{}:{:02}", s as u64 / 60, s as u64 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::super::shown::{Heading, Text};
    use super::*;
    use crate::watch::Sample;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use rumpcap::PoolBytes;

    /// A run of 20 s at 512 KiB: full after 10 s, at half the hit ratio from then on.
    fn shown() -> Shown {
        let picture = |step: u64| {
            let late = step.saturating_sub(50);
            let mut report = MemoryReport {
                limit_bytes: 512 << 10,
                limited: true,
                in_use_bytes: ((step * 16) << 10).min(512 << 10),
                peak_bytes: 512 << 10,
                tables_bytes: 20 << 10,
                pools_bytes: 40 << 10,
                buffers_bytes: 16 << 10,
                wired_bytes: 80 << 10,
                frames: 123,
                pages_clean: 100,
                pages_busy: 8,
                pages_pinned: 1,
                pages_metadata: 70,
                queue_small: 30,
                queue_main: 79,
                queue_ghosts: 92,
                lookups: step * 100,
                hits: step * 100 - late * 50,
                device_read_bytes: step << 17,
                evictions: late * 10,
                daemon_rounds: 7,
                daemon_freed_pages: 56,
                gate_entries: 90_000,
                gate_waits: 12,
                gate_longest_wait_ns: 1_500_000,
                ..MemoryReport::default()
            };
            report.pools[0] = PoolBytes { name: "vnodes", bytes: 24 << 10 };
            report.pools[1] = PoolBytes { name: "names", bytes: 16 << 10 };
            Sample { at: Duration::from_millis(200 * step), report }
        };
        let samples: Vec<Sample> = (0..=100).map(picture).collect();
        let text = |lines: &[&str]| Text {
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
            lines_seen: 1234,
            bytes_seen: 56_789,
        };
        Shown {
            heading: Heading { image: "disk.img".to_owned(), command: "find -name x".to_owned() },
            elapsed: Duration::from_secs(20),
            latest: samples.last().copied(),
            samples,
            output: text(&["/one", "/two", "/three"]),
            messages: text(&["rumpcap: /four: no"]),
            ..Shown::default()
        }
    }

    fn drawn(width: u16, height: u16, shown: &Shown) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, shown)).unwrap();
        let cells = terminal.backend().buffer().content();
        let row = |row: &[ratatui::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect::<String>();
        cells.chunks(width.into()).map(|cells| row(cells).trim_end().to_owned()).collect()
    }

    #[test]
    fn the_usual_terminal_shows_all_of_it() {
        let expected = [
            " rumpcap top disk.img -- find -name x                            running 20.0 s",
            "Memory  512K of 512K limit (100 %)   peak 512K   wired 80K",
            "████████████████████████████████████████████████████████████████████████████████",
            "■ tables 20K  ■ vnodes 24K  ■ names 16K  ■ buffers 16K  ■ meta 280K  ■ data 156K",
            "Pages   123 frames   queue: small 30, main 79, ghosts 92   read ahead 0",
            "████████████████████████████████████████████████████████████████████████████████",
            "■ wired 14  ■ pinned 1  ■ busy 8  ■ clean 100",
            "Daemon  7 rounds   1 caches 0   2 pages 56   3 callbacks 0   4 pools 0   stuck 0",
            "Waits   gate 12 of 90000 (longest 2 ms, now 0)   frame 0 (longest 0)   busy 0",
        ];
        let drawn = drawn(80, 24, &shown());
        let there: Vec<&str> = drawn.iter().map(String::as_str).collect();
        assert_eq!(there[..9], expected);
        let names = [
            ("Hit ratio  50.0 %  at most 100.0 %", "Device reads  640K/s  at most 640K/s"),
            ("Evictions  50/s  at most 50/s", "Waits  0.0/s  at most 0.0/s"),
        ];
        for (row, (left, right)) in [9, 14].into_iter().zip(names) {
            assert!(there[row].starts_with(left) && there[row].ends_with(right), "{}", there[row]);
        }
        // Half of the time at the top, then half of the height; evictions come where that begins.
        assert!(
            there[10].starts_with(&"█".repeat(19)) && !there[10].starts_with(&"█".repeat(21)),
            "{drawn:#?}"
        );
        assert!(there[13].starts_with(&"█".repeat(39)), "{drawn:#?}");
        assert!(there[15].starts_with(&" ".repeat(19)) && there[15].ends_with(&"█".repeat(19)), "{drawn:#?}");
        assert_eq!(
            there[20..],
            [
                "Output  1234 lines, 56KB   messages: 1234 lines",
                "/three",
                "rumpcap: /four: no",
                "q quit   p pause   w last minute   h help",
            ]
        );
    }

    #[test]
    fn every_size_can_be_drawn() {
        let states = [
            Shown::default(),
            Shown { ended: true, ..Shown::default() },
            shown(),
            Shown { help: true, paused: true, window: Window::Minute, ..shown() },
            Shown { samples: shown().samples[..1].to_vec(), ended: true, code: Some(1), ..shown() },
        ];
        for shown in &states {
            for width in (1..=50).chain([79, 80, 119, 120, 200, 300]) {
                for height in (1..=30).chain([50, 100]) {
                    assert_eq!(drawn(width, height, shown).len(), usize::from(height));
                }
            }
        }
    }

    #[test]
    fn a_small_terminal_shows_memory_first() {
        let drawn = drawn(40, 10, &shown());
        assert!(drawn[1].starts_with("Memory  512K of 512K limit"), "{drawn:#?}");
        assert!(drawn[4].starts_with("Pages   123 frames"), "{drawn:#?}");
        assert!(drawn[9].starts_with("q quit"), "{drawn:#?}");
    }

    #[test]
    fn a_stuck_daemon_is_red() {
        assert_eq!(stuck(0).style.fg, None);
        assert_eq!(stuck(1).style.fg, Some(RED));
    }
}
