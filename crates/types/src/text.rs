//! Text on its way to a person: that of strangers without what would steer a terminal or forge a line, and that of
//! errors with their causes.

use unicode_width::UnicodeWidthStr;

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

/// How many columns of a terminal a text takes: two for wide characters and most emoji, none for marks.
pub fn columns(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// As much of a text's beginning as so many columns hold.
pub fn fitting(text: &str, most: usize) -> &str {
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    // The whole beginning is measured each time: a character may change the width of those before it.
    let fits = ends.take_while(|end| columns(&text[..*end]) <= most);
    &text[..fits.last().unwrap_or(0)]
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

    #[test]
    fn wide_characters_take_two_columns_and_marks_none() {
        assert_eq!(["", "abc", "日本語", "🦀", "e\u{301}", "\u{fffd}"].map(columns), [0, 3, 6, 2, 1, 1]);
        assert_eq!([1, 2, 3, 6, 9].map(|most| fitting("日本語", most)), ["", "日", "日", "日本語", "日本語"]);
        assert_eq!(fitting("ab", 9), "ab");
    }
}
