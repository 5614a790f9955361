//! Why there is no [`super::JobSpec`].

use tidemill_types::{BlobId, GuestPath, LimitError, Stage, ToleranceError};

/// What is wrong with a job that came from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JobSpecError {
    /// Its encoding is of a format that this program does not know.
    #[error("the job is of format {found}, and this program knows format {known}; one of the two is older")]
    Format {
        /// The format.
        found: u8,
        /// The format that is known.
        known: u8,
    },
    /// The bytes are no encoding of a job, or not its only one.
    #[error("the encoding of the job is malformed")]
    Malformed,
    /// A number is out of bounds.
    #[error("{what}: {found}, and from {least} to {most} is allowed")]
    Bound {
        /// What is counted or measured.
        what: &'static str,
        /// What was found.
        found: u64,
        /// The least that is allowed.
        least: u64,
        /// The most that is allowed.
        most: u64,
    },
    /// A limit cannot be enforced.
    #[error("a limit of the {stage} is out of bounds")]
    Limit {
        /// Whose limit it is.
        stage: Stage,
        /// The limit.
        #[source]
        source: LimitError,
    },
    /// A text cannot be a name.
    #[error("\"{name}\" cannot be the name of {what}")]
    Name {
        /// What would have the name.
        what: &'static str,
        /// The text, shortened.
        name: String,
    },
    /// Names are not sorted, or one of them occurs twice.
    #[error("the names of {what} are out of order at \"{name}\"")]
    Order {
        /// What has the names.
        what: &'static str,
        /// The name that should not be where it is, shortened.
        name: String,
    },
    /// A text has a placeholder that is not allowed where it stands, a single brace or a NUL character.
    #[error("{what} is not a text with the placeholders that the {stage} has: \"{text}\"")]
    Template {
        /// Whose text it is.
        stage: Stage,
        /// Which text.
        what: &'static str,
        /// The text, shortened.
        text: String,
    },
    /// An input cannot be where it should.
    #[error("an input of the {stage} cannot be at {path}: {why}")]
    Input {
        /// Whose input it is.
        stage: Stage,
        /// Where it should be.
        path: GuestPath,
        /// Why it cannot be there.
        why: &'static str,
    },
    /// A piece of a file is not where it should be.
    #[error("a piece of {path} {why}")]
    Piece {
        /// Where the file is, seen from the job file.
        path: GuestPath,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Outputs cannot be compared like this.
    #[error("the outputs cannot be compared")]
    Tolerance(#[source] ToleranceError),
    /// A blob, or a piece of one, is said to be of two lengths.
    #[error("the blob {id} is said to have two lengths")]
    Lengths {
        /// The blob.
        id: BlobId,
    },
}

/// Why a plan could not be sealed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SealError<E> {
    /// A content could not be hashed: what the caller said.
    #[error("{0}")]
    Content(E),
    /// A content does not have the length that the plan knows.
    #[error("an input that had {expected} bytes when the job was read has {found} now")]
    Length {
        /// The length in the plan.
        expected: u64,
        /// The length of its blob.
        found: u64,
    },
    /// The job is larger than what may be sent.
    #[error("the job cannot be sent")]
    Spec(#[source] JobSpecError),
}
