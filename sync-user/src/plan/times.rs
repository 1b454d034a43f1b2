//! Restores the modification times of directories, which every step inside disturbs.

use std::collections::{BTreeMap, BTreeSet};

use super::Planned;
use crate::ledger::{Held, Ledger};
use crate::model::{FileKind, Look, Step, TreePath, Version};

/// The last steps of a plan: each directory in which `steps` add, replace or remove a name gets
/// the time that the source's has, and so does each that has another time and holds a path of
/// `looks`: names that are not replicated, or gone again, have come and left there. `at_source`
/// tells what a directory of the source is now. One that is there no more was renamed meanwhile:
/// what its time became at the target is not known, until it is looked at by its new name.
pub fn directory_times(
    steps: &[Planned],
    looks: &BTreeMap<TreePath, Look>,
    at_source: impl Fn(&TreePath) -> Option<Version>,
    ledger: &mut Ledger,
) -> Vec<Planned> {
    let mut disturbed = BTreeSet::new();
    let above_looks: BTreeSet<TreePath> = looks.keys().filter_map(TreePath::parent).collect();
    for Planned { step, .. } in steps {
        match step {
            Step::MakeDirectory { path, .. } => {
                disturbed.insert(path.clone());
                disturbed.extend(path.parent());
            }
            Step::PutFile { path, .. }
            | Step::PutSymlink { path, .. }
            | Step::Link { path, .. }
            | Step::RemoveFile { path, .. }
            | Step::RemoveDirectory { path } => disturbed.extend(path.parent()),
            Step::Rename { from: one, to: other, .. } | Step::Exchange { one, other, .. } => {
                disturbed.extend(one.parent());
                disturbed.extend(other.parent());
            }
            Step::SetAttributes { .. } | Step::SetDirectoryTime { .. } => {}
        }
    }
    let mut times = Vec::new();
    for path in disturbed.union(&above_looks) {
        let Some(mut held) = ledger.held(path).filter(is_directory) else { continue };
        let now = at_source(path).filter(|version| version.kind == FileKind::Directory);
        match now {
            Some(Version { mtime, .. }) if disturbed.contains(path) || held.version.mtime != mtime => {
                held.version.mtime = mtime;
                let step = Step::SetDirectoryTime { path: path.clone(), mtime };
                times.push(Planned::follow(step, Some(held), ledger));
            }
            None if disturbed.contains(path) => ledger.forget_time(path),
            Some(_) | None => {}
        }
    }
    times
}

fn is_directory(held: &Held) -> bool {
    held.version.kind == FileKind::Directory
}
