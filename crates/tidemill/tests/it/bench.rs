//! `tidemill bench dispatch`, with few tasks: that it measures what it says, not how fast that is.

use serde_json::Value;

use crate::support::Place;

fn dispatch(place: &Place, args: &[&str]) -> Value {
    let few = ["bench", "dispatch", "--tasks", "30", "--providers", "2", "--singles", "2", "--json"];
    let in_place = ["--directory", "network"];
    place.tidemill(&[&few[..], &in_place[..], args].concat()).code(0).json()
}

/// What each role waited for the disk, a task of the mapped job and a task alone.
fn syncs(results: &Value) -> [[f64; 3]; 2] {
    ["syncs_per_task", "syncs_per_single_task"].map(|tasks| {
        ["requester", "coordinator", "providers"].map(|role| {
            let syncs = results[tasks][role].as_f64();
            syncs.unwrap_or_else(|| panic!("{tasks} of the {role} in {results}"))
        })
    })
}

fn is_measured(value: &Value) -> bool {
    value.as_f64().is_some_and(|value| value.is_finite() && value > 0.0)
}

#[test]
fn dispatch_has_tasks_read_and_write_data_of_their_own() {
    // The command itself fails where a task has read less, or two have written the same.
    let results = dispatch(&Place::new(), &["--input", "4KiB", "--output", "3000 B"]);
    assert_eq!(results["input_bytes"], 4096);
    assert_eq!(results["output_bytes"], 3000);
    for value in ["tasks_per_s", "mib_per_s"] {
        assert!(is_measured(&results[value]), "{value} in {results}");
    }
    for percentile in ["p50", "p99"] {
        assert!(is_measured(&results["single_task_ms"][percentile]), "{results}");
    }
    assert!(results.get("submit_per_s").is_none(), "{results}");
    // A coordinator has written down what it was given and what came of it.
    for [_, coordinator, _] in syncs(&results) {
        assert!(coordinator > 0.0, "{results}");
    }
}

#[test]
fn dispatch_has_tasks_of_large_outputs_alone() {
    // More than travels in a message: the output is a blob, which the requester fetches.
    let results = dispatch(&Place::new(), &["--output", "300KiB"]);
    assert_eq!(results["output_bytes"], 300 << 10);
    assert!(results.get("input_bytes").is_none(), "{results}");
    assert!(is_measured(&results["mib_per_s"]), "{results}");
}

#[test]
fn dispatch_counts_the_syncs_of_empty_tasks_too() {
    let results = dispatch(&Place::new(), &["--submissions", "5"]);
    assert!(results.get("mib_per_s").is_none(), "{results}");
    assert!(is_measured(&results["submit_per_s"]), "{results}");
    for [requester, coordinator, _] in syncs(&results) {
        assert_eq!(requester, 0.0, "its blobs are kept for as long as it runs: {results}");
        assert!(coordinator > 0.0, "{results}");
    }
}

#[test]
fn dispatch_refuses_data_of_a_size_that_tells_no_tasks_apart() {
    let place = Place::new();
    for size in ["15 B", "0", "65 MiB", "much"] {
        place.tidemill(&["bench", "dispatch", "--input", size]).code(2).says(&["--input"]);
    }
    let both = ["bench", "dispatch", "--input", "4KiB", "--submissions", "5"];
    place.tidemill(&both).code(2).says(&["--submissions"]);
}
