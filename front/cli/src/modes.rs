//! Modes: as text for `ls` and `stat`, and the symbolic modes of `find -perm`.

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

/// Reads an octal or symbolic mode (`644`, `u+w,g=rx`), counted from no permission at all, as `find -perm` does.
pub fn parse_mode(text: &str) -> Option<u32> {
    if !text.is_empty() && text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return u32::from_str_radix(text, 8).ok().filter(|m| *m <= 0o7777);
    }
    text.split(',').try_fold(0, apply_clause)
}

/// Applies one clause (`ug+rw-x`) to `mode`.
fn apply_clause(mode: u32, clause: &str) -> Option<u32> {
    let operator = clause.find(['+', '-', '='])?;
    let (who, mut rest) = clause.split_at(operator);
    let mut classes = 0;
    for c in who.chars() {
        classes |= match c {
            'u' => 0o4700,
            'g' => 0o2070,
            'o' => 0o1007,
            'a' => 0o7777,
            _ => return None,
        };
    }
    if who.is_empty() {
        classes = 0o7777;
    }
    let mut mode = mode;
    while let Some(op) = rest.chars().next() {
        let after = &rest[1..];
        let end = after.find(['+', '-', '=']).unwrap_or(after.len());
        let bits = permission_bits(&after[..end], mode)? & classes;
        mode = match op {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !classes | bits,
        };
        rest = &after[end..];
    }
    Some(mode)
}

fn permission_bits(letters: &str, mode: u32) -> Option<u32> {
    letters.chars().try_fold(0, |bits, c| {
        Some(
            bits | match c {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'u' => (mode >> 6 & 7) * 0o111,
                'g' => (mode >> 3 & 7) * 0o111,
                'o' => (mode & 7) * 0o111,
                _ => return None,
            },
        )
    })
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
        for bad in ["", "8", "77777", "u", "q+x", "u+z", "u=r,,"] {
            assert_eq!(parse_mode(bad), None, "{bad}");
        }
    }
}
