//! Modes: as text for `ls` and `stat`, and the changes of `chmod`, which `mkdir -m` and `find -perm` read too.

use rumpcap::FileKind;

/// `drwxr-xr-x`.
pub fn mode_text(mode: u32) -> String {
    let mut text = String::with_capacity(10);
    text.push(kind_letter(FileKind::from_mode(mode)));
    let specials = [(0o4000, 's', 'S'), (0o2000, 's', 'S'), (0o1000, 't', 'T')];
    for (class, (special, with_x, without_x)) in specials.into_iter().enumerate() {
        let bits = mode >> (6 - 3 * class) & 7;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (bits & 1 != 0, mode & special != 0) {
            (true, true) => with_x,
            (false, true) => without_x,
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

/// The letter of `ls -l` for a kind of file.
pub fn kind_letter(kind: FileKind) -> char {
    match kind {
        FileKind::Regular => '-',
        FileKind::Directory => 'd',
        FileKind::Symlink => 'l',
        FileKind::CharDevice => 'c',
        FileKind::BlockDevice => 'b',
        FileKind::Fifo => 'p',
        FileKind::Socket => 's',
        FileKind::Unknown => '?',
    }
}

/// Permission bits with the set-id bits and the sticky bit.
const ALL: u32 = 0o7777;
/// Bits that a directory keeps where a mode does not speak of them: they say whose the files in it are.
const SET_ID: u32 = 0o6000;

/// A change of a mode: octal (`644`) or symbolic (`u+w,g=rx`), as chmod(1) has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModeChange(Vec<Step>);

/// What a change is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// A directory.
    Directory,
    /// Anything else.
    File,
}

/// One operator with what is behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    operator: char,
    /// The bits of the classes in front of it; `None` means all but those of the mask.
    classes: Option<u32>,
    bits: Bits,
    /// Bits that change on a directory too, though it would keep them.
    mentioned: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Bits {
    These(u32),
    /// `X`: these, and execution where somebody has it, and on directories.
    WithSearch(u32),
    /// `u`, `g`, `o`: what that class has; the shift of its bits.
    OfClass(u32),
}

impl ModeChange {
    /// Reads a mode; `None` if it is none.
    pub fn parse(text: &str) -> Option<ModeChange> {
        if text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= ALL)?;
            // Four digits say nothing of bits that a directory keeps, five do.
            let mentioned = if text.len() < 5 { mode & SET_ID } else { SET_ID };
            return Some(ModeChange(vec![Step {
                operator: '=',
                classes: Some(ALL),
                bits: Bits::These(mode),
                mentioned,
            }]));
        }
        let mut steps = Vec::new();
        text.split(',').try_for_each(|clause| read_clause(clause, &mut steps))?;
        Some(ModeChange(steps))
    }

    /// The mode that `mode` becomes, where `umask` is the mask of who says it.
    pub fn apply(&self, mode: u32, of: Of, umask: u32) -> u32 {
        self.0.iter().fold(mode & ALL, |mode, step| step.apply(mode, of, umask))
    }
}

impl Step {
    fn apply(&self, mode: u32, of: Of, umask: u32) -> u32 {
        let kept = if of == Of::Directory { SET_ID & !self.mentioned } else { 0 };
        let bits = match self.bits {
            Bits::These(bits) => bits,
            Bits::WithSearch(bits) if of == Of::Directory || mode & 0o111 != 0 => bits | 0o111,
            Bits::WithSearch(bits) => bits,
            Bits::OfClass(shift) => (mode >> shift & 7) * 0o111,
        };
        let bits = bits & self.classes.unwrap_or(!umask) & !kept;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & (!self.classes.unwrap_or(ALL) | kept) | bits,
        }
    }
}

