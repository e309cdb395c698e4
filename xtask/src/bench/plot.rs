//! The plot: speed and peak memory against the limit, as SVG, two panels side by side.
//!
//! Who calls it: `bench`. The horizontal axis is the limit, evenly by steps (each about a doubling); the vertical ones are
//! percent of the speed without limit, and memory on a logarithmic scale with the limit itself as a line.

use super::child::Outcome;
use super::markdown::speed_share;
use super::measure::{Case, Measurements};
use super::subjects::Limit;
use std::fmt::Write;

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 480.0;
const PANEL_WIDTH: f64 = 370.0;
const PANEL_HEIGHT: f64 = 320.0;
const TOP: f64 = 90.0;
const LEFT: [f64; 2] = [50.0, 660.0];
/// Distinguishable with any colour vision (Okabe and Ito), and black.
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// The memory axis begins at 128 KiB, and ends at 64 MiB unless something is above that.
const LOWEST_LOG2_BYTES: u32 = 17;
const HIGHEST_LOG2_BYTES: u32 = 26;

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

    fn legend(&mut self, panel: usize, row: usize, style: &str, label: &str) {
        let (x, y) = (LEFT[panel] + PANEL_WIDTH + 14.0, TOP + 8.0 + 18.0 * row as f64);
        let to = x + 20.0;
        let _ = writeln!(self.out, "<line x1=\"{x}\" x2=\"{to}\" y1=\"{y}\" y2=\"{y}\" {style}/>");
        self.text(x + 28.0, y + 4.0, "", label);
    }

    fn speed_panel(&mut self, measurements: &Measurements, limits: &[Limit], cases: &[Case]) {
        let shares = |&case: &Case| -> Vec<(usize, f64)> {
            let share =
                |(step, &limit): (usize, &Limit)| Some((step, speed_share(measurements, case, limit)?));
            limits.iter().enumerate().filter_map(share).collect()
        };
        let curves: Vec<(Case, Vec<(usize, f64)>)> = cases.iter().map(|case| (*case, shares(case))).collect();
        let highest = curves.iter().flat_map(|(_, points)| points).map(|point| point.1).fold(1.1, f64::max);
        let fifths = (highest * 5.0).ceil() as u32;
        let most = f64::from(fifths) / 5.0;
        self.frame(0, limits, "Speed, percent of the speed without limit");
        for fifth in 0..=fifths {
            self.rule(0, Plot::y(f64::from(fifth) / f64::from(fifths)), &(fifth * 20).to_string());
        }
        for (at, (case, points)) in curves.into_iter().enumerate() {
            let points: Vec<_> = points.into_iter().map(|(step, share)| (step, share / most)).collect();
            let colour = COLOURS[at % COLOURS.len()];
            let (style, dots) =
                (format!("stroke=\"{colour}\" stroke-width=\"2\""), format!("fill=\"{colour}\""));
            self.curve(0, &points, &style, &dots);
            self.legend(0, at, &style, &case.name());
        }
    }

    fn memory_panel(&mut self, measurements: &Measurements, limits: &[Limit], cases: &[Case]) {
        let worst = |value: &dyn Fn(&Outcome) -> Option<u64>, limit: Limit| {
            let runs = cases.iter().filter_map(|&case| measurements.library(case, limit));
            runs.flat_map(|runs| runs.all()).filter_map(value).filter(|&bytes| bytes > 0).max()
        };
        let points = |bytes: &dyn Fn(Limit) -> Option<u64>| -> Vec<(usize, u64)> {
            limits.iter().enumerate().filter_map(|(step, &limit)| Some((step, bytes(limit)?))).collect()
        };
        let peak = |limit| worst(&|outcome| outcome.report.as_ref().map(|report| report.peak_bytes), limit);
        let anonymous = |limit| worst(&|outcome| Some(outcome.anonymous_bytes), limit);
        // The limit is drawn wide and pale, so that a peak that is exactly at it stays visible.
        let curves = [
            ("the limit", "#bbbbbb", 8, points(&|limit| limit.0)),
            ("peak use", COLOURS[0], 2, points(&peak)),
            ("anonymous memory", COLOURS[1], 2, points(&anonymous)),
        ];
        let highest = curves.iter().flat_map(|curve| &curve.3).map(|point| point.1).max().unwrap_or(1);
        let top = HIGHEST_LOG2_BYTES.max(highest.max(1).ilog2() + 1);
        self.frame(1, limits, "Peak memory, the worst of all workloads");
        for log2 in LOWEST_LOG2_BYTES..=top {
            self.rule(1, Plot::y(share_of_axis(1 << log2, top)), &bytes_label(1 << log2));
        }
        for (row, (label, colour, width, points)) in curves.into_iter().enumerate() {
            let points: Vec<_> =
                points.into_iter().map(|(step, bytes)| (step, share_of_axis(bytes, top))).collect();
            let style = format!("stroke=\"{colour}\" stroke-width=\"{width}\" stroke-linecap=\"round\"");
            self.curve(1, &points, &style, &format!("fill=\"{colour}\""));
            self.legend(1, row, &style, label);
        }
    }
}

fn share_of_axis(bytes: u64, top_log2: u32) -> f64 {
    let lowest = f64::from(LOWEST_LOG2_BYTES);
    ((bytes.max(1) as f64).log2() - lowest) / (f64::from(top_log2) - lowest)
}

fn bytes_label(bytes: u64) -> String {
    match bytes >> 10 {
        kib if kib < 1 << 10 => format!("{kib} KiB"),
        kib if kib < 1 << 20 => format!("{} MiB", kib >> 10),
        kib => format!("{} GiB", kib >> 20),
    }
}
