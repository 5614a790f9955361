//! Counts, in the text form that Prometheus reads.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper bounds of the classes of a time, in milliseconds.
const CLASSES_MS: [u64; 12] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 10_000, 60_000, 600_000];

/// What a server has counted since it began.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Answers by route and status. Routes are those of the router, so there are few.
    answers: Mutex<BTreeMap<(String, u16), u64>>,
    under_way: AtomicI64,
    prompt_tokens: AtomicU64,
    answer_tokens: AtomicU64,
    streams_given_up: AtomicU64,
    first_token: Times,
    whole_answer: Times,
}

/// How long something took, by classes.
#[derive(Debug, Default)]
struct Times {
    classes: [AtomicU64; CLASSES_MS.len()],
    count: AtomicU64,
    sum_us: AtomicU64,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(std::sync::Arc<Metrics>);

impl Metrics {
    pub(crate) fn begin(self: &std::sync::Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self.clone())
    }

    pub(crate) fn answered(&self, route: &str, status: u16) {
        *lock(&self.answers).entry((route.to_owned(), status)).or_insert(0) += 1;
    }

    /// A model's answer had so many tokens, and took so long.
    pub fn tokens(&self, prompt: u64, answer: u64, took: Duration) {
        self.prompt_tokens.fetch_add(prompt, Ordering::Relaxed);
        self.answer_tokens.fetch_add(answer, Ordering::Relaxed);
        self.whole_answer.add(took);
    }

    /// The first token of a stream came after so long.
    pub fn first_token(&self, after: Duration) {
        self.first_token.add(after);
    }

    /// A client left before its answer had come.
    pub fn given_up(&self) {
        self.streams_given_up.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it, with gauges of others: names, what they are, and values.
    pub fn text(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut text = String::new();
        head(&mut text, "tidemill_http_requests_total", "counter", "Answers by route and status.");
        for ((route, status), count) in lock(&self.answers).iter() {
            let _ = writeln!(
                text,
                "tidemill_http_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}"
            );
        }
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let under_way = u64::try_from(self.under_way.load(Ordering::Relaxed)).unwrap_or(0);
        for (name, kind, help, value) in [
            ("tidemill_http_requests_under_way", "gauge", "Requests that are being answered.", under_way),
            (
                "tidemill_prompt_tokens_total",
                "counter",
                "Tokens of prompts that were answered.",
                load(&self.prompt_tokens),
            ),
            ("tidemill_answer_tokens_total", "counter", "Tokens of answers.", load(&self.answer_tokens)),
            (
                "tidemill_answers_given_up_total",
                "counter",
                "Answers whose client left before they had come.",
                load(&self.streams_given_up),
            ),
        ] {
            head(&mut text, name, kind, help);
            let _ = writeln!(text, "{name} {value}");
        }
        for (name, help, value) in gauges {
            head(&mut text, name, "gauge", help);
            let _ = writeln!(text, "{name} {value}");
        }
        self.first_token.write(
            &mut text,
            "tidemill_first_token_seconds",
            "From a request to the first token of its stream.",
        );
        self.whole_answer.write(
            &mut text,
            "tidemill_answer_seconds",
            "From a request to the end of its answer.",
        );
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

impl Times {
    fn add(&self, time: Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        for (class, most) in self.classes.iter().zip(CLASSES_MS) {
            if ms <= most {
                class.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        head(text, name, "histogram", help);
        for (class, most) in self.classes.iter().zip(CLASSES_MS) {
            let (seconds, count) = (most as f64 / 1000.0, class.load(Ordering::Relaxed));
            let _ = writeln!(text, "{name}_bucket{{le=\"{seconds}\"}} {count}");
        }
        let count = self.count.load(Ordering::Relaxed);
        let sum = self.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        let _ =
            writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}");
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn counts_are_written_as_prometheus_reads_them() {
        let metrics = Arc::new(Metrics::default());
        metrics.answered("/v1/models", 200);
        metrics.answered("/v1/models", 200);
        metrics.answered("/v1/models", 401);
        metrics.tokens(7, 5, Duration::from_millis(30));
        let under_way = metrics.begin();
        let text = metrics.text(&[("tidemill_providers", "Providers that are connected.", 3)]);
        for line in [
            "tidemill_http_requests_total{route=\"/v1/models\",status=\"200\"} 2",
            "tidemill_http_requests_total{route=\"/v1/models\",status=\"401\"} 1",
            "tidemill_http_requests_under_way 1",
            "tidemill_prompt_tokens_total 7",
            "tidemill_answer_tokens_total 5",
            "# TYPE tidemill_providers gauge",
            "tidemill_providers 3",
            "tidemill_answer_seconds_bucket{le=\"0.025\"} 0",
            "tidemill_answer_seconds_bucket{le=\"0.05\"} 1",
            "tidemill_answer_seconds_bucket{le=\"+Inf\"} 1",
            "tidemill_answer_seconds_sum 0.03",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        drop(under_way);
        assert!(metrics.text(&[]).contains("tidemill_http_requests_under_way 0\n"));
    }
}
