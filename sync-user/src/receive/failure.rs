//! Says why a step was not done, in the words that the source acts on.

use rustix::io::Errno;

use crate::model::{Found, PathError, Refusal};

/// Why a step was refused; what the path named before is untouched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    pub refusal: Refusal,
    pub detail: String,
    /// What is there where the step expects something else.
    pub found: Option<Found>,
}

/// Why a root cannot be received into.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct OpenError {
    pub what: String,
    pub remedy: String,
}

impl Failure {
    pub fn new(refusal: Refusal, detail: impl Into<String>) -> Self {
        Self { refusal, detail: detail.into(), found: None }
    }

    pub(super) fn unexpected(detail: impl Into<String>) -> Self {
        Self::new(Refusal::Unexpected, detail)
    }

    /// The failure of the system call behind `doing`.
    pub(super) fn of(doing: &str, error: Errno) -> Self {
        let refusal = match error {
            Errno::NOSPC | Errno::DQUOT => Refusal::Full,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Refusal::Forbidden,
            _ => Refusal::Failed,
        };
        Self::new(refusal, format!("{doing}: {error}"))
    }
}

impl From<PathError> for Failure {
    fn from(error: PathError) -> Self {
        Self::new(Refusal::Forbidden, format!("the path is not one inside the root: {error}"))
    }
}
