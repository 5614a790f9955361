//! Text of strangers on its way to a person: without what would steer a terminal or forge a line.

/// Whether a character does something other than to stand where it is: control characters, line and
/// paragraph separators, and those that change the direction of text or have no width.
pub fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text as part of one line, of at most so many characters.
pub fn one_line(text: &str, most_chars: usize) -> String {
    text.chars().take(most_chars).map(|c| if is_steering(c) { '\u{fffd}' } else { c }).collect()
}

/// A text of several lines.
pub fn lines(text: &str) -> String {
    let keep = |c: char| c == '\n' || c == '\t' || !is_steering(c);
    text.chars().map(|c| if keep(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_is_replaced() {
        assert_eq!(
            one_line("a\u{1b}[31m\nb\u{202e}c\u{2028}", 80),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}c\u{fffd}"
        );
        assert_eq!(one_line("ünï→", 3), "ünï");
        assert_eq!(lines("a\n\tb\r\u{7}"), "a\n\tb\u{fffd}\u{fffd}");
    }
}
