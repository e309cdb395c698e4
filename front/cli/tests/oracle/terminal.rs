//! What a person sees: quoting and columns on a terminal. `script` gives the command one.

use crate::fixture::{RUMPCAP, mounted};
use rumpcap_testing::skip::skip;
use std::process::Command;

/// Runs `rumpcap ARGS` on a terminal of 80 columns; `None`, with the reason printed, where there is no `script`.
fn on_terminal(args: &str) -> Option<String> {
    let line = format!("{RUMPCAP} {args}");
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &line, "/dev/null"]).env("COLUMNS", "80").env("TERM", "xterm");
    match command.env_remove("LS_COLORS").env_remove("NO_COLOR").output() {
        Ok(out) => Some(String::from_utf8_lossy(&out.stdout).replace("\r\n", "\n")),
        Err(e) => {
            skip(&format!("script: {e}"));
            None
        }
    }
}

#[test]
fn names_cannot_reach_the_terminal_unquoted() {
    let Some(m) = mounted("terminal") else { return };
    let image = m.image.display();
    for args in [
        format!("ls --color=never {image}:/names"),
        format!("ls -l --color=never {image}:/names"),
        format!("find {image}:/names"),
        format!("tree --color=never {image}:/names"),
        format!("du -a {image}:/names"),
        format!("ls --color=never -d {image}:'/names/'*red"),
    ] {
        let Some(shown) = on_terminal(&args) else { return };
        assert!(
            !shown.contains('\x1b') && !shown.contains('\t') || args.starts_with("du"),
            "{args}: {shown:?}"
        );
        assert!(!shown.contains("\x1b["), "{args}: {shown:?}");
    }
    let Some(shown) = on_terminal(&format!("ls --color=never {image}:/names")) else { return };
    assert!(shown.contains(r"''$'\033''[31mred'"), "{shown}");
    assert!(shown.contains("'with space'") && shown.contains(r"'nl'$'\n''x'"), "{shown}");
}

#[test]
fn columns_and_colours_on_a_terminal() {
    let Some(m) = mounted("columns") else { return };
    let Some(shown) = on_terminal(&format!("ls {}", m.image.display())) else { return };
    assert!(shown.lines().count() < 6, "{shown}");
    assert!(shown.contains("\x1b["), "colours: {shown:?}");
    let Some(plain) = on_terminal(&format!("ls --color=never {}", m.image.display())) else { return };
    assert!(!plain.contains('\x1b'));
    assert!(plain.lines().all(|l| l.chars().count() <= 80), "{plain}");
}
