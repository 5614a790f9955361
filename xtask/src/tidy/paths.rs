//! No file names a folder of somebody's machine.

use super::{Finding, line_at};

/// Where machines keep what belongs to one person or one checkout. Each is written in two pieces, since
/// this file is checked too.
const MACHINE: &[&str] =
    &[concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];

/// Checks one text; each line is reported once for each kind of folder.
pub fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in MACHINE {
        for at in occurrences(text.as_bytes(), folder.as_bytes()) {
            let message =
                format!("`{folder}…` is a folder of one machine: use a relative path or a variable");
            findings.push(Finding::new(path, line_at(text, at), message));
        }
    }
    findings.dedup();
    findings
}

/// The first machine path in a binary file, for what a compiler may have left in it.
pub fn first_in(bytes: &[u8]) -> Option<String> {
    let at = MACHINE.iter().find_map(|folder| occurrences(bytes, folder.as_bytes()).next())?;
    let path = bytes[at..].iter().take_while(|byte| byte.is_ascii_graphic()).take(120);
    Some(path.map(|&byte| char::from(byte)).collect())
}

/// Where the folder begins a path: after the name of another folder it would be part of a longer path.
fn occurrences<'a>(bytes: &'a [u8], folder: &'a [u8]) -> impl Iterator<Item = usize> {
    let places =
        (0..bytes.len().saturating_sub(folder.len() - 1)).filter(|&at| bytes[at..].starts_with(folder));
    places.filter(|&at| {
        let before = &bytes[..at];
        let inside = |&byte: &u8| byte.is_ascii_alphanumeric() || b"_-.~*+}>/".contains(&byte);
        before.ends_with(b"file://") || !before.last().is_some_and(inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(text: &str) -> Vec<usize> {
        check("a.md", text).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn machine_paths_are_found() {
        for folder in MACHINE {
            assert_eq!(lines(&format!("\nsee `{folder}x`")), [2]);
            assert_eq!(lines(&format!("{folder}x")), [1]);
            assert_eq!(lines(&format!("a=file://{folder}x\n\nb={folder}")), [1, 3]);
        }
    }

    #[test]
    fn parts_of_longer_paths_are_not() {
        for folder in MACHINE {
            assert_eq!(lines(&format!("https://example.org{folder}x target{folder} ../{folder}")), NONE);
        }
    }

    #[test]
    fn machine_paths_in_binaries_are_found() {
        let bytes = [b"\0asm\x01".as_slice(), MACHINE[0].as_bytes(), b"src/lib.rs\0rest"].concat();
        assert_eq!(first_in(&bytes), Some(format!("{}src/lib.rs", MACHINE[0])));
        assert_eq!(first_in(b"\0asm\x01src/lib.rs"), None);
    }
}
