//! Defines what may be asked, and how large a question and an answer may be.

use serde::{Deserialize, Serialize};

use super::deletes::Deletes;

/// Bytes of a request, with its line end.
pub(super) const REQUEST_MAX: usize = 8 << 10;

/// Bytes of an answer, with its line end.
pub(super) const ANSWER_MAX: usize = 4 << 20;

/// One question to a running daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How it goes, with each target: [`Status`](super::Status).
    Status {},
    /// How long changes take: [`Report`](crate::metrics::Report).
    Latency {
        /// Only of this target, by its name or a part of it.
        #[serde(default)]
        target: Option<String>,
    },
    /// When all targets have acknowledged what was captured by now: [`Waited`](super::Waited).
    Wait {
        /// Only what concerns this path: absolute, or below the source.
        #[serde(default)]
        path: Option<String>,
        /// `None` waits for as long as it takes.
        #[serde(default)]
        timeout_seconds: Option<f64>,
    },
    /// Whether a path is left out, and by which rule: [`Explained`](super::Explained).
    ExplainExclude {
        /// Absolute, or below the source; a slash at its end says that it is a directory.
        path: String,
    },
    /// What happened to a path, and how it is at each target: [`Why`](super::Why).
    Why {
        /// Absolute, or below the source; a slash at its end says that it is a directory.
        path: String,
    },
    /// Whether all targets hold what the source does, by the hash of every content: lines of
    /// [`Verifying`](super::Verifying), of which the last is its end.
    Verify {
        /// Only this path and what is below it: absolute, or below the source.
        #[serde(default)]
        path: Option<String>,
        /// Send again what differs.
        #[serde(default)]
        repair: bool,
    },
    /// Which removals are held, or what becomes of them: a [`HeldTarget`](super::HeldTarget) for each target.
    Deletes {
        work: Deletes,
        /// Only at this target, by its name or a part of it.
        #[serde(default)]
        target: Option<String>,
    },
    /// Read the settings again, for all syncs of the process: [`Reloaded`](super::Reloaded).
    Reload {},
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply<T> {
    Answer(T),
    Error(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_object_and_nothing_else() {
        let request: Request = serde_json::from_str(r#"{"request":"status"}"#).unwrap();
        assert_eq!(request, Request::Status {});
        for text in ["", "{}", "[]", r#"{"request":"stats"}"#, r#"{"request":"status","more":1}"#] {
            assert!(serde_json::from_str::<Request>(text).is_err(), "{text}");
        }
    }
}
