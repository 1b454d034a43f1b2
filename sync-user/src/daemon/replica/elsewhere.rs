//! Leaves to other roots what came from there, where more than two replicate to each other (two-way).
//!
//! What comes here from one root goes on to all others that this one replicates to, since it may be
//! the only way. In a full mesh it is not: the target has the same from the same root. To send it
//! once more would cost little, as the target has it already; but by then it may have been removed, and
//! would come back. So both ends tell each other what they have got from a third one. What both have they have agreed
//! on, and nothing is sent. What the target does not tell of in time is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Replica;
use super::arrived::held;
use crate::clock;
use crate::daemon::observe::present;
use crate::model::{Content, Depth, Look, Stamp, Step, TreePath, Version};
use crate::plan::{Observed, State};
use crate::ship::Session;
use crate::wire::Arrived;

/// How long the target may take to tell that it has the same.
const PATIENCE: Duration = Duration::from_secs(3);

/// Paths that are remembered, of each kind. Of more it is not known that they came from elsewhere: they are sent
/// at once (I6).
const PATHS_MAX: usize = 100_000;

/// What came here from another root.
#[derive(Debug, Clone, Copy)]
struct Came {
    /// `None` where it has removed something.
    version: Option<Version>,
    content: Option<Content>,
    /// From then on it is sent.
    due: Stamp,
}

#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    came: BTreeMap<TreePath, Came>,
    /// What the target is to be told.
    untold: BTreeMap<TreePath, Option<Version>>,
    /// What the target has told of, and has not come here yet.
    told: BTreeMap<TreePath, Option<Version>>,
    /// Whether the target has to hear of this end, though nothing came.
    is_untold: bool,
    /// Whether the target gets anything from other roots than this one: else it waits for what it is sent.
    is_meshed: bool,
}

impl Elsewhere {
    /// A connection begins; `is_shared` says that others replicate to the target as well. That this end
    /// does so to others, too, is told if it is not `alone`, and that is all that is to be told yet.
    pub(super) fn meets(&mut self, is_shared: bool, alone: bool) {
        self.is_meshed |= is_shared;
        self.is_untold = !alone;
    }

    /// The connection is lost: nothing is told any more, and the trees are merged.
    pub(super) fn lost(&mut self) {
        self.untold.clear();
        self.told.clear();
    }

    /// The target has sent this itself.
    pub(super) fn arrived(&mut self, step: &Step) {
        for path in step.paths() {
            self.told.remove(path);
            self.came.remove(path);
        }
    }

    /// Whether something at, above or below `path` came from elsewhere and is not agreed on.
    pub(super) fn concerns(&self, path: &TreePath) -> bool {
        path.at_or_below(&self.came).next().is_some()
            || path.above().any(|above| self.came.contains_key(&above))
    }
}

fn put<T>(paths: &mut BTreeMap<TreePath, T>, path: TreePath, value: T) {
    if paths.len() < PATHS_MAX || paths.contains_key(&path) {
        paths.insert(path, value);
    }
}

/// Whether both ends have the same, as far as both see it alike.
fn is_same(one: Option<Version>, other: Option<Version>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_kept_as(&other) && one.mode == other.mode,
        (None, None) => true,
        _ => false,
    }
}

impl Replica {
    /// Another root has done this here.
    pub(super) fn came_from_elsewhere(&mut self, arrived: &Arrived) {
        for (path, version, content) in self.changed_by(arrived) {
            let is_directory =
                version.is_some_and(|version| version.kind == crate::model::FileKind::Directory);
            if self.setup.tree.excludes_as(&path, is_directory) {
                continue;
            }
            put(&mut self.elsewhere.untold, path.clone(), version);
            let told = self.elsewhere.told.remove(&path);
            if told.is_some_and(|told| is_same(told, version)) {
                self.agree(path, version, content);
            } else if self.elsewhere.is_meshed {
                let due = clock::now().plus(PATIENCE);
                put(&mut self.elsewhere.came, path, Came { version, content, due });
            }
        }
    }

