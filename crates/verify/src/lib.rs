//! Credibility, checks and verdicts: which results can be relied on.
//!
//! Nothing here knows a clock, randomness or I/O. A [`Record`] holds what is known of one operator's results of one
//! kind on one class of hardware. The [`Model`] says from it how likely a result is wrong, how often results must be
//! checked so that a job's [`Assurance`] holds, and what several results of one task come to ([`judge`]). A [`Course`]
//! says of one task what is to be done next; [`Turns`] are results that wait for checks of earlier ones, [`Checks`] are
//! tasks that others are to be asked too, [`KnownAnswers`] those that somebody may be tried with. docs/verification.md derives the formulas and states what they assume.

mod checks;
mod course;
mod known;
mod model;
mod record;
mod stake;
#[cfg(test)]
mod tests;
mod turns;
mod verdict;

pub use checks::Checks;
pub use course::{Course, Next, is_chosen};
pub use known::KnownAnswers;
pub use model::{Model, ModelError, Rates};
pub use record::{Evidence, Record};
pub use stake::{SlashOdds, SlashOddsError, Stake};
pub use tidemill_types::{Assurance, AssuranceError};
pub use turns::Turns;
pub use verdict::{Opinion, Verdict, Witness, judge, likeliest, odds_of_agreement, strangers_to_agree};
