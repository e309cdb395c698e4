//! One chart as SVG: areas on top of each other or lines, over time.
//!
//! Who calls it: `charts`. Colours are classes that the page's style gives meaning to, in light and in dark; so nothing here
//! names one. Every chart has a title and a description for those who do not see it.

use super::html::escape;
use std::fmt::Write;
use std::time::Duration;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 26.0;
/// Steps of time that a chart has: one for every other unit of its width.
pub const STEPS: usize = ((WIDTH - LEFT - RIGHT) / 2.0) as usize;

/// How the values of a chart are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, in KiB, MiB.
    Bytes,
    /// Bytes by the second.
    BytesPerSecond,
    /// Parts of one.
    Percent,
    /// Numbers.
    Count,
    /// Numbers by the second.
    PerSecond,
}

/// How the series of a chart lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Areas, each on top of those before.
    Stacked,
    /// Lines.
    Lines,
}

/// A named series, a value for each of [`STEPS`].
pub struct Curve {
    /// What it is.
    pub name: String,
    /// Number of its colour.
    pub colour: usize,
    /// Its values; nothing where there is none.
    pub values: Vec<Option<f64>>,
}

/// A chart.
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// What it says, in a sentence.
    pub about: &'static str,
    /// How values are written.
    pub unit: Unit,
    /// How the series lie.
    pub shape: Shape,
    /// The series.
    pub curves: Vec<Curve>,
    /// A line across, with its name: the limit.
    pub line: Option<(String, f64)>,
    /// Where time ends.
    pub until: Duration,
}

impl Chart {
    /// Writes it, with its heading and legend.
    pub fn write(&self, out: &mut String) {
        let _ = writeln!(out, "<figure><h3>{}</h3><p>{}</p>", escape(self.title), escape(self.about));
        let highest = self.highest();
        if highest <= 0.0 {
            out.push_str("<p class=\"none\">None in this run.</p></figure>\n");
            return;
        }
        let top = round_up(highest, self.unit);
        let (title, legend) = (escape(self.title), self.legend());
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {}\">",
            legend
                .iter()
                .map(|(name, _, last)| format!("{} {last}", escape(name)))
                .collect::<Vec<_>>()
                .join(", ")
        );
        self.axes(out, top);
        match self.shape {
            Shape::Stacked => self.areas(out, top),
            Shape::Lines => self.lines(out, top),
        }
        if let Some((name, at)) = &self.line {
            let y = y(*at, top);
            let _ = writeln!(
                out,
                "<line class=\"limit\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"limit\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                WIDTH - RIGHT - 4.0,
                y - 4.0,
                escape(name)
            );
        }
        out.push_str("</svg>\n<ul>");
        for (name, colour, last) in legend {
            let _ = write!(out, "<li><i class=\"c{colour}\"></i>{} <b>{last}</b></li>", escape(name));
        }
        out.push_str("</ul></figure>\n");
    }

    /// Each series that is not empty, with the most that it was.
    fn legend(&self) -> Vec<(&str, usize, String)> {
        let entry = |curve: &'_ Curve| format!("at most {}", label(most(curve), self.unit));
        let there = self.curves.iter().filter(|curve| most(curve) > 0.0);
        there.map(|curve| (curve.name.as_str(), curve.colour, entry(curve))).collect()
    }

    fn highest(&self) -> f64 {
        let sum = |step: usize| -> f64 {
            let values = self.curves.iter().filter_map(|curve| curve.values.get(step).copied().flatten());
            match self.shape {
                Shape::Stacked => values.sum(),
                Shape::Lines => values.fold(0.0, f64::max),
            }
        };
        let highest = (0..STEPS).map(sum).fold(0.0, f64::max);
        match (&self.line, self.unit) {
            (_, Unit::Percent) if highest > 0.0 => 1.0,
            // Room for the line's name above it.
            (Some((_, line)), _) => highest.max(*line * 1.1),
            _ => highest,
        }
    }

    fn axes(&self, out: &mut String, top: f64) {
        for quarter in 0..=4 {
            let value = top * f64::from(quarter) / 4.0;
            let y = y(value, top);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0,
                label(value, self.unit)
            );
        }
        for (part, anchor) in [(0, "start"), (1, "middle"), (2, "end")] {
            let x = LEFT + (WIDTH - LEFT - RIGHT) * f64::from(part) / 2.0;
            let time = duration(self.until * part / 2);
            let _ = writeln!(
                out,
                "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">{time}</text>",
                HEIGHT - 8.0
            );
        }
    }

    fn areas(&self, out: &mut String, top: f64) {
        let mut below = [0.0; STEPS];
        for curve in &self.curves {
            let mut above = below;
            for (sum, value) in above.iter_mut().zip(&curve.values) {
                *sum += value.unwrap_or(0.0);
            }
            let upper = above.iter().enumerate().map(|(step, value)| corner(step, *value, top));
            let lower = below.iter().enumerate().rev().map(|(step, value)| corner(step, *value, top));
            let path: String = upper.chain(lower).collect();
            let class = format!("class=\"c{} area\"", curve.colour);
            let _ = writeln!(
                out,
                "<path {class} d=\"M{}Z\"><title>{}</title></path>",
                &path[1..],
                escape(&curve.name)
            );
            below = above;
        }
    }

    fn lines(&self, out: &mut String, top: f64) {
        for curve in self.curves.iter().filter(|curve| most(curve) > 0.0) {
            let mut path = String::new();
            let mut pen_is_up = true;
            for (step, value) in curve.values.iter().enumerate().take(STEPS) {
                let Some(value) = value else {
                    pen_is_up = true;
                    continue;
                };
                let at = corner(step, *value, top);
                path.push_str(&if pen_is_up { at.replacen('L', "M", 1) } else { at });
                // A value between two gaps is a dot: round ends make a line without length visible.
                let next = curve.values.get(step + 1).copied().flatten();
                if pen_is_up && next.is_none() {
                    path.push_str("h0.1");
                }
                pen_is_up = false;
            }
            let class = format!("class=\"c{} line\"", curve.colour);
            let _ = writeln!(out, "<path {class} d=\"{path}\"><title>{}</title></path>", escape(&curve.name));
        }
    }
}

