//! A coordinator that dies as by a power cut, and comes back.

use std::{collections::BTreeMap, sync::LazyLock};

use rustix::process::Signal;
use tidemill_coordinator::FAILPOINTS;
use tidemill_net::blobs::FAILPOINTS as BLOB_FAILPOINTS;

use super::{
    cluster::{
        SERVE, counts_once, mixed_job, provide, provider, same, serve, state_is_sane, submit, until_status,
    },
    process::Process,
};
use crate::{
    puppet::echo,
    support::{Place, deep, wait_for},
};

/// The variable that arms a point.
const FAILPOINT: &str = "TIDEMILL_FAILPOINT";

/// The points that a coordinator without money passes, and those of its blobs that every job passes.
static POINTS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let of_money = |name: &str| name.ends_with("vouchers") || name.ends_with("settlement");
    let of_records = BLOB_FAILPOINTS.into_iter().filter(|name| name.starts_with("records-"));
    FAILPOINTS.into_iter().filter(|name| !of_money(name)).chain(of_records).collect()
});

/// A run in normal tests, and in deep ones, of each of the tests that share the seeds.
const SEEDS: (u64, u64) = (3, 50);

/// How often a coordinator dies at most in one run.
const MOST_DEATHS: usize = 4;

fn job() -> String {
    mixed_job(&["slow", "large", "quick", "mumble"], 3)
}

/// What the job comes to.
static HERE: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
    let place = Place::new();
    place.job(&job());
    place.run_job(&["--out", "here"]).code(0);
    place.tree("here")
});

/// Numbers that follow from a seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// A point, and the how-manieth time that it is passed.
    fn failpoint(&mut self) -> String {
        let count = u64::try_from(POINTS.len()).expect("there are few");
        let place = usize::try_from(self.below(count)).expect("there are few");
        let name = POINTS[place];
        let most = match name {
            "before-commit" | "after-commit" => 12,
            "between-effects" => 6,
            "after-fetch" => 3,
            "before-pin" => 2,
            _ => 1,
        };
        format!("{name}:{}", 1 + self.below(most))
    }
}

/// The files of an output without what says of which job it is.
fn outputs_of_tasks(place: &Place, out: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = place.tree(out);
    files.retain(|path, _| path.starts_with("tasks/"));
    files
}

/// A coordinator that is made to die, with two providers.
struct Site {
    place: Place,
    coordinator: Process,
    providers: Vec<Process>,
    /// Whether providers outlive their coordinator. They are killed with it otherwise, as by a power cut.
    providers_stay: bool,
}

impl Site {
    fn new(providers_stay: bool) -> Self {
        let place = Place::new();
        let (coordinator, providers) = (serve(&place), start_providers(&place));
        Self { place, coordinator, providers, providers_stay }
    }

    /// Ends this life as a crash would.
    fn end(&mut self) {
        if self.coordinator.ended().is_none() {
            self.coordinator.signal(Signal::KILL);
        }
        wait_for("its death", || self.coordinator.ended());
    }

    /// A new life, to end at a point if there is one given. Says whether it came so far that it listened.
    fn revive(&mut self, point: Option<String>) -> bool {
        let mut command = self.place.command(&SERVE);
        if let Some(point) = point {
            println!("armed with {point}");
            command.env(FAILPOINT, point);
        }
        self.coordinator = Process::start(&mut command);
        let listens = self.coordinator.wait("listening", |_| true).is_some();
        if !self.providers_stay {
            self.providers.clear();
            self.providers = start_providers(&self.place);
        }
        listens
    }

    /// Runs `job.toml` while the coordinator dies at one point after another; says how often it did.
    fn run(&mut self, out: &str, points: impl IntoIterator<Item = String>) -> usize {
        let mut points = points.into_iter();
        let mut deaths = 0;
        self.end();
        while !self.revive(points.next()) {
            deaths += 1;
        }
        let args = ["run", "job.toml", "--out", out, "--join", "ticket"];
        let mut run = self.place.start(&args);
        wait_for("the end of the job", || {
            let ended = run.ended();
            if ended.is_some_and(|status| status.success()) || self.coordinator.ended().is_none() {
                return ended;
            }
            deaths += 1;
            while !self.revive(points.next()) {
                deaths += 1;
            }
            // Who asked is killed as well; it takes its job up again.
            if run.ended().is_none() {
                run.signal(Signal::KILL);
                wait_for("the end of the run", || run.ended());
            }
            run = self.place.start(&args);
            None
        });
        run.finish().code(0);
        deaths
    }

