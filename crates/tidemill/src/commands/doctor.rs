//! `tidemill doctor`: what works on this machine, what does not, and how to mend it.
//!
//! The checks go from what everything else stands on (keys, disk, memory) to what stands on all of it (money), so that
//! the first fault is the one to mend first. They use the functions that the other commands work by: what the doctor
//! calls good is what they need.

mod bundle;
mod home;
mod money;
mod network;
mod system;
mod work;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use tidemill_api::{Check, Doctor, Grade};
use tidemill_types::lines;

use crate::{
    exit::{Code, Exit},
    home::cache_directory,
    json,
    ledger::{AccountArgs, LedgerArgs},
    network::Join,
    runtime,
};

/// Look at this machine and this home, and say of each part whether it works and how to mend it.
///
/// It runs a small program in the sandbox and a small model, sends a blob to itself, asks the network and the ledger that
/// are configured, and spends nothing. A missing home is made.
#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    join: Join,
    #[command(flatten)]
    ledger: LedgerArgs,
    #[command(flatten)]
    account: AccountArgs,
    /// Write what a bug report needs into this file: the findings, versions, limits, and the logs of this home, without
    /// keys, tickets and passwords
    #[arg(long, value_name = "FILE")]
    bundle: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
}

const HELP: &str = "Examples:
  tidemill doctor                         all that this home is configured for
  tidemill doctor --join lab.ticket       a network that is not configured, too
  tidemill doctor --bundle report.txt     also a file for a bug report; read it before you send it

Exit codes:
  0  all is well, or there are only notes
  1  something works worse than it could
  2  wrong usage
  4  something does not work";

/// Gathers findings. People see each when it is there, since some take seconds.
struct Findings {
    checks: Vec<Check>,
    json: bool,
}

impl Findings {
    fn add(&mut self, check: Check) {
        if !self.json {
            let mut stdout = io::stdout().lock();
            let _ = writeln!(stdout, "{}", lines(&told(&check)));
        }
        self.checks.push(check);
    }
}

/// A finding for people.
fn told(check: &Check) -> String {
    let Check { name, grade, found, mend } = check;
    let line = format!("{:<8} {name:<14} {found}", word(*grade));
    match mend {
        Some(mend) => format!("{line}\n{:>23} {mend}", "mend it:"),
        None => line,
    }
}

fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Skipped => "skipped",
        Grade::Good => "good",
        Grade::Note => "note",
        Grade::Warning => "warning",
        Grade::Fault => "FAULT",
    }
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut findings = Findings { checks: Vec::new(), json: args.json };
    home::look(&mut findings);
    system::look(&mut findings, cache_directory().ok().as_deref());
    work::look(&mut findings);
    runtime::block_on(async {
        network::look(&mut findings).await;
        let money = network::coordinator(&mut findings, args.join.join.as_deref()).await;
        money::look(&mut findings, &args.ledger, &args.account, money.as_ref()).await;
        Ok(())
    })?;
    let report = Doctor::of(env!("CARGO_PKG_VERSION"), findings.checks);
    if let Some(file) = &args.bundle {
        bundle::write(file, &report)?;
        if !args.json {
            println!("wrote {}; read it before you send it to anybody", file.display());
        }
    }
    if args.json {
        json::print(&report);
    }
    ending(&report)
}

/// The exit code of a report, with the sentence that goes with it.
fn ending(report: &Doctor) -> anyhow::Result<()> {
    let count = |grade| report.checks.iter().filter(|check| check.grade == grade).count();
    let (faults, warnings) = (count(Grade::Fault), count(Grade::Warning));
    let (code, first) = match report.worst {
        Grade::Fault => (Code::Host, Grade::Fault),
        Grade::Warning => (Code::Failed, Grade::Warning),
        _ => return Ok(()),
    };
    let message = format!("faults: {faults}, warnings: {warnings}");
    let first = report.checks.iter().find(|check| check.grade == first);
    let hint = first.map(|check| match &check.mend {
        Some(mend) => format!("begin with `{}`: {mend}", check.name),
        None => format!("begin with `{}`: {}", check.name, check.found),
    });
    Err(Exit::new(code, message).hint(hint.unwrap_or_default()).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::code_of;

    #[test]
    fn the_worst_finding_decides_the_exit_code() {
        let of = |grades: &[Grade]| {
            let checks = grades.iter().map(|grade| Check::new("a", *grade, "b")).collect();
            ending(&Doctor::of("1", checks)).map_err(|error| code_of(&error))
        };
        assert_eq!(of(&[Grade::Good, Grade::Note, Grade::Skipped]), Ok(()));
        assert_eq!(of(&[Grade::Warning, Grade::Good]), Err(Code::Failed));
        assert_eq!(of(&[Grade::Warning, Grade::Fault]), Err(Code::Host));
    }

    #[test]
    fn a_finding_says_how_to_mend_it() {
        let check = Check::new("disk", Grade::Fault, "it is full").mend("remove something");
        let told = told(&check);
        assert!(told.starts_with("FAULT    disk           it is full\n"), "{told}");
        assert!(told.ends_with("mend it: remove something"), "{told}");
    }
}