/// Reads one clause (`ug+rw-x`).
fn read_clause(clause: &str, steps: &mut Vec<Step>) -> Option<()> {
    let operator = clause.find(['+', '-', '='])?;
    let (who, mut rest) = clause.split_at(operator);
    let classes = who.chars().try_fold(0, |classes, c| {
        Some(
            classes
                | match c {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => ALL,
                    _ => return None,
                },
        )
    })?;
    let classes = (classes != 0).then_some(classes);
    while let Some(operator) = rest.chars().next() {
        let after = &rest[1..];
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        let bits = match &after[..end] {
            "u" => Bits::OfClass(6),
            "g" => Bits::OfClass(3),
            "o" => Bits::OfClass(0),
            letters => permission_bits(letters)?,
        };
        let mentioned = match bits {
            Bits::These(bits) | Bits::WithSearch(bits) => bits & classes.unwrap_or(ALL),
            Bits::OfClass(_) => 0,
        };
        steps.push(Step { operator, classes, bits, mentioned });
        rest = &after[end..];
    }
    Some(())
}

fn permission_bits(letters: &str) -> Option<Bits> {
    let bits = letters.chars().try_fold(0, |bits, c| {
        Some(
            bits | match c {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                's' => SET_ID,
                't' => 0o1000,
                'X' => 0,
                _ => return None,
            },
        )
    })?;
    Some(if letters.contains('X') { Bits::WithSearch(bits) } else { Bits::These(bits) })
}

/// Reads a mode counted from no permission at all, as `find -perm` does.
pub fn parse_mode(text: &str) -> Option<u32> {
    ModeChange::parse(text).map(|change| change.apply(0, Of::File, 0))
}

/// The mask of this process for the modes of new files.
pub fn umask() -> u32 {
    // It can be read only by setting it; this program has one thread that makes files.
    let mask = rustix::process::umask(rustix::fs::Mode::empty());
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        assert_eq!(mode_text(0o040_755), "drwxr-xr-x");
        assert_eq!(mode_text(0o104_644), "-rwSr--r--");
        assert_eq!(mode_text(0o041_777), "drwxrwxrwt");
        assert_eq!(mode_text(0o102_010), "------s---");
        assert_eq!(mode_text(0o120_777), "lrwxrwxrwx");
    }

    #[test]
    fn symbolic_and_octal_modes() {
        assert_eq!(parse_mode("644"), Some(0o644));
        assert_eq!(parse_mode("u=rw,go=r"), Some(0o644));
        assert_eq!(parse_mode("u+s"), Some(0o4000));
        assert_eq!(parse_mode("g+s,o+t"), Some(0o3000));
        assert_eq!(parse_mode("a+x-x"), Some(0));
        assert_eq!(parse_mode("+w"), Some(0o222));
        assert_eq!(parse_mode("u=rwx,g=u"), Some(0o770));
        for bad in ["8", "77777", "u", "q+x", "u+z", "u=r,,"] {
            assert_eq!(parse_mode(bad), None, "{bad}");
        }
    }

    /// The oracle: `chmod` of the host, on a file and on a directory, each with two modes to begin with.
    #[test]
    fn changes_are_those_of_gnu_chmod() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (file, directory) = (dir.path().join("f"), dir.path().join("d"));
        std::fs::write(&file, "").unwrap();
        std::fs::create_dir(&directory).unwrap();
        let changes = [
            "0",
            "755",
            "00755",
            "4711",
            "u+x",
            "+w",
            "-w",
            "=r",
            "+X",
            "a+X",
            "go-rwx",
            "u=rwx,g=u,o=g",
            "g=s",
            "u-s,g-s",
            "u=rwxs",
            "ug+s",
            "o+t",
            "+t",
            "-s",
            "=",
            "a=",
            "u=",
            "g-u",
            "o=u-x",
            "a=rX,u+w",
            "u+rw-x",
            "go=u,go-w",
        ];
        for text in changes {
            for (path, of) in [(&file, Of::File), (&directory, Of::Directory)] {
                for mode in [0o640, 0o6775, 0o3011] {
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
                    let run = std::process::Command::new("sh")
                        .args(["-c", "umask 027; chmod -- \"$1\" \"$2\" 2> /dev/null; true", "sh", text])
                        .arg(path)
                        .status();
                    assert!(run.unwrap().success());
                    let expected = std::fs::metadata(path).unwrap().permissions().mode() & ALL;
                    let got = ModeChange::parse(text).unwrap().apply(mode, of, 0o027);
                    assert_eq!(format!("{got:o}"), format!("{expected:o}"), "{text} {of:?} {mode:o}");
                }
            }
        }
    }
}
