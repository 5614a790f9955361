//! Who did what of a job, as a table.

use tidemill_net::wire::Contribution;

use crate::table::{Table, shorten};

/// Prints who did what, if anybody did anything.
pub fn print(contributions: &[Contribution], indent: &str) {
    if contributions.is_empty() {
        return;
    }
    let mut table = Table::new(&["provider ", "name ", "tasks", "busy", "lost", "checks", "wrong"]);
    for contribution in contributions {
        table.row(vec![
            contribution.node.short(),
            shorten(&contribution.name, 24),
            contribution.tasks.to_string(),
            format!("{:.1} s", contribution.busy.duration().as_secs_f64()),
            contribution.lost_attempts.to_string(),
            contribution.checks.to_string(),
            contribution.contradicted.to_string(),
        ]);
    }
    table.print(indent);
}
