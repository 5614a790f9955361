//! Text on its way to a person: that of strangers without what would steer a terminal or forge a line, and that of
//! errors with their causes.

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

/// An error and its causes, one after another.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // A transparent error repeats its cause.
        if !words.ends_with(&text) {
            words = format!("{words}: {text}");
        }
        cause = error.source();
    }
    words
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
