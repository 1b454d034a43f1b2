//! Compares what was seen at the source with what the ledger says of the target.

use std::collections::BTreeMap;

use super::Planned;
use crate::ledger::{Held, Known, Ledger};
use crate::model::{Content, Entry, FileKind, Step, TreePath, Version};

/// What was seen at one path of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub state: State,
    /// What reading the content gave, where that was worthwhile ([`worth_hashing`]).
    pub content: Option<Hashed>,
    /// Whether a change says that the content may differ although size and times do not.
    pub asked: bool,
}

/// Content that was read at the source to compare it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    pub content: Content,
    /// See [`Held::settled`].
    pub settled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Present(Entry),
    Absent,
    /// It could not be read, or is not replicated: whatever the target has there stays (I3).
    Unknown,
}

/// Whether a file's content has to be hashed to know if the target's is equal.
///
/// `asked` is whether a change says that content may differ. Sizes that differ prove that
/// content does. Equal sizes with equal times prove that it does not, unless the file was
/// written in the same clock tick in which it was last read, or through a memory map. Equal
/// sizes with other times are worth a read here when that may save sending all of it.
pub fn worth_hashing(entry: &Entry, held: Option<Held>, asked: bool) -> bool {
    let Some(Held { version, content, settled }) = held else {
        return false;
    };
    entry.version.kind == FileKind::File
        && version.kind == FileKind::File
        && entry.version.size == version.size
        && content.is_some()
        && (asked || !settled || entry.version.mtime != version.mtime)
}

/// The steps that make the target equal at the observed paths: parents before children, then
/// removals with children before parents. A path that is absent takes all that the ledger has
/// below it along; one that is present speaks for itself only.
pub fn differences(observed: &BTreeMap<TreePath, Observed>, ledger: &mut Ledger) -> Vec<Planned> {
    let mut steps = Vec::new();
    let mut removals = Vec::new();
    for (path, Observed { state, content, asked }) in observed {
        match state {
            State::Unknown => {}
            State::Absent => removals.extend(remove(path, ledger)),
            State::Present(_) if is_overtaken(path, observed) => {}
            State::Present(entry) => put(path, entry, *content, *asked, ledger, &mut steps),
        }
    }
    removals.reverse();
    steps.extend(removals);
    steps
}

/// Whether a directory above `path` was seen to be none. They were looked at one after the
/// other, and something came between: a change that is on its way to us tells of it, and what
/// was seen below the directory is void.
fn is_overtaken(path: &TreePath, observed: &BTreeMap<TreePath, Observed>) -> bool {
    path.above().any(|above| match observed.get(&above) {
        Some(Observed { state: State::Absent, .. }) => true,
        Some(Observed { state: State::Present(entry), .. }) => entry.version.kind != FileKind::Directory,
        Some(Observed { state: State::Unknown, .. }) | None => false,
    })
}

fn put(
    path: &TreePath,
    entry: &Entry,
    hashed: Option<Hashed>,
    asked: bool,
    ledger: &mut Ledger,
    steps: &mut Vec<Planned>,
) {
    let version = entry.version;
    let known = ledger.get(path);
    if version.kind != FileKind::Directory && (ledger.is_directory(path) || ledger.has_below(path)) {
        // A directory made way for something else: what we put into it goes first.
        let mut removals = remove(path, ledger);
        removals.reverse();
        steps.extend(removals);
    }
    let destination = entry.destination.as_deref().map(Content::of);
    match (version.kind, known) {
        (_, Some(Known::Holds(held))) if held.version.kind == version.kind => {
            let same_content = match version.kind {
                FileKind::Directory => true,
                FileKind::Symlink => destination == held.content,
                FileKind::File => match (hashed, held.content) {
                    (Some(now), Some(then)) => now.content == then,
                    _ => held.version.size == version.size && held.version.mtime == version.mtime && !asked,
                },
            };
            // The size is that of the content; a link's is told by its destination.
            let same_attributes = Version { size: version.size, ..held.version } == version;
            let content = if same_content { held.content } else { destination };
            // Of content that is to be sent only shipping will know when it was read; until
            // then equal times prove nothing.
            let settled = match hashed {
                _ if version.kind != FileKind::File => true,
                Some(hashed) => same_content && hashed.settled,
                None => same_content && held.settled,
            };
            let becomes = Held { version, content, settled };
            if !same_content {
                steps.push(Planned::follow(replace(path, entry), Some(becomes), ledger));
            } else if !same_attributes {
                let step = Step::SetAttributes { path: path.clone(), version };
                steps.push(Planned::follow(step, Some(becomes), ledger));
            } else {
                ledger.set(path.clone(), Known::Holds(becomes));
            }
        }
        _ => {
            let becomes = Held { version, content: destination, settled: version.kind != FileKind::File };
            steps.push(Planned::follow(replace(path, entry), Some(becomes), ledger));
        }
    }
}

fn replace(path: &TreePath, entry: &Entry) -> Step {
    let (path, entry) = (path.clone(), entry.clone());
    match entry.version.kind {
        FileKind::File => Step::PutFile { path, entry },
        FileKind::Directory => Step::MakeDirectory { path, entry },
        FileKind::Symlink => Step::PutSymlink { path, entry },
    }
}

/// The removal of `path` and of what the ledger has below, parents first.
fn remove(path: &TreePath, ledger: &mut Ledger) -> Vec<Planned> {
    let steps = ledger.at_or_below(path).into_iter().map(|(path, known)| match known {
        Known::Holds(Held { version, .. }) if version.kind == FileKind::Directory => {
            Step::RemoveDirectory { path }
        }
        // Where it is not sure what is there a file is the first guess: the target refuses to
        // remove a directory that way, and then it is known.
        Known::Holds(_) | Known::Unsure => Step::RemoveFile { path },
    });
    steps.map(|step| Planned::follow(step, None, ledger)).collect()
}
