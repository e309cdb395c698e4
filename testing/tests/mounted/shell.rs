//! Scripts for `sh`: what a user would type.

use rumpcap_testing::mounted::Mounted;
use rumpcap_testing::tools::command;
use std::process::Command;
use std::time::Duration;

/// A command that runs `script`, which ends at the first error, also one in a pipe. In it, `$M` is the mount and `$1`, `$2` ... are `arguments`.
pub fn script(mounted: &Mounted, script: &str, arguments: &[&str]) -> Command {
    let mut bash = command("bash");
    bash.arg("-c").arg(format!("set -euo pipefail\n{script}")).arg("script").args(arguments);
    bash.env("M", mounted.path());
    bash
}

/// Runs `text` in the mount, for up to `seconds`.
pub fn run(mounted: &Mounted, seconds: u64, text: &str, arguments: &[&str]) -> Result<String, String> {
    mounted.run_long(Duration::from_secs(seconds), script(mounted, text, arguments))
}