    /// Each path that a step has changed, and what is there since; of renames also those below.
    fn changed_by(&self, arrived: &Arrived) -> Vec<(TreePath, Option<Version>, Option<Content>)> {
        let renamed = |names: [&[u8]; 2]| {
            let names = names.into_iter().filter_map(|name| TreePath::new(name).ok());
            let mut changed = BTreeMap::new();
            for name in names {
                changed.insert(name.clone(), None);
                changed.extend(self.ledger.at_or_below(&name).into_iter().map(|(path, _)| (path, None)));
                let there = self.setup.tree.scan(&name).entries;
                changed.extend(there.into_iter().map(|(path, entry)| (path, Some(entry.version))));
            }
            changed.into_iter().map(|(path, version)| (path, version, None)).collect()
        };
        let (path, version, content) = match arrived {
            Arrived::Put { path, version, content } => (path, Some(*version), *content),
            Arrived::Attributes { path, version } | Arrived::Link { path, version, .. } => {
                (path, Some(*version), None)
            }
            Arrived::Removed { path } => (path, None, None),
            Arrived::Renamed { from, to, .. } => return renamed([from, to]),
            Arrived::Exchanged { one, other, .. } => return renamed([one, other]),
        };
        TreePath::new(path).into_iter().map(|path| (path, version, content)).collect()
    }

    /// The target has got these from other roots, if anything yet.
    pub(super) fn target_holds_too(&mut self, entries: Vec<(TreePath, Option<Version>)>) {
        self.elsewhere.is_meshed = true;
        for (path, version) in entries {
            self.target_got(path, version);
        }
    }

    fn target_got(&mut self, path: TreePath, version: Option<Version>) {
        if let Some(came) = self.elsewhere.came.get(&path).copied()
            && is_same(came.version, version)
        {
            self.elsewhere.came.remove(&path);
            return self.agree(path, came.version, came.content);
        }
        let here = present(&self.setup.tree, &path).map(|entry| entry.version);
        if is_same(here, version) {
            self.agree(path, here, None);
        } else {
            put(&mut self.elsewhere.told, path, version);
        }
    }

    /// Both ends have this at `path`.
    fn agree(&mut self, path: TreePath, version: Option<Version>, content: Option<Content>) {
        let known = self.ledger.held(&path);
        if known.is_some_and(|known| version.is_some() && is_same(Some(known.version), version)) {
            return;
        }
        match version {
            // Without the content a look would have it sent, as it might be another.
            Some(version) => {
                let content = content.or_else(|| self.content_here(&path, version));
                self.target_holds(&path, Some(held(version, content)));
            }
            None => self.target_holds_nothing(&path),
        }
        self.look_again(path, Depth::Entry, Duration::ZERO);
    }

    /// The content of what is here, if it is this version: a rename does not tell it.
    fn content_here(&self, path: &TreePath, version: Version) -> Option<Content> {
        let (here, content) = self.setup.tree.hash(path).ok()?;
        is_same(Some(here), Some(version)).then_some(content)
    }

    /// Leaves out of a plan what the target is to have from elsewhere, as if it had not been seen: it is
    /// looked at again when that should have come.
    pub(super) fn leave_to_others(&mut self, seen: &mut BTreeMap<TreePath, Observed>) {
        if self.elsewhere.came.is_empty() {
            return;
        }
        let now = clock::now();
        self.elsewhere.came.retain(|_, came| came.due > now);
        for (path, observed) in seen.iter_mut() {
            let Some(came) = self.elsewhere.came.get(path) else { continue };
            *observed = Observed { state: State::Unknown, content: None, asked: false };
            let look = Look { depth: Depth::Entry, content: true, stamps: None };
            self.retries.put_off(path.clone(), look, came.due);
        }
    }

    /// Tells the target what came here from elsewhere.
    pub(super) fn tell_elsewhere(&mut self, session: &mut Session) {
        if std::mem::take(&mut self.elsewhere.is_untold) || !self.elsewhere.untold.is_empty() {
            let untold: Vec<_> = std::mem::take(&mut self.elsewhere.untold).into_iter().collect();
            session.holds_too(&untold);
        }
    }
}
