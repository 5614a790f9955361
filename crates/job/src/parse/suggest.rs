//! Which known word an unknown one was most likely meant to be.

/// The nearest of `known`, when it is near enough to be a slip of the finger.
pub(super) fn suggestion<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    /// No key is as long, and the distance takes time by the square of the length.
    const MAX_BYTES: usize = 32;
    if word.len() > MAX_BYTES {
        return None;
    }
    let nearest = known.iter().map(|k| (distance(word, k), *k)).min()?;
    let allowed = (word.len().max(nearest.1.len()) / 3).clamp(1, 3);
    (nearest.0 <= allowed).then_some(nearest.1)
}

/// How many letters must be put in, left out, replaced or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_counted() {
        for (a, b, slips) in
            [("", "", 0), ("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("", "ab", 2)]
        {
            assert_eq!(distance(a, b), slips, "{a} {b}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["deadline", "retries", "seed"];
        assert_eq!(suggestion("retires", &known), Some("retries"));
        assert_eq!(suggestion("Deadline", &known), Some("deadline"));
        assert_eq!(suggestion("dead_line", &known), Some("deadline"));
        assert_eq!(suggestion("timeout", &known), None);
        assert_eq!(suggestion("", &known), None);
    }
}
