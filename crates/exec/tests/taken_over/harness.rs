//! Runs tests by their names and says how they ended, in the words of the usual harness.

use std::{panic, process::ExitCode, time::Instant};

/// A test and its name.
pub type Test = (&'static str, fn());

/// Runs the tests that the arguments choose, or lists them.
pub fn run(words: &[String], tests: &[Test]) -> ExitCode {
    let has = |word: &str| words.iter().any(|one| one == word);
    // What is no option is a part of a name; of the options with a value those are meant that others' runners give.
    let values = ["--format", "-Z", "--test-threads", "--color", "--skip"];
    let mut filters = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if values.contains(&word.as_str()) {
            rest.next();
        } else if !word.starts_with('-') {
            filters.push(word.as_str());
        }
    }
    let is_chosen = |name: &str| {
        let fits = |filter: &&str| if has("--exact") { name == *filter } else { name.contains(*filter) };
        filters.is_empty() || filters.iter().any(fits)
    };
    // None is ignored.
    let chosen = tests.iter().filter(|(name, _)| is_chosen(name) && !has("--ignored"));
    if has("--list") {
        chosen.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in chosen {
        let begun = Instant::now();
        let ended = panic::catch_unwind(test);
        let time = begun.elapsed().as_secs_f64();
        let word = if ended.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {word} <{time:.3}s>");
        if ended.is_ok() {
            passed += 1;
        } else {
            failed += 1;
        }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
