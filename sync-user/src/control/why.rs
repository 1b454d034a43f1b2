//! Tells why a path is as it is at each target: what happened to it, and what is known of it.

use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::explain::explain;
use super::sentence::sentence;
use super::wait::below;
use super::watched::Watched;
use crate::clock;
use crate::daemon::Knowledge;
use crate::history::{Happening, StepKind, What};
use crate::ledger::{Held, Known};
use crate::metrics::Connection;
use crate::model::{Entry, FileKind, Stamp, TreePath, Version};
use crate::tree::Seen;

/// Happenings that are told: the last ones.
const TOLD_MAX: usize = 500;

/// How long a replica may take to tell: it may be planning a large batch.
const PATIENCE: Duration = Duration::from_secs(3);

/// What there is to tell of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Below the root; bytes that are not UTF-8 are escaped.
    pub path: String,
    /// How it is, in plain words.
    pub sentence: String,
    /// What is there at the source.
    pub source: String,
    pub is_at_source: bool,
    /// The rule that leaves it out, and the directory above that it matches.
    pub left_out: Option<LeftOut>,
    /// In the order in which it happened, as far as that is remembered: the last of them.
    pub happenings: Vec<WhyHappening>,
    pub targets: Vec<WhyTarget>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    pub rule: String,
    pub above: Option<String>,
}

/// Something that happened to the path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyHappening {
    /// RFC 3339, by the daemon's clock.
    pub time: String,
    /// `event`, `gap`, `batch`, `step`, `receipt` or `refusal`.
    pub kind: String,
    pub what: String,
    /// The directory above that it happened to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The number of the target's batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<u64>,
    /// From the event to the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<f64>,
}

/// How the path is at one target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WhyTarget {
    pub name: String,
    pub state: WhyState,
    /// Why it is so, where there is more to say.
    pub detail: Option<String>,
    /// Since when, as RFC 3339; `None` when that is longer ago than is remembered, or not known.
    pub since: Option<String>,
    /// What the target is known to hold.
    pub ledger: String,
    /// How often in a row it failed.
    pub failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhyState {
    /// The target has what the source has.
    Current,
    /// Neither has it.
    Gone,
    /// It is on its way, or will be.
    Waiting,
    /// It is not what the source has, and nothing is on its way.
    Different,
    /// The replica does not tell.
    Unknown,
}

/// What there is to tell of the path that `text` names.
pub(super) fn why(watched: &Watched, text: &str) -> Result<Why, String> {
    let source = Path::new(&watched.source);
    let path = below(source, text)?;
    let tree = watched.gauges.inquiry.tree().ok_or("it is starting")?;
    let explained = explain(source, &watched.excludes, &path, text.ends_with('/'));
    let left_out = explained.rule.filter(|_| explained.left_out);
    let left_out = left_out.map(|rule| LeftOut { rule, above: explained.above });
    let (seen, history, now) = (tree.look(&path), watched.gauges.history.of(&path), Now::take());
    let targets = watched.gauges.targets.iter().enumerate().map(|(index, target)| {
        let knowledge = watched.gauges.inquiry.knowledge(index, &path, PATIENCE);
        let snapshot = target.snapshot(now.stamp);
        let problem = snapshot.problems.iter().find(|(at, _)| *at == path);
        let judged = Judged {
            seen: &seen,
            history: &history,
            target: index,
            has_lag: snapshot.lag_changes > 0,
            problem: problem.map(|(_, trouble)| trouble.what.as_str()),
            connection: snapshot.connection,
        };
        judged.judge(snapshot.name.clone(), knowledge.as_ref(), now)
    });
    let mut why = Why {
        path: path.to_string(),
        sentence: String::new(),
        source: at_source(&seen),
        is_at_source: matches!(seen, Seen::Present(_)),
        left_out,
        targets: targets.collect(),
        happenings: Vec::new(),
    };
    let first = history.len().saturating_sub(TOLD_MAX);
    why.happenings = history[first..].iter().map(|happening| told(happening, watched, now)).collect();
    why.sentence = sentence(&why);
    Ok(why)
}

/// What a target's state follows from.
struct Judged<'a> {
    seen: &'a Seen,
    history: &'a [Happening],
    target: usize,
    /// Whether changes are on their way to it.
    has_lag: bool,
    problem: Option<&'a str>,
    connection: Connection,
}

