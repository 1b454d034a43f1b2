//! Says why a step was not done, or why nothing more can be done over this connection.

use super::packet::Status;
use crate::model::{Found, Lack, Met, Outcome, PathError, Refusal, There, TreePath};

/// A step that was applied.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) lacks: Vec<Lack>,
    pub(super) met: Met,
}

impl Done {
    pub(super) fn all(met: Met) -> Self {
        Self { lacks: Vec::new(), met }
    }
}

/// Why a step was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// What the path named before is untouched.
    Refused { refusal: Refusal, detail: String, found: Option<Found> },
    /// What is known of the target is in doubt: the connection ends, and the next one compares.
    Ends(String),
}

impl Failure {
    pub(super) fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self::Refused { refusal, detail: detail.into(), found: None }
    }

    pub(super) fn unexpected(detail: impl Into<String>) -> Self {
        Self::new(Refusal::Unexpected, detail)
    }

    /// Something else is at `path` than a step expects.
    pub(super) fn found(path: &TreePath, there: There, detail: &str) -> Self {
        let found = Some(Found { path: path.as_bytes().to_vec(), there });
        Self::Refused { refusal: Refusal::Unexpected, detail: detail.to_owned(), found }
    }

    /// The server's answer to `doing`. Most failures look alike: SFTP tells no more of them.
    pub(super) fn of(doing: &str, status: &Status) -> Self {
        let refusal = if status.code == Status::DENIED { Refusal::Forbidden } else { Refusal::Failed };
        Self::new(refusal, format!("{doing}: {}", cause(status)))
    }
}

/// Why a step was not applied whose path is none.
impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::new(Refusal::Forbidden, format!("the path is not one inside the root: {error}"))
    }
}

/// What a server says of a request that failed.
pub(super) fn cause(status: &Status) -> String {
    let Status { code, message } = status;
    if message.is_empty() { format!("SFTP status {code}") } else { message.clone() }
}

/// The receipt's words; an error ends the connection.
pub(super) fn outcome(result: Result<Done, Failure>) -> Result<Outcome, String> {
    match result {
        Ok(Done { lacks, met }) => Ok(Outcome::Applied { lacks, met }),
        Err(Failure::Refused { refusal, detail, found }) => Ok(Outcome::Refused { refusal, detail, found }),
        Err(Failure::Ends(what)) => Err(what),
    }
}
