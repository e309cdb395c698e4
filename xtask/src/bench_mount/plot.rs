//! The plots: seconds of everybody as bars, each case on a scale of its own; the server's memory as a line.
//!
//! Who calls it: `results`.

use super::memory::Watched;
use super::mounts::Subject;
use super::{Case, MIB, Outcomes};
use crate::bench::measure::median;
use std::fmt::Write;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 220.0;
const BAR: f64 = 18.0;
const GAP: f64 = 6.0;
const HEAD: f64 = 60.0;
const CASE_HEAD: f64 = 34.0;
/// Where the longest bar of a case ends; its label is behind.
const LONGEST: f64 = 620.0;

/// Seconds of everybody.
pub(super) fn bars(outcomes: &Outcomes, subtitle: &str) -> String {
    let mut body = String::new();
    let mut y = HEAD;
    for case in Case::ALL {
        let all = of_case(outcomes, case);
        let Some(longest) = all.iter().map(|(_, seconds, _)| *seconds).reduce(f64::max) else { continue };
        y += CASE_HEAD;
        let _ = writeln!(
            body,
            "<text x=\"20\" y=\"{:.0}\" font-weight=\"bold\">{}</text>",
            y - 10.0,
            title(case)
        );
        for (subject, seconds, is_ended) in all {
            let length = LONGEST * seconds / longest;
            let is_ours = matches!(subject, Subject::Rumpcap | Subject::RumpcapWritable);
            let colour = if is_ours { "#0072b2" } else { "#999999" };
            let more = if is_ended { ", ended" } else { "" };
            let _ = writeln!(
                body,
                "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\n\
                 <rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{length:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.0}\" fill=\"#555\">{seconds:.2} s{more}</text>",
                LEFT - 8.0,
                y + 13.0,
                subject.name(),
                LEFT + length + 6.0,
                y + 13.0
            );
            y += BAR + GAP;
        }
    }
    page(y + 20.0, "Mounts: seconds (shorter is better)", subtitle, &body)
}

/// The server's memory over time.
pub(super) fn memory(watched: &Watched) -> String {
    const TOP: f64 = 70.0;
    const BOTTOM: f64 = 330.0;
    const RIGHT: f64 = 960.0;
    const START: f64 = 70.0;
    let end = watched.samples.last().map_or(1.0, |&(seconds, _)| seconds.max(1.0));
    let highest = (Watched::bound().max(watched.most()) + MIB / 2) as f64;
    let x = |seconds: f64| START + (RIGHT - START) * seconds / end;
    let y = |bytes: f64| BOTTOM - (BOTTOM - TOP) * bytes / highest;
    let mut body = String::new();
    for mib in 0..=(highest as u64 / MIB) {
        let at = y((mib * MIB) as f64);
        let _ = writeln!(
            body,
            "<line x1=\"{START}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{mib} MiB</text>",
            START - 6.0,
            at + 4.0
        );
    }
    let bound = y(Watched::bound() as f64);
    let points: Vec<String> =
        watched.samples.iter().map(|&(s, bytes)| format!("{:.1},{:.1}", x(s), y(bytes as f64))).collect();
    let _ = writeln!(
        body,
        "<line x1=\"{START}\" x2=\"{RIGHT}\" y1=\"{bound:.1}\" y2=\"{bound:.1}\" stroke=\"#d55e00\" stroke-dasharray=\"6 4\"/>\n\
         <text x=\"{RIGHT}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#d55e00\">limit, requests, 2 MiB</text>\n\
         <polyline fill=\"none\" stroke=\"#0072b2\" stroke-width=\"2\" points=\"{}\"/>\n\
         <text x=\"{START}\" y=\"{:.0}\">0 s</text>\n<text x=\"{RIGHT}\" y=\"{:.0}\" text-anchor=\"end\">{end:.0} s</text>",
        bound - 6.0,
        points.join(" "),
        BOTTOM + 18.0,
        BOTTOM + 18.0
    );
    let subtitle =
        format!("find over {} files again and again, and 64 readers; a mount of 1 MiB", watched.files);
    page(BOTTOM + 40.0, "The server's anonymous memory", &subtitle, &body)
}

fn page(height: f64, title: &str, subtitle: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"20\" y=\"26\" font-size=\"16\" font-weight=\"bold\">{title}</text>\n\
         <text x=\"20\" y=\"44\" fill=\"#555\">{subtitle}</text>\n{body}</svg>\n"
    )
}

fn title(case: Case) -> &'static str {
    match case {
        Case::Walk => "find -printf, 200,000 files in 2,000 directories",
        Case::One => "find -printf, one directory of 200,000 files",
        Case::Read => "a file read from beginning to end",
        Case::ReadCold => "the same, the image not in the host's page cache",
        Case::Write => "a new file, until it is durable",
        Case::Create => "20,000 empty files, until they are durable",
    }
}

/// Who did a case, the median seconds, and whether that is a lower bound.
fn of_case(outcomes: &Outcomes, case: Case) -> Vec<(Subject, f64, bool)> {
    let of_case = outcomes.iter().filter(|((of, _), _)| *of == case);
    let bar = |((_, subject), runs): (&(Case, Subject), &Vec<super::Outcome>)| {
        let right = runs.iter().filter(|run| run.error.is_none());
        let seconds = median(right.map(|run| run.seconds).collect())?;
        Some((*subject, seconds, runs.iter().any(|run| run.is_ended)))
    };
    of_case.filter_map(bar).collect()
}
