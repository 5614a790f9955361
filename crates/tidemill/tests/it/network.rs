//! Jobs in a network, as who submits them sees it.

use std::{collections::BTreeMap, fs};

use rustix::process::Signal;
use serde_json::Value;
use tidemill_net::ticket::{Pass, Ticket};
use tidemill_types::BlobId;

use crate::{
    examples::example,
    node::Node,
    puppet::{COMPLAINT, LARGE_BYTES, echo},
    support::{Place, Ran, wait_for},
};

/// A coordinator and two providers, and the place that they are in.
struct Network {
    place: Place,
    _nodes: [Node; 3],
}

impl Network {
    /// Starts one in a place whose job is of no matter yet.
    fn start(place: Place) -> Self {
        let coordinator = Node::serve(&place);
        let providers = ["one", "two"].map(|name| {
            let mut provider = Node::provide(&place, name);
            provider.until("joined");
            provider
        });
        let [one, two] = providers;
        Self { place, _nodes: [coordinator, one, two] }
    }

    /// Runs a command for this network.
    fn tidemill(&self, args: &[&str]) -> Ran {
        self.place.tidemill(&[args, &["--join", "ticket"]].concat())
    }

    /// Submits a job and gives its id.
    fn submit(&self, text: &str) -> String {
        self.place.job(text);
        let id = self.tidemill(&["submit", "job.toml"]).code(0).stdout;
        id.trim().to_owned()
    }

    /// Submits a job and waits for its end.
    fn submit_and_wait(&self, text: &str) -> String {
        let id = self.submit(text);
        self.tidemill(&["status", &id, "--watch"]);
        id
    }
}

/// A job with one task for each of these behaviours of the puppet.
pub fn job(name: &str, behaviours: &[&str]) -> String {
    format!(
        "name = \"{name}\"\nretries = 0\n[program]\npath = \"puppet.wasm\"\nargs = [\"{{what}}\"]\n\
         [tasks.matrix]\nwhat = {behaviours:?}\n"
    )
}

