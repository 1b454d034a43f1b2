//! Compares what was seen at the source with what the ledger says of the target.

use std::collections::BTreeMap;

use super::Planned;
use super::groups::{Groups, Role};
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
    let Some(Held { version, content, settled, twin: _ }) = held else {
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
/// below it along; one that is present speaks for itself only. With `links`, names of one inode
/// become names of one inode.
pub fn differences(
    observed: &BTreeMap<TreePath, Observed>,
    links: bool,
    ledger: &mut Ledger,
) -> Vec<Planned> {
    let mut steps = Vec::new();
    let mut absent = Vec::new();
    let groups = Groups::of(observed, links, ledger);
    for (path, Observed { state, content, asked }) in observed {
        match state {
            State::Unknown => {}
            State::Absent => absent.push(path),
            State::Present(_) if is_overtaken(path, observed) => {}
            State::Present(entry) => {
                let looked = Looked { path, entry, hashed: *content, asked: *asked };
                put(looked, &groups, ledger, &mut steps);
            }
        }
    }
    // Followed in their turn: what is done to another name of an inode shows here as well.
    let mut removals: Vec<Planned> = absent.into_iter().flat_map(|path| remove(path, ledger)).collect();
    removals.reverse();
    steps.extend(removals);
    steps
}

/// Whether a directory above `path` was seen to be none. They were looked at one after the
/// other, and something came between: a change that is on its way to us tells of it, and what
/// was seen below the directory is void.
pub(super) fn is_overtaken(path: &TreePath, observed: &BTreeMap<TreePath, Observed>) -> bool {
    path.above().any(|above| match observed.get(&above) {
        Some(Observed { state: State::Absent, .. }) => true,
        Some(Observed { state: State::Present(entry), .. }) => entry.version.kind != FileKind::Directory,
        Some(Observed { state: State::Unknown, .. }) | None => false,
    })
}

/// A path that is there, with what was seen of it.
#[derive(Clone, Copy)]
pub(super) struct Looked<'a> {
    pub(super) path: &'a TreePath,
    pub(super) entry: &'a Entry,
    pub(super) hashed: Option<Hashed>,
    pub(super) asked: bool,
}

impl Looked<'_> {
    fn destination(&self) -> Option<Content> {
        self.entry.destination.as_deref().map(Content::of)
    }

    /// Whether the target has this content under this path.
    pub(super) fn is_held(&self, held: &Held) -> bool {
        let version = self.entry.version;
        held.version.kind == version.kind
            && match version.kind {
                FileKind::Directory => true,
                FileKind::Symlink => self.destination() == held.content,
                FileKind::File => match (self.hashed, held.content) {
                    (Some(now), Some(then)) => now.content == then,
                    _ => {
                        (held.version.size, held.version.mtime) == (version.size, version.mtime)
                            && !self.asked
                    }
                },
            }
    }
}

fn put(looked: Looked<'_>, groups: &Groups, ledger: &mut Ledger, steps: &mut Vec<Planned>) {
    let Looked { path, entry, hashed, asked: _ } = looked;
    let version = entry.version;
    if version.kind != FileKind::Directory && (ledger.is_directory(path) || ledger.has_below(path)) {
        // A directory made way for something else: what we put into it goes first.
        let mut removals = remove(path, ledger);
        removals.reverse();
        steps.extend(removals);
    }
    let role = groups.role(path);
    if let Role::Follower { leader } = role
        && let Some(held) = ledger.held(leader)
    {
        return follow_leader(looked, (leader, held), ledger, steps);
    }
    let destination = looked.destination();
    match ledger.held(path) {
        Some(held) if held.version.kind == version.kind => {
            let same_content = looked.is_held(&held) && !groups.is_astray(path, held, ledger);
            // The size is that of the content; a link's is told by its destination.
            let same_attributes = Version { size: version.size, ..held.version } == version;
            // Of content that is to be sent only shipping will know when it was read; until
            // then equal times prove nothing.
            let settled = match hashed {
                _ if version.kind != FileKind::File => true,
                Some(hashed) => same_content && hashed.settled,
                None => same_content && held.settled,
            };
            if !same_content {
                let twin = matches!(role, Role::Leader).then(|| ledger.new_twin());
                let becomes = Held { version, content: destination, settled, twin };
                steps.push(Planned::follow(replace(path, entry, ledger), Some(becomes), ledger));
                return;
            }
            let becomes = Held { version, content: held.content, settled, twin: held.twin };
            if same_attributes {
                ledger.set(path.clone(), Known::Holds(becomes));
            } else {
                let expects = ledger.expected(path);
                let step = Step::SetAttributes { path: path.clone(), version, expects };
                steps.push(Planned::follow(step, Some(becomes), ledger));
            }
        }
        _ => {
            let twin = matches!(role, Role::Leader).then(|| ledger.new_twin());
            let settled = version.kind != FileKind::File;
            let becomes = Held { version, content: destination, settled, twin };
            steps.push(Planned::follow(replace(path, entry, ledger), Some(becomes), ledger));
        }
    }
}

/// Makes a name one of the leader's inode, with which content and attributes come and go. Where
/// something else was seen of this name, the file has changed between the two looks, and an event
/// of that is on its way.
fn follow_leader(
    looked: Looked<'_>,
    (leader, held): (&TreePath, Held),
    ledger: &mut Ledger,
    steps: &mut Vec<Planned>,
) {
    let path = looked.path;
    let is_linked = held.twin.is_some() && ledger.held(path).is_some_and(|known| known.twin == held.twin);
    if is_linked {
        return;
    }
    let twin = held.twin.unwrap_or_else(|| ledger.new_twin());
    let becomes = Held { twin: Some(twin), ..held };
    let (path, to, expects, replaces) = (path.clone(), leader.clone(), held.version, ledger.expected(path));
    steps.push(Planned::follow(Step::Link { path, to, expects, replaces }, Some(becomes), ledger));
}

fn replace(path: &TreePath, entry: &Entry, ledger: &Ledger) -> Step {
    let (path, entry, expects) = (path.clone(), entry.clone(), ledger.expected(path));
    match entry.version.kind {
        FileKind::File => Step::PutFile { path, entry, expects },
        FileKind::Directory => Step::MakeDirectory { path, entry, expects },
        FileKind::Symlink => Step::PutSymlink { path, entry, expects },
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
        Known::Holds(_) | Known::Unsure => Step::RemoveFile { path, expects: Known::expected(Some(known)) },
    });
    steps.map(|step| Planned::follow(step, None, ledger)).collect()
}