    /// Its last life, in which all must be well.
    fn ends_well(mut self, jobs: &[&str]) {
        self.end();
        assert!(self.revive(None), "it starts again");
        for job in jobs {
            counts_once(&self.place, job);
        }
        self.coordinator.stop();
        state_is_sane(&self.place.path("coordinator"));
    }
}

fn start_providers(place: &Place) -> Vec<Process> {
    let start = |name| Process::start(&mut place.command(&provider(name, "ticket")));
    ["one", "two"].map(start).into()
}

/// Runs the job while the coordinator dies at points that follow from a seed.
fn survives(seed: u64) {
    println!("seed {seed}");
    let mut numbers = Numbers(seed);
    let providers_stay = if deep() { seed % 2 == 1 } else { seed == 0 };
    let most = if providers_stay { 1 } else { MOST_DEATHS };
    let points: Vec<_> = (0..most).map(|_| numbers.failpoint()).collect();
    let mut site = Site::new(providers_stay);
    site.place.job(&job());
    let deaths = site.run("there", points);
    println!("{deaths} deaths");
    same(&site.place.tree("there"), &HERE);
    site.ends_well(&["mixed"]);
}

/// Runs of one of the tests that share the seeds, so that they run at the same time.
fn survive(part: u64) {
    let each = if deep() { SEEDS.1 } else { SEEDS.0 };
    (part * each..(part + 1) * each).for_each(survives);
}

#[test]
fn a_coordinator_dies_at_one_point_after_another() {
    survive(0);
}

#[test]
fn a_coordinator_dies_at_other_points() {
    survive(1);
}

#[test]
fn a_coordinator_dies_at_still_others() {
    survive(2);
}

#[test]
fn a_coordinator_dies_at_yet_others() {
    survive(3);
}

/// Each point is one at which it dies indeed, when it passes it for the first time. The one that is left out is
/// passed when a large job is removed.
#[test]
fn a_coordinator_dies_at_every_point_that_a_job_passes() {
    let points: Vec<&str> = POINTS.iter().copied().filter(|name| *name != "in-sweep").collect();
    let mut site = Site::new(false);
    for point in &points {
        site.place.job(&mixed_job(&["quick", "large"], 2).replace("mixed", point));
        let deaths = site.run(point, [format!("{point}:1")]);
        assert_eq!(deaths, 1, "{point} is not passed");
        same(&outputs_of_tasks(&site.place, point), &outputs_of_tasks(&site.place, points[0]));
    }
    site.ends_well(&points);
}

/// Acknowledged results are not lost, and none is counted twice. Then the job's time is over, in a life that ends in the
/// middle of sweeping it out.
#[test]
fn a_coordinator_dies_in_the_middle_of_many_tasks() {
    const TASKS: u64 = 5_000;
    let place = Place::new();
    place.job(&format!(
        "name = \"many\"\n[program]\npath = \"puppet.wasm\"\nargs = [\"quick\", \"{{index}}\"]\n\
         [tasks]\nrange = {{ to = {TASKS} }}\n"
    ));
    let coordinator = serve(&place);
    let _providers = ["one", "two"].map(|name| provide(&place, name));
    let job = submit(&place);
    let some = until_status(&place, &job, "some results", |status| status["done"].as_u64() > Some(200));
    coordinator.kill();
    let coordinator = serve(&place);
    let after = until_status(&place, &job, "the job", |_| true);
    assert!(after["done"].as_u64() >= some["done"].as_u64(), "{some}\n{after}");
    place.tidemill(&["status", &job, "--watch", "--join", "ticket"]).code(0);
    assert_eq!(counts_once(&place, &job)["done"], TASKS);
    place.tidemill(&["fetch", &job, "--out", "there", "--join", "ticket"]).code(0);
    let outputs = (0..TASKS)
        .map(|index| (format!("tasks/{index:04}/stdout"), echo(&["quick", &index.to_string()])))
        .collect();
    same(&outputs_of_tasks(&place, "there"), &outputs);
    coordinator.stop();

    // The job is not removed by anybody: it ended more than a millisecond ago.
    let mut command = place.command(&SERVE);
    let mut coordinator = Process::start(command.args(["--keep", "1ms"]).env(FAILPOINT, "in-sweep:1"));
    wait_for("its death", || coordinator.ended());
    let coordinator = serve(&place);
    place.tidemill(&["status", &job, "--join", "ticket"]).code(2).says(&["no such job"]);
    coordinator.stop();
    state_is_sane(&place.path("coordinator"));
}
