//! An ensemble forecast with a shallow-water model.
//!
//! `member` runs one forecast from a slightly different start; `draw` takes all members and makes
//! mean and spread of them, a picture and a summary, and checks that no member lost mass.

pub mod canvas;
pub mod chart;
pub mod ensemble;
pub mod error;
pub mod font;
pub mod grid;
pub mod kernels;
pub mod member;
pub mod model;
pub mod start;

use std::path::{Path, PathBuf};

use ensemble::Ensemble;
pub use error::Error;
use grid::Shape;
use member::Member;
use model::Model;

const USAGE: &str = "usage:
  weather member --member N [--seed N] [--nx N] [--ny N] [--hours X | --steps N] [--strength METRES]
  weather draw --parts DIR";

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

    fn whole(&self, flag: &str, low: u32, high: u32) -> Result<Option<u32>, Error> {
        let Some(text) = self.text(flag) else { return Ok(None) };
        match text.parse::<u32>() {
            Ok(n) if (low..=high).contains(&n) => Ok(Some(n)),
            _ => Err(Error::Usage(format!(
                "{flag} must be a whole number from {low} to {high}, not \"{text}\""
            ))),
        }
    }

    fn real(&self, flag: &str, low: f64, high: f64) -> Result<Option<f64>, Error> {
        let Some(text) = self.text(flag) else { return Ok(None) };
        match text.parse::<f64>() {
            Ok(x) if x >= low && x <= high => Ok(Some(x)),
            _ => Err(Error::Usage(format!("{flag} must be a number from {low} to {high}, not \"{text}\""))),
        }
    }
}

/// The place of a guest path below `root`.
fn place(root: &Path, guest: &str) -> PathBuf {
    root.join(guest.trim_start_matches('/'))
}

fn write(root: &Path, guest: &str, bytes: &[u8]) -> Result<(), Error> {
    std::fs::write(place(root, guest), bytes).map_err(|why| Error::File { path: guest.into(), why })
}

/// Runs the program with the arguments after its name; guest paths are taken below `root`.
pub fn run(args: &[String], root: &Path) -> Result<(), Error> {
    let Some((command, rest)) = args.split_first() else { return Err(Error::Usage(USAGE.into())) };
    match command.as_str() {
        "member" => {
            let known = ["--member", "--seed", "--nx", "--ny", "--hours", "--steps", "--strength"];
            let forecast = forecast(&Flags::new(rest, &known)?)?;
            write(root, "/out/member.bin", &forecast.to_bytes())
        }
        "draw" => draw(&Flags::new(rest, &["--parts"])?, root),
        other => Err(Error::Usage(format!("unknown command \"{other}\"\n{USAGE}"))),
    }
}

fn forecast(flags: &Flags<'_>) -> Result<Member, Error> {
    let number = flags.whole("--member", 0, u32::MAX)?;
    let number = number.ok_or_else(|| Error::Usage(format!("--member is missing\n{USAGE}")))?;
    let seed = flags.whole("--seed", 0, u32::MAX)?.unwrap_or(1);
    let nx = flags.whole("--nx", 16, 4096)?.unwrap_or(256);
    let ny = flags.whole("--ny", 16, 4096)?.unwrap_or(nx.div_ceil(2));
    let hours = flags.real("--hours", 0.0, 10_000.0)?.unwrap_or(144.0);
    let strength = flags.real("--strength", 0.0, 100.0)?.unwrap_or(4.0);
    let shape = Shape { nx: nx as usize, ny: ny as usize };
    let longest = start::longest_step(shape);
    let (steps, step) = match flags.whole("--steps", 1, 100_000_000)? {
        Some(steps) => (steps, longest),
        None => {
            // The hours asked for, in whole steps.
            let steps = (hours * 3600.0 / longest).ceil().max(1.0);
            (steps as u32, hours * 3600.0 / steps)
        }
    };
    let physics = start::physics(shape, step);
    let state = start::state(shape, &physics, u64::from(seed), u64::from(number), strength);
    let mut model = Model::new(shape, physics, state);
    let before = model.totals();
    let mut drift = 0.0f64;
    let mut after = before;
    for i in 1..=steps {
        model.step();
        if i % 500 == 0 || i == steps {
            if !model.sound() {
                return Err(Error::Forecast(format!(
                    "member {number} became unstable before step {i} of {steps}"
                )));
            }
            after = model.totals();
            drift = drift.max((after.mass / before.mass - 1.0).abs());
        }
    }
    let (depth, vorticity) = (model.depth(), model.vorticity());
    Ok(Member { shape, number, steps, step, before, after, drift, strength, depth, vorticity })
}

fn draw(flags: &Flags<'_>, root: &Path) -> Result<(), Error> {
    let parts = flags.text("--parts").ok_or_else(|| Error::Usage(format!("--parts is missing\n{USAGE}")))?;
    let fail = |why| Error::File { path: parts.to_string(), why };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(place(root, parts)).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut members = Vec::new();
    for name in names {
        let path = format!("{}/{name}/member.bin", parts.trim_end_matches('/'));
        let bytes =
            std::fs::read(place(root, &path)).map_err(|why| Error::File { path: path.clone(), why })?;
        members.push(Member::from_bytes(&bytes).map_err(|e| Error::Member(format!("{path}: {e}")))?);
    }
    let ensemble = Ensemble::new(members)?;
    ensemble.check()?;
    write(root, "/out/weather.png", &chart::draw(&ensemble).png()?)?;
    write(root, "/out/summary.txt", ensemble.summary().as_bytes())
}
