//! Says of a step what it concerns, and what has come of it, for the daemon of the same root.

use super::Root;
use crate::model::{Content, Mode, Version};
use crate::wire::{Arrived, Step};

/// What is told of a step.
#[derive(Debug)]
pub(super) enum Told {
    Put { path: Vec<u8>, content: Option<Content>, mode: Option<Mode> },
    Attributes { path: Vec<u8> },
    Link { path: Vec<u8>, to: Vec<u8> },
    Removed { path: Vec<u8> },
    Renamed { from: Vec<u8>, to: Vec<u8>, version: Version },
    Exchanged { one: Vec<u8>, other: Vec<u8>, versions: (Version, Version) },
}

impl Told {
    pub(super) fn of(step: &Step) -> Self {
        match step {
            Step::MakeDirectory { path, attributes, .. } | Step::PutFile { path, attributes, .. } => {
                Self::Put { path: path.clone(), content: None, mode: Some(attributes.mode) }
            }
            Step::PutSymlink { path, destination, .. } => {
                Self::Put { path: path.clone(), content: Some(Content::of(destination)), mode: None }
            }
            Step::Link { path, to, .. } => Self::Link { path: path.clone(), to: to.clone() },
            Step::SetAttributes { path, .. } | Step::SetDirectoryTime { path, .. } => {
                Self::Attributes { path: path.clone() }
            }
            Step::RemoveFile { path, .. } | Step::RemoveDirectory { path } => {
                Self::Removed { path: path.clone() }
            }
            Step::Rename { from, to, expects, .. } => {
                Self::Renamed { from: from.clone(), to: to.clone(), version: *expects }
            }
            Step::Exchange { one, other, expects_one, expects_other } => Self::Exchanged {
                one: one.clone(),
                other: other.clone(),
                versions: (*expects_one, *expects_other),
            },
        }
    }

    pub(super) fn paths(&self) -> Vec<&[u8]> {
        match self {
            Self::Put { path, .. } | Self::Attributes { path } | Self::Removed { path } => vec![path],
            Self::Link { path, to } => vec![path, to],
            Self::Renamed { from: one, to: other, .. } | Self::Exchanged { one, other, .. } => {
                vec![one, other]
            }
        }
    }

    /// What has come of it; `None` where that cannot be seen.
    pub(super) fn arrived(self, root: &Root) -> Option<Arrived> {
        Some(match self {
            Self::Put { path, content, mode } => {
                let version = root.version_of(&path)?;
                // The source has this mode, whatever is there.
                let version = Version { mode: mode.unwrap_or(version.mode), ..version };
                Arrived::Put { version, path, content }
            }
            Self::Attributes { path } => Arrived::Attributes { version: root.version_of(&path)?, path },
            Self::Link { path, to } => Arrived::Link { version: root.version_of(&path)?, path, to },
            Self::Removed { path } => Arrived::Removed { path },
            Self::Renamed { from, to, version } => Arrived::Renamed { from, to, version },
            Self::Exchanged { one, other, versions } => Arrived::Exchanged { one, other, versions },
        })
    }
}
