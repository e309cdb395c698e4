//! The miss curve as SVG: misses against the limit, a line for each policy.
//!
//! Who calls it: the front ends. The horizontal axis is the logarithm of the limit, the vertical one begins at 0, so that what
//! looks like half is half. Colours are Okabe and Ito's, which any colour vision tells apart, and each line has its own
//! marker and dash besides.

use crate::curves::{Contender, Curves};
use rumpcap_vm::PolicyKind;
use std::fmt::Write;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 660.0;
const TOP: f64 = 70.0;
const BOTTOM: f64 = 390.0;
/// Half the size of a marker.
const MARK: f64 = 4.5;
/// Lines of the grid, about.
const STEPS: u64 = 5;
/// Labels of the horizontal axis that stand nearer than this are left out.
const LABEL_GAP: f64 = 46.0;

/// How a contender looks.
struct Look {
    colour: &'static str,
    dash: &'static str,
    shape: Shape,
    label: &'static str,
}

enum Shape {
    Circle,
    Square,
    Diamond,
    Triangle,
    Cross,
}

fn look(contender: Contender) -> Look {
    let (colour, dash, shape, label) = match contender {
        Contender::Optimum => ("#000000", "6 4", Shape::Cross, "Belady's optimum"),
        Contender::Product(PolicyKind::S3Fifo) => ("#0072b2", "none", Shape::Circle, "s3-fifo (default)"),
        Contender::Product(PolicyKind::Lru) => ("#d55e00", "none", Shape::Square, "lru"),
        Contender::S3FifoPublished => ("#56b4e9", "2 3", Shape::Diamond, "s3-fifo as published"),
        Contender::ClockPro => ("#009e73", "9 3 2 3", Shape::Triangle, "clock-pro"),
    };
    Look { colour, dash, shape, label }
}

/// Draws `curves`; `title` and `subtitle` may be any text.
pub fn draw(curves: &Curves, title: &str, subtitle: &str) -> String {
    let (first, last) = match (curves.limits.first(), curves.limits.last()) {
        (Some(first), Some(last)) => ((first.bytes as f64).log2(), (last.bytes as f64).log2()),
        _ => (0.0, 0.0),
    };
    let highest =
        curves.contenders.iter().flat_map(|(_, misses)| misses).map(|m| m.misses).max().unwrap_or(0);
    let step = nice_step(highest);
    let top = highest.div_ceil(step).max(1) * step;
    let mut plot = Plot { out: String::new(), first, last, top };
    plot.begin(title, subtitle);
    plot.axes(curves, step);
    for (contender, misses) in &curves.contenders {
        let points: Vec<(f64, f64)> =
            curves.limits.iter().zip(misses).map(|(l, m)| (plot.x(l.bytes), plot.y(m.misses))).collect();
        plot.curve(&look(*contender), &points);
    }
    for (row, (contender, _)) in curves.contenders.iter().enumerate() {
        plot.legend(row, &look(*contender));
    }
    plot.out.push_str("</svg>\n");
    plot.out
}

/// A round number of which about [`STEPS`] make `highest`.
fn nice_step(highest: u64) -> u64 {
    let rough = (highest / STEPS).max(1);
    let power = 10u64.pow(rough.ilog10());
    [1, 2, 5, 10].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(10 * power)
}

struct Plot {
    out: String,
    /// Logarithms of the first and the last limit.
    first: f64,
    last: f64,
    /// The upper end of the vertical axis.
    top: u64,
}

impl Plot {
    fn x(&self, bytes: u64) -> f64 {
        if self.last <= self.first {
            return f64::midpoint(LEFT, RIGHT);
        }
        LEFT + (RIGHT - LEFT) * ((bytes as f64).log2() - self.first) / (self.last - self.first)
    }

    fn y(&self, misses: u64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * misses as f64 / self.top as f64
    }

    fn text(&mut self, x: f64, y: f64, more: &str, text: &str) {
        let _ = writeln!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {more}>{}</text>", escaped(text));
    }

