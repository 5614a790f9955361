//! Honest providers among some that lie, each in a manner of its own: the output is right, the liars are named, and nobody
//! else is.

mod kept;
pub mod liar;

use serde_json::Value;

use self::liar::{Liar, Manner};
use crate::{
    faults::{
        cluster::{counts_once, ends_well, mixed_job, provide, submit},
        process::Process,
    },
    node::Node,
    puppet::puppet,
    support::Place,
};

const HONEST: [&str; 5] = ["one", "two", "three", "four", "five"];

/// A network in which nobody is trusted, with a job.
struct Network {
    place: Place,
    _coordinator: Node,
    honest: Vec<Process>,
    /// Whether verdicts are certain enough to say something about those who gave the results.
    is_telling: bool,
}

impl Network {
    fn with(job: &str, assurance: &str) -> Self {
        let place = Place::new();
        place.write("puppet.wasm", puppet());
        place.write("same.wasm", comparer(0));
        place.write("other.wasm", comparer(1));
        place.job(&format!("{job}[policy]\n{assurance}\n"));
        let coordinator = Node::serve_with(&place, &["--undecided", "20s"]);
        let honest = HONEST.iter().map(|name| provide(&place, name)).collect();
        Self { place, _coordinator: coordinator, honest, is_telling: assurance.starts_with("assurance") }
    }

    /// Runs the job beside these liars. Its output must be right, and of the liars those that lied are named and nobody
    /// else is.
    #[track_caller]
    fn sees_through(self, manners: &[Manner]) -> Value {
        let is_telling = self.is_telling;
        let liars: Vec<Liar> = (1..)
            .zip(manners)
            .map(|(number, manner)| Liar::join(&self.place, number, manner.clone()))
            .collect();
        let job = submit(&self.place);
        let status = ends_well(&self.place, &job);
        let providers = status["providers"].as_array().expect("a list");
        for liar in &liars {
            assert!(providers.iter().any(|one| one["name"] == liar.name.as_str()), "{}: {status}", liar.name);
        }
        for one in providers {
            let (name, wrong) = (one["name"].as_str().expect("a name"), &one["contradicted"]);
            if let Some(liar) = liars.iter().find(|liar| liar.name == name) {
                assert!(liar.lies() > 0, "{name} has not lied");
                assert!(wrong.as_u64() > Some(0), "{name} is not found: {status}");
            } else {
                assert_eq!(wrong, 0, "an honest provider is blamed: {status}");
            }
        }
        for liar in liars.iter().filter(|_| is_telling) {
            let record = reputation(&self.place, &liar.name);
            assert!(record["lies"].as_u64() > Some(0), "{}: {record}", liar.name);
        }
        for name in HONEST {
            let record = reputation(&self.place, name);
            assert!(record["lies"].as_u64().unwrap_or(0) == 0, "{name}: {record}");
            assert!(!is_telling || record["checked"].as_f64() > Some(0.0), "{name}: {record}");
        }
        liars.into_iter().for_each(Liar::stop);
        self.honest.into_iter().for_each(Process::stop);
        status
    }
}

/// A program that compares outputs, and always says the same of them.
fn comparer(code: u32) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "_start") (call $exit (i32.const {code}))))"#
    );
    wat::parse_str(text).expect("the test's program is well formed")
}

fn reputation(place: &Place, name: &str) -> Value {
    let told = place.tidemill(&["reputation", name, "--join", "ticket", "--json"]).code(0).json();
    told["records"][0].clone()
}

#[test]
fn a_flipped_bit_and_another_s_output() {
    let network = Network::with(&mixed_job(&["quick"], 250), "assurance = 100");
    let status = network.sees_through(&[Manner::FlipsABit, Manner::GivesAnother]);
    // Strangers agree by fours at first, and by fewer as they prove right.
    let redundancy = status["reliability"]["redundancy"].as_f64().expect("a number");
    assert!(redundancy > 1.5 && redundancy < 7.0, "{status}");
}

#[test]
fn an_empty_output_and_a_failure_that_nobody_else_sees() {
    let network = Network::with(&mixed_job(&["quick"], 250), "assurance = 100");
    network.sees_through(&[Manner::GivesNothing, Manner::Fails]);
}

#[test]
fn bills_for_twice_the_work() {
    let network = Network::with(&mixed_job(&["quick"], 250), "assurance = 100");
    network.sees_through(&[Manner::Overbills]);
}

#[test]
fn lies_about_large_tasks_alone() {
    let network = Network::with(&mixed_job(&["quick", "large"], 30), "assurance = 100");
    network.sees_through(&[Manner::SpoilsLarge]);
}

#[test]
fn lies_after_a_hundred_right_answers() {
    let network = Network::with(&mixed_job(&["quick"], 1000), "assurance = 100");
    network.sees_through(&[Manner::AfterRight(100)]);
}

#[test]
fn two_that_agree_on_what_is_wrong() {
    let network = Network::with(&mixed_job(&["quick"], 250), "replicate = 5");
    network.sees_through(&[Manner::Colludes, Manner::Colludes]);
}

/// What differs counts as the same by this policy: nobody is to blame for it.
#[track_caller]
fn lets_pass(policy: &str) {
    let network = Network::with(&mixed_job(&["quick"], 100), policy);
    let liar = Liar::join(&network.place, 1, Manner::FlipsABit);
    let job = submit(&network.place);
    network.place.tidemill(&["status", &job, "--watch", "--join", "ticket"]).code(0);
    let status = counts_once(&network.place, &job);
    let providers = status["providers"].as_array().expect("a list");
    assert!(providers.iter().all(|one| one["contradicted"] == 0), "{status}");
    assert!(liar.lies() > 0, "nothing differed");
    liar.stop();
    network.honest.into_iter().for_each(Process::stop);
}

#[test]
fn a_program_of_the_job_says_what_is_the_same() {
    let policy = |program| format!("replicate = 3\ncompare = {{ program = \"{program}\" }}");
    let network = Network::with(&mixed_job(&["quick"], 100), &policy("other.wasm"));
    network.sees_through(&[Manner::FlipsABit]);
    lets_pass(&policy("same.wasm"));
}

#[test]
fn numbers_differ_by_as_much_as_the_job_says() {
    // The bit that is flipped is the lowest one of a byte.
    lets_pass("replicate = 3\ncompare = { numbers = \"u8\", absolute = 1 }");
}
