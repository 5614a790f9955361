//! Who did what of a job, as a table.

use tidemill_net::wire::Contribution;

use crate::table::{Table, shorten};

/// The head of a column of results that have no verdict, which stands only where there are some.
pub const UNJUDGED: &str = "no verdict";

/// Prints who did what, if anybody did anything.
pub fn print(contributions: &[Contribution], indent: &str) {
    if contributions.is_empty() {
        return;
    }
    let mut heads = vec!["provider ", "name ", "tasks", "busy", "lost", "checks", "wrong"];
    let is_any_unjudged = contributions.iter().any(|contribution| contribution.unjudged.results > 0);
    heads.extend(is_any_unjudged.then_some(UNJUDGED));
    let mut table = Table::new(&heads);
    for contribution in contributions {
        let mut cells = vec![
            contribution.node.short(),
            shorten(&contribution.name, 24),
            contribution.tasks.to_string(),
            format!("{:.1} s", contribution.busy.duration().as_secs_f64()),
            contribution.lost_attempts.to_string(),
            contribution.checks.to_string(),
            contribution.contradicted.to_string(),
        ];
        cells.extend(is_any_unjudged.then(|| contribution.unjudged.results.to_string()));
        table.row(cells);
    }
    table.print(indent);
}