    fn begin(&mut self, title: &str, subtitle: &str) {
        let _ = writeln!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" \
             height=\"{HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>"
        );
        self.text(LEFT, 26.0, "font-size=\"16\" font-weight=\"bold\"", title);
        self.text(LEFT, 46.0, "fill=\"#555\"", subtitle);
    }

    fn axes(&mut self, curves: &Curves, step: u64) {
        for misses in (0..=self.top).step_by(step as usize) {
            let y = self.y(misses);
            let _ = writeln!(
                self.out,
                "<line x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"
            );
            self.text(LEFT - 8.0, y + 4.0, "text-anchor=\"end\" fill=\"#555\"", &grouped(misses));
        }
        let mut labelled: Vec<f64> = Vec::new();
        // Doublings first, then what else has room.
        let (doublings, others): (Vec<u64>, Vec<u64>) =
            curves.limits.iter().map(|limit| limit.bytes).partition(|bytes| bytes.is_power_of_two());
        for bytes in doublings.into_iter().chain(others) {
            let (x, to) = (self.x(bytes), BOTTOM + 5.0);
            let _ = writeln!(
                self.out,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{BOTTOM}\" y2=\"{to}\" stroke=\"#555\"/>"
            );
            if labelled.iter().all(|other| (x - other).abs() >= LABEL_GAP) {
                self.text(x, BOTTOM + 20.0, "text-anchor=\"middle\" fill=\"#555\"", &size(bytes));
                labelled.push(x);
            }
        }
        self.text(f64::midpoint(LEFT, RIGHT), BOTTOM + 44.0, "text-anchor=\"middle\"", "memory limit");
        let y = f64::midpoint(TOP, BOTTOM);
        let turned = format!("text-anchor=\"middle\" transform=\"rotate(-90 18 {y:.1})\"");
        self.text(18.0, y, &turned, "misses");
    }

    fn curve(&mut self, look: &Look, points: &[(f64, f64)]) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let Look { colour, dash, .. } = look;
        let _ = writeln!(
            self.out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
            path.join(" ")
        );
        points.iter().for_each(|(x, y)| self.marker(look, *x, *y));
    }

    fn marker(&mut self, look: &Look, x: f64, y: f64) {
        let (l, r, t, b, colour) = (x - MARK, x + MARK, y - MARK, y + MARK, look.colour);
        let _ = match look.shape {
            Shape::Circle => {
                writeln!(self.out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{MARK}\" fill=\"{colour}\"/>")
            }
            Shape::Square => polygon(&mut self.out, colour, &[(l, t), (r, t), (r, b), (l, b)]),
            Shape::Diamond => polygon(&mut self.out, colour, &[(x, t), (r, y), (x, b), (l, y)]),
            Shape::Triangle => polygon(&mut self.out, colour, &[(x, t), (r, b), (l, b)]),
            Shape::Cross => writeln!(
                self.out,
                "<path d=\"M{l:.1} {t:.1}L{r:.1} {b:.1}M{l:.1} {b:.1}L{r:.1} {t:.1}\" stroke=\"{colour}\" stroke-width=\"2\"/>"
            ),
        };
    }

    fn legend(&mut self, row: usize, look: &Look) {
        let (from, y) = (RIGHT + 18.0, TOP + 10.0 + 22.0 * row as f64);
        let to = from + 34.0;
        let Look { colour, dash, label, .. } = look;
        let _ = writeln!(
            self.out,
            "<line x1=\"{from}\" x2=\"{to}\" y1=\"{y}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>"
        );
        self.marker(look, f64::midpoint(from, to), y);
        self.text(to + 8.0, y + 4.0, "", label);
    }
}

fn polygon(out: &mut String, colour: &str, points: &[(f64, f64)]) -> std::fmt::Result {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    writeln!(out, "<polygon points=\"{}\" fill=\"{colour}\"/>", points.join(" "))
}

/// Digits in groups of three, with thin spaces between them.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|g| std::str::from_utf8(g).ok()).collect();
    groups.join("\u{2009}")
}

fn size(bytes: u64) -> String {
    match bytes {
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes >= 1 << 20 => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        _ => format!("{} KiB", bytes >> 10),
    }
}

/// Text that may stand in SVG: no markup, and no characters that XML does not have.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::belady::tests::{random_accesses, trace};
    use crate::{ReadAhead, curves};

    #[test]
    fn steps_are_round_and_few() {
        for highest in [0, 1, 4, 9, 10, 11, 99, 1234, 56_789, 1 << 40] {
            let step = nice_step(highest);
            assert!(highest.div_ceil(step) <= 10, "{highest} by {step}");
        }
        assert_eq!(nice_step(24_000), 5_000);
    }

    #[test]
    fn every_policy_is_a_line_and_text_is_no_markup() {
        let trace = trace(&random_accesses(3, 500, 200));
        let curves =
            curves(&trace, &[256 << 10, 512 << 10, 1 << 20], &Contender::ALL, ReadAhead::None).unwrap();
        let svg = draw(&curves, "a <b> & \u{1b}c", "");
        assert_eq!(svg.matches("<polyline").count(), Contender::ALL.len());
        assert!(svg.contains("a &lt;b> &amp; \u{fffd}c"));
        assert!(Contender::ALL.iter().all(|contender| svg.contains(look(*contender).label)));
    }
}
