//! Finds the names of one inode among the observed paths, and who leads each group of them.
//!
//! The leader is replicated like any file, and the others are linked to it. Where the target
//! has names of one inode that are names of several at the source, a change of one would change
//! the other: such a path is astray, and is sent anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::differences::{Looked, Observed, State, is_overtaken};
use crate::ledger::{Held, Ledger};
use crate::model::{FileKind, Inode, TreePath};

/// What becomes of a path in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// It has no other names that are replicated.
    Alone,
    Leader,
    Follower {
        leader: &'a TreePath,
    },
}

/// Groups of observed paths.
#[derive(Debug, Default)]
pub(super) struct Groups {
    by_path: BTreeMap<TreePath, usize>,
    leaders: Vec<TreePath>,
    /// Those that were seen to be gone.
    absent: BTreeSet<TreePath>,
}

impl Groups {
    /// Without `links` every path is alone.
    pub(super) fn of(observed: &BTreeMap<TreePath, Observed>, links: bool, ledger: &Ledger) -> Self {
        let mut groups = Self::default();
        let mut by_inode: HashMap<Inode, Vec<Looked<'_>>> = HashMap::new();
        for (path, Observed { state, content, asked }) in observed {
            match state {
                State::Absent => {
                    groups.absent.insert(path.clone());
                }
                State::Present(entry)
                    if links
                        && entry.links > 1
                        && entry.version.kind != FileKind::Directory
                        && !ledger.is_apart(path)
                        && !is_overtaken(path, observed) =>
                {
                    let looked = Looked { path, entry, hashed: *content, asked: *asked };
                    by_inode.entry(entry.inode).or_default().push(looked);
                }
                State::Present(_) | State::Unknown => {}
            }
        }
        let all: Vec<Vec<Looked<'_>>> = by_inode.into_values().filter(|names| names.len() > 1).collect();
        for (group, names) in all.iter().enumerate() {
            groups.by_path.extend(names.iter().map(|looked| (looked.path.clone(), group)));
        }
        for names in &all {
            // One that the target has already, so that no content travels.
            let is_fit = |looked: &&Looked<'_>| {
                let held = ledger.held(looked.path);
                held.is_some_and(|held| looked.is_held(&held) && !groups.is_astray(looked.path, held, ledger))
            };
            let leader = names.iter().find(is_fit).or(names.first());
            groups.leaders.extend(leader.map(|looked| looked.path.clone()));
        }
        groups
    }

    pub(super) fn role(&self, path: &TreePath) -> Role<'_> {
        match self.by_path.get(path).and_then(|group| self.leaders.get(*group)) {
            None => Role::Alone,
            Some(leader) if leader == path => Role::Leader,
            Some(leader) => Role::Follower { leader },
        }
    }

    /// Whether the target has `path` linked to something that it is not linked to at the source.
    pub(super) fn is_astray(&self, path: &TreePath, held: Held, ledger: &Ledger) -> bool {
        let Some(twin) = held.twin else { return false };
        let group = self.by_path.get(path);
        ledger.twins(twin).any(|other| {
            let is_gone =
                || self.absent.contains(other) || other.above().any(|above| self.absent.contains(&above));
            other != path && (group.is_none() || self.by_path.get(other) != group) && !is_gone()
        })
    }
}
