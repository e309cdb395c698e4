//! The plot: speed and peak memory against the limit, as SVG, two panels side by side.
//!
//! Who calls it: `bench`. The horizontal axis is the limit, evenly by steps (each about a doubling); the vertical ones are
//! percent of the speed without limit, and memory on a logarithmic scale with the limit itself as a line.

use super::markdown::speed_share;
use super::measure::{Case, Measurements};
use super::subjects::Limit;
use std::fmt::Write;

const WIDTH: f64 = 1080.0;
const HEIGHT: f64 = 500.0;
const PANEL_WIDTH: f64 = 400.0;
const PANEL_HEIGHT: f64 = 320.0;
const TOP: f64 = 70.0;
const LEFT: [f64; 2] = [60.0, 600.0];
/// Distinguishable with any colour vision (Okabe and Ito), and black.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// Memory axis: 128 KiB to 64 MiB.
const LOWEST_LOG2_BYTES: f64 = 17.0;
const HIGHEST_LOG2_BYTES: f64 = 26.0;

/// Draws it.
pub(crate) fn draw(measurements: &Measurements, limits: &[Limit], cases: &[Case], subtitle: &str) -> String {
    let mut plot = Plot { out: String::new(), steps: limits.len() };
    plot.begin(subtitle);
    plot.speed_panel(measurements, limits, cases);
    plot.memory_panel(measurements, limits, cases);
    plot.out.push_str("</svg>\n");
    plot.out
}

struct Plot {
    out: String,
    steps: usize,
}

impl Plot {
    fn begin(&mut self, subtitle: &str) {
        let _ = writeln!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n\
             <text x=\"{}\" y=\"24\" font-size=\"16\" font-weight=\"bold\">rumpcap: speed and memory against the limit</text>\n\
             <text x=\"{}\" y=\"42\" fill=\"#555\">{subtitle}</text>",
            LEFT[0], LEFT[0]
        );
    }

    fn x(&self, panel: usize, step: usize) -> f64 {
        LEFT[panel] + PANEL_WIDTH * (step as f64 + 0.5) / self.steps as f64
    }

    fn y(share: f64) -> f64 {
        TOP + PANEL_HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }

    fn text(&mut self, x: f64, y: f64, more: &str, text: &str) {
        let _ = writeln!(self.out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {more}>{text}</text>");
    }

    fn rule(&mut self, panel: usize, y: f64, label: &str) {
        let (from, to) = (LEFT[panel], LEFT[panel] + PANEL_WIDTH);
        let _ = writeln!(
            self.out,
            "<line x1=\"{from}\" x2=\"{to}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"
        );
        self.text(from - 6.0, y + 4.0, "text-anchor=\"end\" fill=\"#555\"", label);
    }

    fn frame(&mut self, panel: usize, limits: &[Limit], title: &str) {
        self.text(LEFT[panel], TOP - 10.0, "font-weight=\"bold\"", title);
        for (step, limit) in limits.iter().enumerate() {
            let x = self.x(panel, step);
            let rotated = format!(
                "text-anchor=\"end\" transform=\"rotate(-35 {x:.1} {:.1})\"",
                TOP + PANEL_HEIGHT + 16.0
            );
            self.text(x, TOP + PANEL_HEIGHT + 16.0, &rotated, &limit.name());
        }
    }

    fn curve(&mut self, panel: usize, points: &[(usize, f64)], style: &str, dots: &str) {
        let at: Vec<(f64, f64)> =
            points.iter().map(|&(step, share)| (self.x(panel, step), Plot::y(share))).collect();
        let path: Vec<String> = at.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(self.out, "<polyline points=\"{}\" fill=\"none\" {style}/>", path.join(" "));
        for (x, y) in at {
            let _ = writeln!(self.out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" {dots}/>");
        }
    }

    fn legend(&mut self, panel: usize, row: usize, colour: &str, dash: &str, label: &str) {
        // Inside the panel, low on the right: where a curve that is good does not come.
        let (x, y) = (LEFT[panel] + PANEL_WIDTH - 150.0, TOP + PANEL_HEIGHT - 130.0 + 17.0 * row as f64);
        let to = x + 22.0;
        let line = format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"");
        let _ = writeln!(self.out, "<line x1=\"{x}\" x2=\"{to}\" y1=\"{y}\" y2=\"{y}\" {line}/>");
        self.text(x + 28.0, y + 4.0, "", label);
    }

    fn speed_panel(&mut self, measurements: &Measurements, limits: &[Limit], cases: &[Case]) {
        self.frame(0, limits, "Speed, percent of the speed without limit");
        let most = 1.2;
        for percent in (0..=120).step_by(20) {
            self.rule(0, Plot::y(f64::from(percent) / 100.0 / most), &percent.to_string());
        }
        for (at, &case) in cases.iter().enumerate() {
            let share = |(step, &limit): (usize, &Limit)| {
                Some((step, speed_share(measurements, case, limit)? / most))
            };
            let points: Vec<_> = limits.iter().enumerate().filter_map(share).collect();
            let colour = COLOURS[at % COLOURS.len()];
            let (style, dots) =
                (format!("stroke=\"{colour}\" stroke-width=\"2\""), format!("fill=\"{colour}\""));
            self.curve(0, &points, &style, &dots);
            self.legend(0, at, colour, "", &case.name());
        }
    }

    fn memory_panel(&mut self, measurements: &Measurements, limits: &[Limit], cases: &[Case]) {
        self.frame(1, limits, "Peak memory, the worst of all workloads");
        for log2 in (LOWEST_LOG2_BYTES as u32..=HIGHEST_LOG2_BYTES as u32).step_by(1) {
            let kib = 1u64 << (log2 - 10);
            let label = if kib < 1024 { format!("{kib} KiB") } else { format!("{} MiB", kib / 1024) };
            self.rule(1, Plot::y(share_of_axis(1 << log2)), &label);
        }
        let worst = |value: &dyn Fn(&super::child::Outcome) -> Option<u64>, limit: Limit| {
            let runs = cases.iter().filter_map(|&case| measurements.library(case, limit));
            runs.flat_map(|runs| runs.all()).filter_map(value).filter(|&bytes| bytes > 0).max()
        };
        let peak = |limit| worst(&|outcome| outcome.report.as_ref().map(|report| report.peak_bytes), limit);
        let anonymous = |limit| worst(&|outcome| Some(outcome.anonymous_bytes), limit);
        let points = |bytes: &dyn Fn(Limit) -> Option<u64>| -> Vec<(usize, f64)> {
            let point = |(step, &limit): (usize, &Limit)| Some((step, share_of_axis(bytes(limit)?)));
            limits.iter().enumerate().filter_map(point).collect()
        };
        let curves = [
            ("the limit", "#999999", "5 4", points(&|limit| limit.0)),
            ("peak use", COLOURS[0], "", points(&peak)),
            ("anonymous memory", COLOURS[1], "", points(&anonymous)),
        ];
        for (row, (label, colour, dash, points)) in curves.into_iter().enumerate() {
            let style = format!("stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"");
            self.curve(1, &points, &style, &format!("fill=\"{colour}\""));
            self.legend(1, row, colour, dash, label);
        }
    }
}

fn share_of_axis(bytes: u64) -> f64 {
    ((bytes.max(1) as f64).log2() - LOWEST_LOG2_BYTES) / (HIGHEST_LOG2_BYTES - LOWEST_LOG2_BYTES)
}
