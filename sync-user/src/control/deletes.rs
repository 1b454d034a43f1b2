//! Tells which removals are held, and passes on what a person decides about them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::watched::Watched;
use crate::daemon::{Decision, HeldRemovals};
use crate::metrics::meant;

/// How long a replica may take to tell: it may be planning a large batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of paths in one answer, which has a limit.
const PATHS_BYTES_MAX: usize = 1 << 20;

/// What is to become of removals that are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deletes {
    /// Only tell of them.
    List,
    /// Make them now.
    Approve,
    /// Leave the paths to the target: they are not ours any more.
    Reject,
}

/// Removals that are held at one target; as they were, if something was decided about them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeldTarget {
    pub target: String,
    pub held: u64,
    /// How many paths the target is known to hold.
    pub of: u64,
    /// For how long any are held.
    pub held_seconds: f64,
    /// The paths; a directory stands for all that is below it.
    pub paths: Vec<HeldPath>,
    /// How many more there are, without name.
    pub more: u64,
}

/// A path whose removal is held, and how many there are at it and below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldPath {
    /// Below the root; bytes that are not UTF-8 are escaped.
    pub path: String,
    pub count: u64,
}

/// Does so at all targets, or at the one that is called `target`.
pub(super) fn deletes(
    watched: &Watched,
    work: Deletes,
    target: Option<&str>,
) -> Result<Vec<HeldTarget>, String> {
    let only = target.map(|target| meant(&watched.targets, target)).transpose()?;
    let decision = match work {
        Deletes::List => Decision::Pending,
        Deletes::Approve => Decision::Approved,
        Deletes::Reject => Decision::Rejected,
    };
    let mut room = PATHS_BYTES_MAX;
    let mut all = Vec::new();
    for (index, name) in watched.targets.iter().enumerate() {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let held = watched.gauges.inquiry.decide(index, decision, PATIENCE).ok_or_else(|| {
            format!("ask for the removals held at {name}: it is being connected or compared, or was given up; ask again in a moment")
        })?;
        all.push(told(name.clone(), held, &mut room));
    }
    Ok(all)
}

fn told(target: String, held: HeldRemovals, room: &mut usize) -> HeldTarget {
    let HeldRemovals { count, of, since, named, more } = held;
    let named_count = named.len();
    let mut paths = Vec::new();
    for (path, count) in named {
        let path = path.to_string();
        let Some(left) = room.checked_sub(path.len()) else { break };
        *room = left;
        paths.push(HeldPath { path, count: count as u64 });
    }
    let more = more + named_count - paths.len();
    let held_seconds = since.as_secs_f64();
    HeldTarget { target, held: count as u64, of: of as u64, held_seconds, paths, more: more as u64 }
}