impl Judged<'_> {
    fn judge(&self, name: String, knowledge: Option<&Knowledge>, now: Now) -> WhyTarget {
        let Some(knowledge) = knowledge else {
            let detail = match self.connection {
                Connection::GivenUp => "it was given up",
                _ => "it is being connected or compared: ask again in a moment",
            };
            let (state, ledger) = (WhyState::Unknown, "not known".to_owned());
            let detail = Some(detail.to_owned());
            return WhyTarget { name, state, detail, since: None, ledger, failures: 0 };
        };
        let (state, detail) = self.state(knowledge);
        let settled = matches!(state, WhyState::Current | WhyState::Gone);
        let since = self.last(|what| matches!(what, What::Applied { .. })).filter(|_| settled);
        let since = since.map(|at| now.moment(at));
        WhyTarget { name, state, detail, since, ledger: held(knowledge.ledger), failures: knowledge.failures }
    }

    fn state(&self, knowledge: &Knowledge) -> (WhyState, Option<String>) {
        let problem = || self.problem.map(|what| format!("it cannot {what}"));
        if let Some(due) = knowledge.put_off {
            let again = format!("looked at again in {:.1} s", due.as_secs_f64());
            let why =
                problem().map_or_else(|| format!("it is {again}"), |problem| format!("{problem}; {again}"));
            return (WhyState::Waiting, Some(why));
        }
        if knowledge.is_held {
            let why = "it was removed with many others, and that is held until a person decides: ksyncd deletes list";
            return (WhyState::Different, Some(why.to_owned()));
        }
        if knowledge.on_its_way {
            return (WhyState::Waiting, Some("a step is on its way".to_owned()));
        }
        let event = self.history.iter().rfind(|happening| happening.target.is_none()).map(|event| event.at);
        if self.has_lag && event > self.last(|what| matches!(what, What::Batched { .. })) {
            return (WhyState::Waiting, Some("it has changed, and is in no batch yet".to_owned()));
        }
        match (self.seen, knowledge.ledger) {
            (Seen::Present(entry), Some(Known::Holds(held))) if is_same(entry, &held) => {
                (WhyState::Current, None)
            }
            (Seen::Absent | Seen::Special, None) => (WhyState::Gone, None),
            (Seen::Ignored, _) => (WhyState::Different, Some("it is not replicated".to_owned())),
            (Seen::Unreadable(cause), _) => {
                (WhyState::Different, Some(format!("it cannot be read at the source: {cause}")))
            }
            (_, Some(Known::Unsure)) => {
                let why = "what the target has is not known since a connection was lost".to_owned();
                (WhyState::Different, problem().or(Some(why)))
            }
            (Seen::Present(_), _) => {
                let why = "no change was seen that would send it; ksyncd verify --repair does".to_owned();
                (WhyState::Different, problem().or(Some(why)))
            }
            (Seen::Absent | Seen::Special, _) => {
                (WhyState::Different, problem().or(Some("the target still has it".to_owned())))
            }
        }
    }

    /// When the last such thing happened at this target.
    fn last(&self, is_such: impl Fn(&What) -> bool) -> Option<Stamp> {
        let mut mine = self.history.iter().filter(|happening| happening.target == Some(self.target));
        mine.rfind(|happening| is_such(&happening.what)).map(|happening| happening.at)
    }
}

/// Whether the ledger says that the target has what is at the source.
fn is_same(entry: &Entry, held: &Held) -> bool {
    let is_directory = entry.version.kind == FileKind::Directory;
    let size = if is_directory { entry.version.size } else { held.version.size };
    // A link's size is that of its destination.
    entry.version == Version { size, ..held.version }
}

fn at_source(seen: &Seen) -> String {
    match seen {
        Seen::Present(entry) => described(&entry.version),
        Seen::Absent => "nothing".to_owned(),
        Seen::Special => "a fifo, socket or device".to_owned(),
        Seen::Ignored => "left out, or on another file system".to_owned(),
        Seen::Unreadable(cause) => format!("unreadable: {cause}"),
    }
}

fn held(known: Option<Known>) -> String {
    match known {
        None => "nothing of ours".to_owned(),
        Some(Known::Unsure) => "unsure".to_owned(),
        Some(Known::Holds(held)) => described(&held.version),
    }
}

fn described(version: &Version) -> String {
    match version.kind {
        FileKind::File => format!("a file of {} bytes, mode {:04o}", version.size, version.mode.0),
        FileKind::Directory => format!("a directory, mode {:04o}", version.mode.0),
        FileKind::Symlink => "a symbolic link".to_owned(),
    }
}

fn told(happening: &Happening, watched: &Watched, now: Now) -> WhyHappening {
    let Happening { at, target, above, what } = happening;
    let name = |step: &StepKind| step.name().to_owned();
    let (mut process, mut command, mut batch, mut latency_seconds) = (None, None, None, None);
    let (kind, what) = match what {
        What::Event { kind, process: tgid, command: comm } => {
            process = (*tgid > 0).then_some(*tgid);
            command = (!comm.is_empty()).then(|| comm.clone());
            ("event", kind.name().to_owned())
        }
        What::Gap { reason, lost } => ("gap", format!("{lost} events lost, because {reason}")),
        What::Batched { number } => {
            batch = Some(*number);
            ("batch", format!("in batch {number}"))
        }
        What::Planned { step } => ("step", name(step)),
        What::Applied { step, latency } => {
            latency_seconds = latency.map(|latency| latency.as_secs_f64());
            ("receipt", name(step))
        }
        What::Refused { step, refusal } => ("refusal", format!("{}: {refusal:?}", name(step))),
    };
    WhyHappening {
        time: now.moment(*at),
        kind: kind.to_owned(),
        what,
        above: above.as_ref().map(TreePath::to_string),
        target: target.and_then(|target| watched.targets.get(target).cloned()),
        process,
        command,
        batch,
        latency_seconds,
    }
}

/// When it was asked, on both clocks at once: so one event has one time wherever it is told, however
/// long the answer takes.
#[derive(Debug, Clone, Copy)]
struct Now {
    stamp: Stamp,
    since_1970: Duration,
}

impl Now {
    fn take() -> Self {
        Self { stamp: clock::now(), since_1970: clock::since_1970() }
    }

    /// A moment on the clock of people.
    fn moment(self, at: Stamp) -> String {
        let since_1970 = self.since_1970.saturating_sub(self.stamp.since(at));
        humantime::format_rfc3339_millis(UNIX_EPOCH + since_1970).to_string()
    }
}