/// The highest value of a curve.
fn most(curve: &Curve) -> f64 {
    curve.values.iter().flatten().copied().fold(0.0, f64::max)
}

fn corner(step: usize, value: f64, top: f64) -> String {
    let width = WIDTH - LEFT - RIGHT;
    let x = LEFT + width * step as f64 / (STEPS - 1) as f64;
    format!("L{x:.1} {:.1}", y(value, top))
}

fn y(value: f64, top: f64) -> f64 {
    TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (value / top).clamp(0.0, 1.0))
}

/// The end of an axis: four even steps that people can read.
fn round_up(highest: f64, unit: Unit) -> f64 {
    let base: f64 = match unit {
        Unit::Percent => return 1.0,
        Unit::Bytes | Unit::BytesPerSecond => 1024f64.powf(highest.log(1024.0).floor()),
        Unit::Count | Unit::PerSecond => 1.0,
    };
    let scaled = highest / base;
    let ten = 10f64.powf(scaled.log10().floor());
    let nice = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 5.0, 6.0, 8.0, 10.0];
    base * ten * nice.into_iter().find(|nice| nice * ten >= scaled * 0.9999).unwrap_or(10.0)
}

/// A value in its unit, short.
pub fn label(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => bytes(value),
        Unit::BytesPerSecond => format!("{}/s", bytes(value)),
        Unit::Percent => format!("{} %", trimmed(value * 100.0)),
        Unit::Count => number(value),
        Unit::PerSecond => format!("{}/s", number(value)),
    }
}

fn bytes(value: f64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut scaled = value;
    let mut unit = 0;
    while scaled >= 1024.0 && unit + 1 < units.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", trimmed(scaled), units.get(unit).unwrap_or(&""))
}

fn number(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{} G", trimmed(v / 1e9)),
        v if v >= 1e6 => format!("{} M", trimmed(v / 1e6)),
        v if v >= 1e4 => format!("{} k", trimmed(v / 1e3)),
        v => trimmed(v),
    }
}

/// Three digits or so, without zeros at the end.
fn trimmed(value: f64) -> String {
    let text = match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    };
    if !text.contains('.') { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

/// A time for people.
pub fn duration(time: Duration) -> String {
    match time.as_secs_f64() {
        0.0 => "0".to_owned(),
        s if s < 0.001 => format!("{} µs", trimmed(s * 1e6)),
        s if s < 1.0 => format!("{} ms", trimmed(s * 1e3)),
        s if s < 120.0 => format!("{} s", trimmed(s)),
        s if s < 7200.0 => format!("{} min {:02} s", s as u64 / 60, s as u64 % 60),
        s => format!("{} h {:02} min", s as u64 / 3600, s as u64 % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_at_or_above_the_highest() {
        for (highest, unit, end) in [
            (512.0 * 1024.0, Unit::Bytes, 600.0 * 1024.0),
            (8.0 * 1048576.0, Unit::Bytes, 8.0 * 1048576.0),
            (0.3, Unit::Percent, 1.0),
            (7.0, Unit::Count, 8.0),
            (0.04, Unit::PerSecond, 0.04),
            (12_345.0, Unit::PerSecond, 16_000.0),
        ] {
            let is = round_up(highest, unit);
            assert!((is - end).abs() < end * 1e-6, "{highest} {unit:?}: {is}");
        }
    }

    #[test]
    fn labels_are_short() {
        for (value, unit, text) in [
            (600.0 * 1024.0, Unit::Bytes, "600 KiB"),
            (1.5 * 1048576.0, Unit::BytesPerSecond, "1.5 MiB/s"),
            (0.9954, Unit::Percent, "99.5 %"),
            (0.0, Unit::Count, "0"),
            (123_456.0, Unit::PerSecond, "123 k/s"),
        ] {
            assert_eq!(label(value, unit), text);
        }
        assert_eq!(duration(Duration::from_micros(1500)), "1.5 ms");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn a_single_value_between_gaps_is_drawn() {
        let mut values = vec![None; STEPS];
        values[7] = Some(1.0);
        let curve = Curve { name: "<one>".to_owned(), colour: 0, values };
        let mut out = String::new();
        let until = Duration::from_secs(1);
        let (unit, shape) = (Unit::Count, Shape::Lines);
        Chart { title: "t", about: "a", unit, shape, curves: vec![curve], line: None, until }.write(&mut out);
        assert!(out.contains("h0.1") && out.contains("&lt;one&gt;") && !out.contains("<one>"), "{out}");
    }
}