/// The files of an output, without what only says that it is one.
fn same_as_here(network: &Network, args: &[&str]) -> BTreeMap<String, Vec<u8>> {
    let place = &network.place;
    network.tidemill(&[&["run", "job.toml", "--out", "there"], args].concat()).code(0);
    place.run_job(&["--out", "here"]).code(0);
    let (there, here) = (place.tree("there"), place.tree("here"));
    assert_eq!(there.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
    assert!(there == here, "a run in a network gives other bytes");
    there
}

fn example_is_the_same(name: &str, changes: &[(&str, &str)]) {
    let network = Network::start(example(name, changes));
    same_as_here(&network, &[]);
}

#[test]
fn render_is_the_same_as_here() {
    example_is_the_same("render", &[(r#""{count}"]"#, r#""{count}", "--samples", "1"]"#)]);
}

#[test]
fn weather_is_the_same_as_here() {
    example_is_the_same("weather", &[("to = 12", "to = 2"), (r#""--hours", "144""#, r#""--hours", "2""#)]);
}

#[test]
fn montecarlo_is_the_same_as_here() {
    example_is_the_same("montecarlo", &[("100000000", "100000")]);
}

#[test]
fn kmer_is_the_same_as_here() {
    example_is_the_same("kmer", &[]);
}

/// Outputs without a reduce, small ones in messages and large ones as blobs, and logs.
#[test]
fn outputs_of_each_task_and_logs_are_the_same_as_here() {
    let place = Place::new();
    place.job(&job("pieces", &["quick", "large", "mumble"]));
    let network = Network::start(place);
    let files = same_as_here(&network, &["--logs", "logs"]);
    let place = &network.place;
    assert_eq!(files["tasks/0/stdout"], echo(&["quick"]));
    assert_eq!(files["tasks/1/stdout"].len(), echo(&["large"]).len() + LARGE_BYTES);
    assert!(String::from_utf8_lossy(&files["tidemill.json"]).contains("\"tasks/2\": \"what=mumble\""));
    place.run_job(&["--out", "again", "--logs", "logs-here"]).code(0);
    assert_eq!(place.tree("logs"), place.tree("logs-here"));
    assert!(!place.path(".there.work").exists(), "nothing is left behind");
}

/// Outputs of all the ways back: within results, within pages, and as blobs, more than are fetched at a time.
#[test]
fn outputs_of_files_lie_under_their_paths_whatever_their_size() {
    let place = Place::new();
    place.job(
        "name = \"copies\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"copy\", \"{input}\"]\n\
         [tasks]\nfiles = \"data/*/reads.fq\"\n",
    );
    let kib = [1, 100, 127, 128, 129, 200, 255, 256, 257, 300, 400, 500, 600, 700, 800, 900];
    let content = |kib: usize| vec![u8::try_from(kib / 8).unwrap(); kib << 10];
    for kib in kib {
        place.write(&format!("data/{kib}/reads.fq"), content(kib));
    }
    let network = Network::start(place);
    let files = same_as_here(&network, &[]);
    for kib in kib {
        let path = format!("tasks/data/{kib}/reads.fq/stdout");
        assert!(files.get(&path).is_some_and(|found| *found == content(kib)), "{path}");
    }
    let task = network.tidemill(&["explain", "copies", "tasks/data/300/reads.fq", "--json"]).code(0).json();
    assert_eq!(task["task"], 9, "{task}");
}

/// The bytes of all files below a directory together.
fn bytes_below(place: &Place, name: &str) -> usize {
    place.tree(name).values().map(Vec::len).sum()
}

/// Pieces are ranges of their file, also where they repeat a part of it.
#[test]
fn a_file_that_is_cut_is_sent_once() {
    let place = Place::new();
    let bases = (0..1u32 << 21).map(|at| b"ACGT"[(at.wrapping_mul(0x9e37_79b9) >> 30) as usize]);
    let bases: Vec<u8> = bases.collect();
    let genome = [&b">one\n"[..], &bases.chunks(64).collect::<Vec<_>>().join(&b'\n'), b"\n"].concat();
    place.write("genome.fa", &genome);
    place.job(
        "name = \"cut\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"copy\", \"{input}\"]\n\
         [tasks]\nsplit = { input = \"genome.fa\", by = \"fasta\", size = \"64 KiB\", overlap = 32768 }\n",
    );
    let network = Network::start(place);
    let files = same_as_here(&network, &[]);
    let pieces: usize =
        files.iter().filter(|(path, _)| path.ends_with("/stdout")).map(|(_, piece)| piece.len()).sum();
    assert!(pieces > genome.len() * 5 / 4, "the pieces have {pieces} bytes, and the file {}", genome.len());

    // The outputs, each below 128 KiB, are in the coordinator's state.
    let place = &network.place;
    let blobs = place.tree("coordinator/blobs");
    assert!(blobs[&format!("data/{}", BlobId::of(&genome))] == genome);
    let all = bytes_below(place, "coordinator/blobs");
    assert!(all < genome.len() + (128 << 10), "{all} bytes for a file of {}", genome.len());
}

#[test]
fn small_pieces_come_with_their_leases() {
    let place = Place::new();
    let lines: String = (0..40_000).map(|line| format!("{line}\n")).collect();
    place.write("lines.txt", &lines);
    place.job(
        "name = \"lines\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"copy\", \"{input}\"]\n\
         [tasks]\nsplit = { input = \"lines.txt\", by = \"lines\", size = \"4 KiB\" }\n",
    );
    let network = Network::start(place);
    let files = same_as_here(&network, &[]);
    assert!(files.len() > 50, "{:?}", files.keys());
    for provider in ["one/blobs", "two/blobs"] {
        let fetched = bytes_below(&network.place, provider);
        assert!(fetched < 64 << 10, "{fetched} bytes in {provider}, where the program alone should be");
    }
}

#[test]
fn a_run_says_who_did_what() {
    let place = Place::new();
    place.job(&job("who", &["quick", "mumble"]));
    let network = Network::start(place);
    let json = network.tidemill(&["run", "job.toml", "--out", "out", "--json"]).code(0).json();
    assert_eq!((&json["outcome"], &json["tasks"], &json["done"]), (&"done".into(), &2.into(), &2.into()));
    assert_eq!(json["network"]["embedded"], false);
    let done: u64 =
        json["providers"].as_array().unwrap().iter().filter_map(|one| one["tasks"].as_u64()).sum();
    assert_eq!(done, 2, "{json}");
    let id = json["job_id"].as_str().unwrap();
    let status = network.tidemill(&["status", id, "--json"]).code(0).json();
    assert_eq!(status["phase"], "done");
    let text = network.tidemill(&["run", "job.toml", "--out", "other"]).code(0).stdout;
    for words in ["who: 2 tasks in ", "provider", "busy", "wrote ", "tidemill remove"] {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
}

#[test]
fn a_job_that_is_submitted_can_be_asked_for_and_fetched() {
    let network = Network::start(Place::new());
    let id = network.submit_and_wait(&job("alone", &["quick", "mumble"]));
    assert_eq!(id.len(), 32, "{id}");
    for name in [&id[..6], "alone", id.as_str()] {
        let status = network.tidemill(&["status", name, "--json", "--tasks"]).code(0).json();
        assert_eq!(status["job_id"], id.as_str());
        assert_eq!(status["task_list"][1]["phase"], "done", "{status}");
    }
    let list = network.tidemill(&["status"]).code(0).stdout;
    assert!(
        list.contains("alone") && list.contains("2/2") && list.lines().all(|line| line.chars().count() <= 80)
    );
    let log = network.tidemill(&["logs", "alone", "1"]).code(0);
    assert_eq!(log.stdout, format!("{COMPLAINT}\n"));
    network.tidemill(&["logs", "alone", "7"]).code(2).says(&["no such task", "--tasks"]);
    for name in ["what=mumble", "tasks/1"] {
        assert_eq!(network.tidemill(&["logs", "alone", name]).code(0).stdout, log.stdout, "{name}");
    }
    network.tidemill(&["logs", "alone", "reduce"]).code(2).says(&["no task \"reduce\"", "--tasks"]);
    let explained = network.tidemill(&["explain", "alone", "what=quick", "--json"]).code(0).json();
    assert_eq!((&explained["task"], &explained["providers"]), (&0.into(), &Value::Array(Vec::new())));
    network.tidemill(&["fetch", "alone", "--out", "fetched"]).code(0);
    network.place.run_job(&["--out", "here"]).code(0);
    assert_eq!(network.place.tree("fetched"), network.place.tree("here"));
    network.tidemill(&["cancel", "alone"]).code(2).says(&["has ended already"]);
    network.tidemill(&["remove", "alone"]).code(0);
    network.tidemill(&["status", &id]).code(2).says(&["no such job"]);
    network.tidemill(&["fetch", "alone"]).code(2).says(&["no job"]);
}

#[test]
fn a_job_that_runs_can_be_cancelled_but_not_removed() {
    let network = Network::start(Place::new());
    let id = network.submit(&job("endless", &["endless"]));
    network.tidemill(&["remove", &id]).code(2).says(&["has not ended"]);
    network.tidemill(&["fetch", &id]).code(2).says(&["has not ended", "--wait"]);
    let explained = network.tidemill(&["explain", &id, "--json"]).code(0).json();
    assert_eq!(explained["providers"].as_array().unwrap().len(), 2, "{explained}");
    let held = wait_for("a provider that has the task", || {
        let explained = network.tidemill(&["explain", &id, "0", "--json"]).code(0).json();
        let why: Vec<String> = explained["providers"]
            .as_array()?
            .iter()
            .filter_map(|one| one["why"].as_str().map(str::to_owned))
            .collect();
        why.iter().any(|why| why.ends_with("has the task")).then_some(why)
    });
    let others = held.iter().filter(|why| why.contains("an attempt of the task runs already")).count();
    assert_eq!((held.len(), others), (2, 1), "{held:?}");
    network.tidemill(&["cancel", &id]).code(0);
    network.tidemill(&["fetch", &id, "--wait"]).code(1).says(&["was cancelled"]);
}

#[test]
fn a_job_that_fails_says_why_as_a_run_here_does() {
    let network = Network::start(Place::new());
    network.place.job(&job("fails", &["exit"]));
    let here = network.place.run_job(&["--out", "here"]).code(1);
    let there = network.tidemill(&["run", "job.toml", "--out", "there"]).code(1);
    for words in [COMPLAINT, "exit code 1", "hint: "] {
        assert!(
            here.stderr.contains(words) && there.stderr.contains(words),
            "{}\n{}",
            here.stderr,
            there.stderr
        );
    }
    assert!(!network.place.path("there").exists());
    let json = network.tidemill(&["run", "job.toml", "--out", "there", "--json"]).code(1).json();
    assert_eq!((&json["outcome"], &json["failure"]["evidence"]), (&"failed".into(), &true.into()));
}

#[test]
fn a_provider_says_at_its_start_what_programs_are_held_to() {
    let place = Place::new();
    let _coordinator = Node::serve(&place);
    let mut provider = Node::provide(&place, "one");
    let said = provider.until("confinement");
    let holds = said["holds"].as_array().expect("a list");
    for measure in ["privileges", "system_calls", "memory", "counts"] {
        assert!(holds.contains(&measure.into()), "{said}");
    }
    for lack in said["lacks"].as_array().expect("a list") {
        assert!(lack["measure"].is_string() && lack["reason"].is_string(), "{said}");
    }
    provider.until("offer");
}

#[test]
fn providers_are_listed() {
    let network = Network::start(Place::new());
    let text = network.tidemill(&["providers"]).code(0).stdout;
    assert!(text.contains("one") && text.contains("two") && text.contains("idle"), "{text}");
    let list: Value =
        serde_json::from_str(&network.tidemill(&["providers", "--json"]).code(0).stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2);
    assert_eq!(list[0]["cpus"], 1);
}

/// Ctrl-C without a terminal: the job is cancelled.
#[test]
fn a_run_that_is_stopped_cancels_its_job() {
    let network = Network::start(Place::new());
    network.place.job(&job("stopped", &["endless"]));
    let args = ["run", "job.toml", "--out", "out", "--join", "ticket", "--json"];
    let mut running = network.place.start(&args);
    running.until("the job is submitted", || {
        let list = network.tidemill(&["status", "--json"]).code(0).stdout;
        list.contains("\"running\": 1").then_some(())
    });
    running.signal(Signal::INT);
    assert_eq!(running.finish().code(130).json()["outcome"], "interrupted");
    let status = network.tidemill(&["status", "stopped", "--json"]).code(0).json();
    assert_eq!(status["phase"], "cancelled");
    assert!(!network.place.path("out").exists() && !network.place.path(".out.work").exists());
}

#[test]
fn a_run_that_is_killed_takes_its_job_up_again() {
    let network = Network::start(Place::new());
    network.place.job(
        "name = \"slow\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"slow\", \"{index}\"]\n\
         [tasks]\nrange = { to = 6 }\n",
    );
    let args = ["run", "job.toml", "--out", "out", "--join", "ticket"];
    let mut running = network.place.start(&args);
    let done = |status: &Value| status[0]["done"].as_u64().unwrap_or(0);
    running.until("a task is done", || {
        let list = network.tidemill(&["status", "--json"]).code(0).stdout;
        (done(&serde_json::from_str(&list).unwrap()) > 0).then_some(())
    });
    running.signal(Signal::KILL);
    running.finish();
    let json = network.tidemill(&["run", "job.toml", "--out", "out", "--json"]).code(0).json();
    assert!(json["reused"].as_u64().unwrap() > 0, "{json}");
    let list: Value = serde_json::from_str(&network.tidemill(&["status", "--json"]).code(0).stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1, "it is the same job: {list}");
    network.place.run_job(&["--out", "here"]).code(0);
    assert_eq!(network.place.tree("out"), network.place.tree("here"));
}

#[test]
fn without_a_network_a_run_starts_its_own() {
    let place = example("render", &[(r#""{count}"]"#, r#""{count}", "--samples", "1"]"#)]);
    let json = place.tidemill(&["run", "job.toml", "--out", "there", "--json"]).code(0).json();
    assert_eq!(json["network"]["embedded"], true);
    place.run_job(&["--out", "here"]).code(0);
    assert!(place.tree("there") == place.tree("here"), "a run in a network gives other bytes");
    assert!(!place.path(".there.work").exists(), "nothing is left behind");
}

#[test]
fn wrong_tickets_and_wrong_ids_are_said_to_be_wrong() {
    let place = Place::at_home("home");
    place.job(&job("alone", &["quick"]));
    place.tidemill(&["status"]).code(2).says(&["no network", "tidemill join"]);
    place.tidemill(&["submit", "job.toml", "--join", "nonsense"]).code(2).says(&["not a ticket"]);
    place.tidemill(&["join", "tidemill1abcdefgh"]).code(2).says(&["damaged"]);
    let mut coordinator = Node::serve(&place);
    place.tidemill(&["join", "ticket"]).code(0);
    place.tidemill(&["status", "nothing"]).code(2).says(&["there is no job \"nothing\""]);
    place.tidemill(&["logs", &"0".repeat(32), "0"]).code(2).says(&["no such job"]);
    let ticket: Ticket = fs::read_to_string(place.path("ticket")).unwrap().parse().unwrap();
    let pass = Pass::from_bytes([7; 16]);
    let forged = Ticket::new(ticket.node(), ticket.addresses().to_vec(), pass).unwrap();
    place.tidemill(&["status", "--join", &forged.to_string()]).code(2).says(&["pass"]);
    coordinator.terminate();
    coordinator.ends_with(0);
    place.tidemill(&["status"]).code(4).says(&["did not answer", "tidemill serve"]);
    // The network that is configured is not there: a run of its own network does not ask for it.
    place.job(&job("own", &["quick"]));
    let own = place.tidemill(&["run", "job.toml", "--free", "--json"]).code(0).json();
    assert_eq!((&own["network"]["embedded"], &own["payment"]), (&Value::Bool(true), &Value::Null));
    for flag in ["--free", "--strangers"] {
        let both = ["run", "job.toml", "--join", "ticket", flag];
        place.tidemill(&both).code(2).says(&[flag, "`--join` names another"]);
    }
    place.tidemill(&["join", "--forget"]).code(0);
    place.tidemill(&["status"]).code(2).says(&["no network"]);
}

#[test]
fn the_home_of_a_coordinator_finds_it_and_sees_the_jobs_of_all() {
    let place = Place::at_home("home");
    let serve = ["serve", "--free", "--loopback", "--ticket-file", "ticket"];
    let mut coordinator = Node::start(&place, &serve);
    coordinator.until("listening");
    place.tidemill(&["status"]).code(0).prints(&["no jobs were submitted from here"]);

    let other = Place::at_home("home");
    other.job(&job("of-another", &["quick"]));
    let ticket = place.path("ticket").display().to_string();
    let id = other.tidemill(&["submit", "job.toml", "--join", &ticket]).code(0).stdout.trim().to_owned();
    place.tidemill(&["status"]).code(0).prints(&["no jobs were submitted from here"]);
    let list = place.tidemill(&["status", "--all", "--json"]).code(0).stdout;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let requester = list[0]["requester"].as_str().expect("a node");
    assert_eq!((list[0]["job_id"].as_str(), list[0]["phase"].as_str()), (Some(&*id), Some("running")));
    place.tidemill(&["status", "--all"]).code(0).prints(&["requester", &requester[..8], "0/1"]);
    for name in [&id[..8], "of-another", id.as_str()] {
        place.tidemill(&["status", name]).code(0).prints(&["of the requester", requester]);
    }
    place.tidemill(&["explain", &id, "0"]).code(0);
    place.tidemill(&["cancel", &id]).code(2).says(&["no such job"]);

    let all = ["status", "--all", "--join", &ticket];
    other.tidemill(&all).code(2).says(&["only the home that runs the coordinator"]);
    coordinator.terminate();
    coordinator.ends_with(0);
    place.tidemill(&["status"]).code(2).says(&["no network"]);
}
