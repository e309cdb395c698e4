//! The plot: seconds of everybody, case by case, as SVG bars, each case on a scale of its own.
//!
//! Who calls it: `results`.

use super::subjects::Subject;
use super::{Args, Case, Outcomes};
use crate::bench::measure::median;
use std::fmt::Write;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 190.0;
const BAR: f64 = 18.0;
const GAP: f64 = 6.0;
const HEAD: f64 = 60.0;
const CASE_HEAD: f64 = 34.0;
/// Where the longest bar of a case ends; its label is behind.
const LONGEST: f64 = 620.0;

/// Draws it.
pub(super) fn draw(outcomes: &Outcomes, args: &Args, subtitle: &str) -> String {
    let mut body = String::new();
    let mut y = HEAD;
    for case in Case::ALL {
        let all = bars(outcomes, case);
        let Some(longest) = all.iter().map(|(_, seconds, _)| *seconds).reduce(f64::max) else { continue };
        y += CASE_HEAD;
        let _ = writeln!(
            body,
            "<text x=\"20\" y=\"{:.0}\" font-weight=\"bold\">{}</text>",
            y - 10.0,
            title(case, args)
        );
        for (subject, seconds, mib) in all {
            let length = LONGEST * seconds / longest;
            let colour = if subject.is_ours() { "#0072b2" } else { "#999999" };
            let written = mib.map_or(String::new(), |mib| format!(", {mib:.0} MiB written"));
            let _ = writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\n\
                 <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.0}\" fill=\"#555\">{seconds:.2} s{written}</text>",
                LEFT - 8.0,
                y + 13.0,
                subject.name(),
                LEFT + length + 6.0,
                y + 13.0
            );
            y += BAR + GAP;
        }
    }
    let height = y + 20.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"26\" font-size=\"16\" font-weight=\"bold\">Writing: seconds until all is durable (shorter is better)</text>\n\
         <text x=\"20\" y=\"44\" fill=\"#555\">{subtitle}</text>\n{body}</svg>\n"
    )
}

fn title(case: Case, args: &Args) -> String {
    let title = match case {
        Case::Many => "20,000 files in 200 directories",
        Case::DeleteHalf => "half of them removed",
        Case::Big => "a file of 256 MiB",
        Case::Sample => return format!("a copy of {}", args.sample.display()),
        Case::Tree => return format!("a copy of {}", args.tree.display()),
        Case::Mkfs => return format!("a new file system with {}", args.tree.display()),
    };
    title.to_owned()
}

/// Who did a case, its median seconds, and MiB written.
fn bars(outcomes: &Outcomes, case: Case) -> Vec<(Subject, f64, Option<f64>)> {
    let of_case = outcomes.iter().filter(|((of, _), _)| *of == case);
    let bar = |((_, subject), runs): (&(Case, Subject), &Vec<super::Outcome>)| {
        let right = runs.iter().filter(|run| run.error.is_none());
        let seconds = median(right.map(|run| run.seconds).collect())?;
        let bytes = runs.iter().find_map(|run| run.image_bytes);
        Some((*subject, seconds, bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))))
    };
    of_case.filter_map(bar).collect()
}
