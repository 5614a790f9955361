//! Why a coordinator does not do what a requester asks for.

use serde::{Deserialize, Serialize};

/// Why a call was not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// There is no such job, or it is another's.
    #[error("there is no such job")]
    NoSuchJob,
    /// There is no such task in the job, or nothing is known of it yet.
    #[error(
        "there is no such task, or no result of it has been accepted: it has not run, or waits for a verdict, or its job ended without one"
    )]
    NoSuchTask,
    /// The job has not ended.
    #[error("the job has not ended")]
    NotEnded,
    /// Another job has this id.
    #[error("another job has this id")]
    IdTaken,
    /// The job is none that can be run.
    #[error("the job is refused: {reason}")]
    BadJob {
        /// What is wrong with it.
        reason: String,
    },
    /// A program or input could not be had from the requester.
    #[error("a program or input could not be fetched: {reason}")]
    Fetch {
        /// What went wrong.
        reason: String,
    },
    /// The answer does not fit into a message.
    #[error("{reason}")]
    TooLong {
        /// What to do about it.
        reason: String,
    },
    /// The coordinator has too much to do, or no room.
    #[error("the coordinator cannot take it: {reason}")]
    Busy {
        /// What it lacks.
        reason: String,
    },
    /// Nothing pays for it, or not this node's money.
    #[error("it is not paid for: {reason}")]
    Unpaid {
        /// What is wrong.
        reason: String,
    },
    /// As much is kept for this requester as the coordinator keeps for one.
    #[error("the coordinator keeps no more for you: {reason}")]
    OverBudget {
        /// How much that is, and the ways out.
        reason: String,
    },
    /// The ledger does not show the money yet, or cannot be asked.
    #[error("the coordinator does not see the money yet: {reason}")]
    NotSeen {
        /// What it sees.
        reason: String,
    },
    /// The coordinator knows no such escrow of this node's.
    #[error("the coordinator knows no such escrow of yours")]
    NoSuchEscrow,
    /// It is for the coordinator's operator alone.
    #[error("only the home that runs the coordinator may see the jobs of all requesters")]
    NotOperator,
}

impl Refusal {
    /// Whether the same call may be answered otherwise later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Fetch { .. } | Self::NotSeen { .. })
    }
}
