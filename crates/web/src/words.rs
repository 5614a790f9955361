//! Numbers, times, amounts and states as the pages show them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use maud::{Markup, html};
use tidemill_types::Amount;

/// How something stands: a colour, a shape and a word always come together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing has happened yet.
    Wait,
    /// It is being done.
    Run,
    /// It waits for votes.
    Check,
    /// It is accepted.
    Done,
    /// It failed, or was found wrong.
    Bad,
    /// Nobody knows.
    Unsure,
    /// It is gone.
    Away,
}

impl State {
    /// The class of the style sheet.
    pub fn class(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Run => "run",
            Self::Check => "check",
            Self::Done => "done",
            Self::Bad => "bad",
            Self::Unsure => "unsure",
            Self::Away => "away",
        }
    }
}

/// The icon of a state.
pub fn icon(state: State) -> Markup {
    html! { svg.ic aria-hidden="true" { use href={ "#i-" (state.class()) } {} } }
}

/// A state with its word.
pub fn tag(state: State, word: &str) -> Markup {
    html! { span.tag class=(state.class()) { (icon(state)) (word) } }
}

/// The state of a whole job.
pub fn pill(state: State, word: &str) -> Markup {
    html! { span.tag.pill class=(state.class()) { (icon(state)) (word) } }
}

/// `13,962`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 task`, `2,000 tasks`.
pub fn plural(number: u64, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{} {word}s", count(number)) }
}

/// What part is of whole, in per cent; nothing of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// `68.2 %`. What is not all is never shown as all.
pub fn share(part: u64, whole: u64) -> String {
    let percent = percent(part, whole);
    if part < whole && percent > 99.9 { "99.9 %".to_owned() } else { trimmed(percent) + " %" }
}

/// One decimal, unless it is zero.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// `38 min`, `2 h 10 min`, `40 s`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.as_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 if (seconds / 60).is_multiple_of(60) => format!("{} h", seconds / 3600),
        7200..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Milliseconds since 1970, by the clock of this machine.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `30 November 2026, 16:05`, in UTC.
pub fn date(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    format!("{}, {:02}:{:02}", day(unix_ms), minutes / 60 % 24, minutes % 60)
}

/// `30 November 2026`, in UTC.
pub fn day(unix_ms: u64) -> String {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let (year, month, day) = civil(unix_ms / 86_400_000);
    let month = MONTHS.get(month).copied().unwrap_or_default();
    format!("{day} {month} {year}")
}

/// Year, month from 0 and day of so many days since 1970: Howard Hinnant's `civil_from_days`.
fn civil(days: u64) -> (u64, usize, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 2 } else { month - 10 };
    let year = year + era * 400 + u64::from(month < 2);
    (year, usize::try_from(month).unwrap_or_default(), day)
}

/// A time as an element: in words, with the exact one for scripts and on pointing.
pub fn moment(unix_ms: u64) -> Markup {
    let date = date(unix_ms);
    html! { time title={ (date) " UTC" } { (date) } }
}

/// `3 min ago`.
pub fn ago(unix_ms: u64, now_ms: u64) -> String {
    format!("{} ago", span(Duration::from_millis(now_ms.saturating_sub(unix_ms)).max(Duration::from_secs(1))))
}

/// An amount of TIDE to four decimals, rounded down, with the exact one in wei on pointing.
pub fn tide(amount: Amount) -> Markup {
    const WEI: u128 = 1_000_000_000_000_000_000;
    let wei = amount.wei();
    let whole = u64::try_from(wei / WEI).unwrap_or(u64::MAX);
    let fraction = wei % WEI / (WEI / 10_000);
    html! {
        span.amt title={ (wei) " wei" } { (count(whole)) i { "." (format!("{fraction:04}")) } abbr { "TIDE" } }
    }
}

/// `1.2G`, `340M`: large counts, as rates.
#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
pub fn large(number: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match UNITS.iter().find(|(unit, _)| number >= *unit) {
        Some((unit, name)) => format!("{} {name}", trimmed(number as f64 / *unit as f64)),
        None => number.to_string(),
    }
}

/// The odds of something, as people read them.
pub fn odds(odds: f64) -> String {
    if odds <= 0.0 { "none".to_owned() } else { format!("1 in {}", count(rounded(1.0 / odds))) }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count for people; the cast saturates"
)]
pub fn rounded(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

/// A bar of parts, each a class of the style sheet and its share in per cent.
pub fn meter(class: &str, label: Option<&str>, parts: &[(&str, f64)]) -> Markup {
    let mut from = 0.0;
    let rects: Vec<(&str, f64, f64)> = parts
        .iter()
        .filter(|(_, width)| *width > 0.0)
        .map(|(class, width)| {
            let at = from;
            from += width;
            (*class, at, *width)
        })
        .collect();
    html! {
        svg class={ "meter " (class) } role=[label.map(|_| "img")] aria-label=[label] aria-hidden=[label.is_none().then_some("true")] {
            @for (class, at, width) in rects {
                rect class=(class) x={ (format!("{at:.3}")) "%" } width={ (format!("{width:.3}")) "%" } height="100%" {}
            }
        }
    }
}

/// The first digits of an address or id, with the whole on pointing.
pub fn short(text: &str) -> Markup {
    let shown = match text.strip_prefix("0x") {
        Some(digits) if digits.len() > 12 && digits.is_ascii() => {
            format!("0x{}…{}", &digits[..4], &digits[digits.len() - 4..])
        }
        _ => text.chars().take(8).collect(),
    };
    html! { span.mono title=(text) { (shown) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shares_are_honest() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(share(1, 2), "50 %");
        assert_eq!(share(99_999, 100_000), "99.9 %", "not all");
        assert_eq!(share(7, 7), "100 %");
        assert_eq!(share(0, 0), "0 %");
        assert_eq!(large(4_400_000_000), "4.4 G");
        assert_eq!(odds(0.001), "1 in 1,000");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(date(0), "1 January 1970, 00:00");
        assert_eq!(date(951_782_400_000), "29 February 2000, 00:00");
        assert_eq!(date(1_796_054_700_000), "30 November 2026, 16:05");
        assert_eq!(span(Duration::from_secs(7800)), "2 h 10 min");
        assert_eq!(span(Duration::from_secs(40)), "40 s");
        assert_eq!(ago(1000, 181_000), "3 min ago");
        assert_eq!(ago(5000, 1000), "1 s ago", "a clock may go back");
    }

    #[test]
    fn amounts_show_four_decimals_and_keep_the_rest() {
        let amount = "411.60049 TIDE".parse::<Amount>().expect("an amount");
        let shown = tide(amount).into_string();
        assert!(shown.contains("411<i>.6004</i>") && shown.contains("411600490000000000000 wei"), "{shown}");
    }

    #[test]
    fn parts_of_a_bar_follow_each_other() {
        let bar = meter("thick", Some("half"), &[("f-done", 50.0), ("f-run", 0.0), ("f-check", 25.0)])
            .into_string();
        assert!(bar.contains(r#"x="50.000%" width="25.000%""#) && !bar.contains("f-run"), "{bar}");
    }
}
