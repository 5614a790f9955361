//! `tidemill bench`: measurements of this machine, for docs/benchmarks.md.

mod bank;
mod blobs;
mod dispatch;
mod exec;
mod infer;
mod kernels;
mod ledger;
mod noop;
mod placement;
mod settle;

/// Measure this machine.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Blobs(blobs::Args),
    Dispatch(dispatch::Args),
    Exec(exec::Args),
    Infer(infer::Args),
    Ledger(ledger::Args),
    Placement(placement::Args),
    Settle(settle::Args),
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<()> {
    match &args.what {
        What::Blobs(args) => blobs::run(args),
        What::Dispatch(args) => dispatch::run(args),
        What::Exec(args) => exec::run(args),
        What::Infer(args) => infer::run(args),
        What::Ledger(args) => ledger::run(args),
        What::Placement(args) => placement::run(args),
        What::Settle(args) => settle::run(args),
    }
}

/// The value that a share of sorted samples does not pass, by the nearest rank.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).or(sorted.last()).copied().unwrap_or(f64::NAN)
}

/// The value in the middle.
fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 0.5)
}

/// The geometric mean.
fn geometric_mean(values: &[f64]) -> f64 {
    (values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let sorted: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&sorted, 0.5), 50.0);
        assert_eq!(percentile(&sorted, 0.99), 99.0);
        assert_eq!(percentile(&sorted, 1.0), 100.0);
        assert_eq!(percentile(&[7.0], 0.5), 7.0);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert!((geometric_mean(&[2.0, 8.0]) - 4.0).abs() < 1e-12);
    }
}
