//! Follows steps through the ledger, and takes them back.

use super::{Held, Known, Ledger};
use crate::model::{Step, TreePath};

/// What a step changed: each path with what was known of it before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Undo(Vec<(TreePath, Option<Known>)>);

impl Undo {
    /// What was known of `path` before the step; `None` also for a path that it does not concern.
    pub fn before(&self, path: &TreePath) -> Option<Known> {
        self.0.iter().find(|(concerned, _)| concerned == path).and_then(|(_, before)| *before)
    }

    /// What was at `path` before the step is known better by now; which names it shares stays.
    pub fn amend(&mut self, path: &TreePath, held: Held) {
        for (_, before) in self.0.iter_mut().filter(|(concerned, _)| concerned == path) {
            if let Some(Known::Holds(Held { twin, .. })) = *before {
                *before = Some(Known::Holds(Held { twin, ..held }));
            }
        }
    }

    /// The paths that the step concerns.
    pub fn paths(&self) -> impl Iterator<Item = &TreePath> {
        self.0.iter().map(|(path, _)| path)
    }
}

impl Ledger {
    /// Follows `step`. `becomes` is what it leaves at its path: `None` for removals, and of no
    /// matter for renames, which carry along what is known.
    pub fn follow(&mut self, step: &Step, becomes: Option<Held>) -> Undo {
        match step {
            Step::Rename { from, to, .. } => {
                let (moved, replaced) = (self.at_or_below(from), self.at_or_below(to));
                self.exchange_names(&[(moved, Some((from, to))), (replaced, None)])
            }
            Step::Exchange { one, other, .. } => {
                let (from_one, from_other) = (self.at_or_below(one), self.at_or_below(other));
                self.exchange_names(&[(from_one, Some((one, other))), (from_other, Some((other, one)))])
            }
            Step::SetAttributes { path, .. } if self.has_twins(path, becomes) => {
                self.change_twins(path, becomes)
            }
            Step::Link { path, to, .. } => self.link(path, to, becomes),
            Step::MakeDirectory { path, .. }
            | Step::PutFile { path, .. }
            | Step::PutSymlink { path, .. }
            | Step::SetAttributes { path, .. }
            | Step::SetDirectoryTime { path, .. }
            | Step::RemoveFile { path, .. }
            | Step::RemoveDirectory { path } => {
                let before = self.get(path);
                self.put_back(path.clone(), becomes.map(Known::Holds));
                Undo(vec![(path.clone(), before)])
            }
        }
    }

    /// Takes back the step that was followed last, of those not yet taken back.
    pub fn take_back(&mut self, undo: &Undo) {
        // Backwards, since a path that was renamed onto is in it twice.
        for (path, before) in undo.0.iter().rev() {
            self.put_back(path.clone(), *before);
        }
    }

    /// A link holds what the name that it leads to holds, and both are names of one inode from now on.
    fn link(&mut self, path: &TreePath, to: &TreePath, becomes: Option<Held>) -> Undo {
        let undo = Undo(vec![(to.clone(), self.get(to)), (path.clone(), self.get(path))]);
        let leader = self
            .held(to)
            .map(|leader| Held { twin: leader.twin.or(becomes.and_then(|held| held.twin)), ..leader });
        if let Some(leader) = leader {
            self.set(to.clone(), Known::Holds(leader));
        }
        self.put_back(path.clone(), leader.or(becomes).map(Known::Holds));
        undo
    }

    /// Whether `path` is one of several names of one inode, and stays so.
    fn has_twins(&self, path: &TreePath, becomes: Option<Held>) -> bool {
        let twin = becomes.and_then(|held| held.twin);
        twin.is_some() && self.held(path).and_then(|held| held.twin) == twin
    }

    /// What changes an inode shows under all of its names.
    fn change_twins(&mut self, path: &TreePath, becomes: Option<Held>) -> Undo {
        let twin = becomes.and_then(|held| held.twin);
        let others = twin.into_iter().flat_map(|twin| self.twins(twin)).filter(|other| *other != path);
        let names: Vec<TreePath> = std::iter::once(path).chain(others).cloned().collect();
        let before = names.into_iter().map(|name| (name.clone(), self.get(&name))).collect();
        let undo = Undo(before);
        for name in undo.paths() {
            self.put_back(name.clone(), becomes.map(Known::Holds));
        }
        undo
    }

    /// Gives each group of entries its new name, or takes it out.
    fn exchange_names(&mut self, groups: &[Renamed<'_>]) -> Undo {
        let mut undo = Undo::default();
        for (path, known) in groups.iter().flat_map(|(entries, _)| entries) {
            self.forget(path);
            undo.0.push((path.clone(), Some(*known)));
        }
        for (entries, names) in groups {
            let Some((from, to)) = names else { continue };
            for (path, known) in entries {
                if let Some(path) = path.moved(from, to) {
                    undo.0.push((path.clone(), None));
                    self.set(path, *known);
                }
            }
        }
        undo
    }

    fn put_back(&mut self, path: TreePath, known: Option<Known>) {
        match known {
            Some(known) => self.set(path, known),
            None => self.forget(&path),
        }
    }
}

/// Entries, and the name that is replaced by another in each of their paths.
type Renamed<'a> = (Vec<(TreePath, Known)>, Option<(&'a TreePath, &'a TreePath)>);
