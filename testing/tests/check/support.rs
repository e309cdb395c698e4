//! What `e2fsck -fn` says of an image, and what the check here says.

use rumpcap::block::BlockDevice;
use rumpcap::check::{Event, Severity, Summary};
use rumpcap::{Kernel, MountOptions};
use rumpcap_testing::tools;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What somebody says of an image.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub is_clean: bool,
    /// Clean, and there was nothing to tell either.
    pub is_silent: bool,
    pub lines: Vec<String>,
}

/// What e2fsck says, without what it says of every image.
pub fn e2fsck(image: &Path) -> Verdict {
    let output = tools::output(tools::command("e2fsck").arg("-fn").arg(image));
    let text = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&text).into_owned();
    let usual = |line: &&str| {
        let prefixes = ["Pass ", "Fix? no", "Clear? no", "e2fsck 1.", "Ignore"];
        !line.is_empty()
            && !prefixes.iter().any(|prefix| line.starts_with(prefix))
            && !line.contains("WARNING: Filesystem still has errors")
            && !line.contains(" blocks")
    };
    let lines: Vec<String> = said.lines().filter(usual).map(str::to_owned).collect();
    // Some things it tells and passes over, with 0 as its exit code.
    let is_clean = output.status.code() == Some(0);
    Verdict { is_clean, is_silent: is_clean && lines.is_empty(), lines }
}

/// What the check here says, with `limit_bytes` of memory; the journal is left alone, as `e2fsck -n` does.
pub fn ours(device: Arc<dyn BlockDevice>, limit_bytes: u64) -> (Verdict, Option<Summary>) {
    let kernel = Kernel::builder().memory_limit(limit_bytes).boot().expect("booting");
    let options = MountOptions { ignore_journal: true, ..MountOptions::default() };
    let mut lines = Vec::new();
    let mount = match kernel.mount(device, &options) {
        Ok(mount) => mount,
        Err(error) => return (verdict(false, vec![error.to_string()]), None),
    };
    let result = mount.check(&mut |event| {
        if let Event::Finding(finding) = event
            && finding.severity == Severity::Error
            && lines.len() < 1000
        {
            lines.push(finding.to_string());
        }
        ControlFlow::Continue(())
    });
    let report = kernel.memory_report();
    assert!(report.peak_bytes <= limit_bytes, "peak {}", report.peak_bytes);
    assert_eq!((report.stuck, report.pages_pinned), (0, 0), "{report:?}");
    match result {
        Ok(summary) => {
            assert_eq!(summary.errors == 0, lines.is_empty());
            (verdict(summary.errors == 0, lines), Some(summary))
        }
        Err(error) => {
            lines.push(error.to_string());
            (verdict(false, lines), None)
        }
    }
}

fn verdict(is_clean: bool, lines: Vec<String>) -> Verdict {
    Verdict { is_clean, is_silent: is_clean, lines }
}

/// How often both, one or none found something.
#[derive(Debug, Default)]
pub struct Agreement {
    pub both: u32,
    pub neither: u32,
    /// e2fsck tells of it and exits with 0; the check finds something.
    pub passed_over: u32,
    /// By the first thing that e2fsck said.
    pub only_e2fsck: Vec<String>,
    pub only_ours: Vec<String>,
}

impl Agreement {
    pub fn add(&mut self, what: &str, theirs: &Verdict, ours: &Verdict) {
        match (theirs.is_clean, ours.is_clean) {
            (false, false) => self.both += 1,
            (true, true) => self.neither += 1,
            (true, false) if !theirs.is_silent => self.passed_over += 1,
            (false, true) => self.only_e2fsck.push(format!("{what}: {:?}", first(&theirs.lines))),
            (true, false) => self.only_ours.push(format!("{what}: {:?}", first(&ours.lines))),
        }
    }

    pub fn print(&self) {
        println!(
            "both {}, neither {}, told by e2fsck and passed over {}, only e2fsck {}, only ours {}",
            self.both,
            self.neither,
            self.passed_over,
            self.only_e2fsck.len(),
            self.only_ours.len()
        );
        self.only_e2fsck.iter().for_each(|line| println!("only e2fsck: {line}"));
        self.only_ours.iter().for_each(|line| println!("only ours: {line}"));
    }
}

fn first(lines: &[String]) -> &[String] {
    &lines[..lines.len().min(4)]
}
