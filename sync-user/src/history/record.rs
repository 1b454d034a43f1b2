//! Packs what happened into few bytes.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::model::{Change, Gap, Kind, Reason, Refusal, Stamp, Step, TreePath};

/// One happening, in 48 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    path: u64,
    at: Stamp,
    /// A number, a latency in nanoseconds, or how many events were lost.
    number: u64,
    comm: [u8; 16],
    process: u32,
    code: Code,
}

/// What a record is of; the number says the rest.
#[derive(Debug, Clone, Copy)]
enum Code {
    Event(EventKind),
    Gap(Reason),
    Batched,
    Planned(StepKind),
    Applied(StepKind),
    Refused(StepKind, Refusal),
}

/// Stands for a latency that is not known.
const UNKNOWN: u64 = u64::MAX;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The kernel told of it, and who did it: 0 and nothing where that is not known.
    Event { kind: EventKind, process: u32, command: String },
    /// Changes may have gone unseen there, and it was looked at.
    Gap { reason: Reason, lost: u64 },
    /// A batch of a target was closed with it.
    Batched { number: u64 },
    /// A step was planned.
    Planned { step: StepKind },
    /// The target has acknowledged a step. The time since the change was seen, if there was one.
    Applied { step: StepKind, latency: Option<Duration> },
    /// The target has refused a step.
    Refused { step: StepKind, refusal: Refusal },
}

/// What an event says of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    Created,
    Writing,
    Written,
    Named,
    Attributes,
    Removed,
    MovedAway,
    MovedHere,
    MovedIn,
}

/// Steps by what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    MakeDirectory,
    PutFile,
    PutSymlink,
    Link,
    SetAttributes,
    SetDirectoryTime,
    RemoveFile,
    RemoveDirectory,
    Rename,
    Exchange,
}

pub(super) fn hash(path: &TreePath) -> u64 {
    xxh3_64(path.as_bytes())
}

impl Record {
    pub(super) fn event(path: &TreePath, kind: EventKind, change: &Change) -> Self {
        let Change { origin, seen, .. } = change;
        let code = Code::Event(kind);
        Self { path: hash(path), at: *seen, number: 0, comm: origin.comm, process: origin.tgid, code }
    }

    pub(super) fn gap(Gap { place, reason, lost, seen }: &Gap) -> Self {
        let code = Code::Gap(*reason);
        Self { path: hash(place), at: *seen, number: *lost, comm: [0; 16], process: 0, code }
    }

    /// Of what is not an event.
    pub(super) fn target(path: &TreePath, at: Stamp, what: &What) -> Self {
        let (number, code) = match *what {
            What::Batched { number } => (number, Code::Batched),
            What::Planned { step } => (0, Code::Planned(step)),
            What::Applied { step, latency } => {
                let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(UNKNOWN);
                (latency.map_or(UNKNOWN, nanoseconds), Code::Applied(step))
            }
            What::Refused { step, refusal } => (0, Code::Refused(step, refusal)),
            What::Gap { reason, lost } => (lost, Code::Gap(reason)),
            What::Event { kind, .. } => (0, Code::Event(kind)),
        };
        Self { path: hash(path), at, number, comm: [0; 16], process: 0, code }
    }

    pub(super) fn path(&self) -> u64 {
        self.path
    }

    pub(super) fn at(&self) -> Stamp {
        self.at
    }

    pub(super) fn what(&self) -> Option<What> {
        let number = self.number;
        Some(match self.code {
            Code::Event(kind) => {
                let name = self.comm.split(|byte| *byte == 0).next()?;
                let command = String::from_utf8_lossy(name).into_owned();
                What::Event { kind, process: self.process, command }
            }
            Code::Gap(reason) => What::Gap { reason, lost: number },
            Code::Batched => What::Batched { number },
            Code::Planned(step) => What::Planned { step },
            Code::Applied(step) => {
                let latency = (number != UNKNOWN).then(|| Duration::from_nanos(number));
                What::Applied { step, latency }
            }
            Code::Refused(step, refusal) => What::Refused { step, refusal },
        })
    }
}

impl What {
    /// Whether what happened to a directory may have changed what is below it.
    pub(super) fn reaches_below(&self) -> bool {
        match self {
            Self::Event { kind, .. } => matches!(
                kind,
                EventKind::Removed | EventKind::MovedAway | EventKind::MovedHere | EventKind::MovedIn
            ),
            Self::Gap { .. } => true,
            Self::Batched { .. } => false,
            Self::Planned { step } | Self::Applied { step, .. } | Self::Refused { step, .. } => {
                matches!(step, StepKind::Rename | StepKind::Exchange)
            }
        }
    }
}

impl EventKind {
    /// Of a move, what it is for the new name.
    pub(super) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Created => Self::Created,
            Kind::Writing => Self::Writing,
            Kind::Written => Self::Written,
            Kind::Named => Self::Named,
            Kind::Attributes => Self::Attributes,
            Kind::Removed => Self::Removed,
            Kind::Moved { .. } => Self::MovedHere,
            Kind::MovedIn => Self::MovedIn,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Writing => "writing",
            Self::Written => "written",
            Self::Named => "named",
            Self::Attributes => "attributes",
            Self::Removed => "removed",
            Self::MovedAway => "moved away",
            Self::MovedHere => "moved here",
            Self::MovedIn => "moved in",
        }
    }
}

impl StepKind {
    pub(super) fn of(step: &Step) -> Self {
        match step {
            Step::MakeDirectory { .. } => Self::MakeDirectory,
            Step::PutFile { .. } => Self::PutFile,
            Step::PutSymlink { .. } => Self::PutSymlink,
            Step::Link { .. } => Self::Link,
            Step::SetAttributes { .. } => Self::SetAttributes,
            Step::SetDirectoryTime { .. } => Self::SetDirectoryTime,
            Step::RemoveFile { .. } => Self::RemoveFile,
            Step::RemoveDirectory { .. } => Self::RemoveDirectory,
            Step::Rename { .. } => Self::Rename,
            Step::Exchange { .. } => Self::Exchange,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::MakeDirectory => "make the directory",
            Self::PutFile => "put the file",
            Self::PutSymlink => "put the symbolic link",
            Self::Link => "link it",
            Self::SetAttributes => "set its attributes",
            Self::SetDirectoryTime => "set the directory's time",
            Self::RemoveFile => "remove the file",
            Self::RemoveDirectory => "remove the directory",
            Self::Rename => "rename it",
            Self::Exchange => "exchange the names",
        }
    }
}
