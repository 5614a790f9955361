//! Prices a European call option by Monte Carlo simulation.
//!
//! `simulate` runs one batch of random paths; `pool` puts the batches together, writes price and
//! standard error, and fails if they contradict the closed form.

pub mod batch;
pub mod error;
pub mod functions;
pub mod moments;
pub mod option;
pub mod random;
pub mod report;
pub mod simulate;

use std::path::{Path, PathBuf};

use batch::Batch;
pub use error::Error;
use option::Call;
use simulate::BLOCK;

const USAGE: &str = "usage:
  montecarlo simulate --batch N --paths N [--seed N] [--spot X] [--strike X] [--rate X] [--vol X] [--years X]
  montecarlo pool --parts DIR";

/// The values of the flags given, each flag at most once.
struct Flags<'a> {
    rest: &'a [String],
}

impl<'a> Flags<'a> {
    fn new(rest: &'a [String], known: &[&str]) -> Result<Flags<'a>, Error> {
        for pair in rest.chunks(2) {
            if !known.contains(&pair[0].as_str()) {
                return Err(Error::Usage(format!("unknown argument \"{}\"\n{USAGE}", pair[0])));
            }
            if pair.len() < 2 {
                return Err(Error::Usage(format!("{} needs a value\n{USAGE}", pair[0])));
            }
        }
        Ok(Flags { rest })
    }

    fn text(&self, flag: &str) -> Option<&'a str> {
        self.rest.chunks_exact(2).find(|pair| pair[0] == flag).map(|pair| pair[1].as_str())
    }

    fn whole(&self, flag: &str, default: Option<u64>) -> Result<u64, Error> {
        let Some(text) = self.text(flag) else {
            return default.ok_or_else(|| Error::Usage(format!("{flag} is missing\n{USAGE}")));
        };
        text.parse().map_err(|_| Error::Usage(format!("{flag} must be a whole number, not \"{text}\"")))
    }

    fn real(&self, flag: &str, default: f64, low: f64, high: f64) -> Result<f64, Error> {
        let Some(text) = self.text(flag) else { return Ok(default) };
        match text.parse::<f64>() {
            Ok(x) if x >= low && x <= high => Ok(x),
            _ => Err(Error::Usage(format!("{flag} must be a number from {low} to {high}, not \"{text}\""))),
        }
    }
}

/// The place of a guest path below `root`.
fn place(root: &Path, guest: &str) -> PathBuf {
    root.join(guest.trim_start_matches('/'))
}

fn write(root: &Path, guest: &str, text: &str) -> Result<(), Error> {
    std::fs::write(place(root, guest), text).map_err(|why| Error::File { path: guest.into(), why })
}

/// Runs the program with the arguments after its name; guest paths are taken below `root`.
pub fn run(args: &[String], root: &Path) -> Result<(), Error> {
    let Some((command, rest)) = args.split_first() else { return Err(Error::Usage(USAGE.into())) };
    match command.as_str() {
        "simulate" => {
            let known = ["--batch", "--paths", "--seed", "--spot", "--strike", "--rate", "--vol", "--years"];
            simulate_batch(&Flags::new(rest, &known)?, root)
        }
        "pool" => pool(&Flags::new(rest, &["--parts"])?, root),
        other => Err(Error::Usage(format!("unknown command \"{other}\"\n{USAGE}"))),
    }
}

fn simulate_batch(flags: &Flags<'_>, root: &Path) -> Result<(), Error> {
    let call = Call {
        spot: flags.real("--spot", 100.0, 1e-6, 1e9)?,
        strike: flags.real("--strike", 100.0, 1e-6, 1e9)?,
        rate: flags.real("--rate", 0.0, -1.0, 1.0)?,
        volatility: flags.real("--vol", 0.2, 1e-6, 5.0)?,
        years: flags.real("--years", 1.0, 1e-6, 100.0)?,
    };
    let paths = flags.whole("--paths", None)?;
    if paths == 0 {
        return Err(Error::Usage("--paths must be at least 1".into()));
    }
    let (seed, number) = (flags.whole("--seed", Some(1))?, flags.whole("--batch", None)?);
    // Every sample is a pair of paths; whole blocks only.
    let blocks = paths.div_ceil(2 * BLOCK as u64);
    let moments = simulate::simulate(&call, seed, number, blocks);
    let batch = Batch { call, seed, number, moments };
    write(root, "/out/batch.txt", &batch.to_text())
}

fn pool(flags: &Flags<'_>, root: &Path) -> Result<(), Error> {
    let parts = flags.text("--parts").ok_or_else(|| Error::Usage(format!("--parts is missing\n{USAGE}")))?;
    let fail = |why| Error::File { path: parts.to_string(), why };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(place(root, parts)).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut batches: Vec<Batch> = Vec::new();
    for name in names {
        let path = format!("{}/{name}/batch.txt", parts.trim_end_matches('/'));
        let text = std::fs::read_to_string(place(root, &path))
            .map_err(|why| Error::File { path: path.clone(), why })?;
        let batch = Batch::from_text(&text).map_err(|what| Error::Batch { path: path.clone(), what })?;
        if let Some(first) = batches.first().filter(|first| first.call != batch.call) {
            let what = format!("this batch is of another option than batch {}", first.number);
            return Err(Error::Batch { path, what });
        }
        if batches.iter().any(|b| (b.seed, b.number) == (batch.seed, batch.number)) {
            let what = format!("batch {} is there twice", batch.number);
            return Err(Error::Batch { path, what });
        }
        batches.push(batch);
    }
    let report = report::Report::new(&batches)
        .ok_or_else(|| Error::Batch { path: parts.to_string(), what: "there are no batches".into() })?;
    report.check()?;
    write(root, "/out/price.json", &report.json())?;
    write(root, "/out/report.txt", &report.text(&batches))
}
