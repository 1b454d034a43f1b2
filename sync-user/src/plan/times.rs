//! Restores the modification times of directories, which every step inside disturbs.

use std::collections::{BTreeMap, BTreeSet};

use super::Planned;
use crate::ledger::Ledger;
use crate::model::{FileKind, Look, Step, TreePath, Version};

/// The last steps of a plan: each directory in which `steps` add, replace or remove a name gets
/// the time that the source's has, and so does each that has another time and holds a path of
/// `looks`: names that are not replicated, or gone again, have come and left there. `at_source`
/// tells what a directory of the source is now.
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
            | Step::RemoveFile { path }
            | Step::RemoveDirectory { path } => disturbed.extend(path.parent()),
            Step::Rename { from: one, to: other, .. } | Step::Exchange { one, other, .. } => {
                disturbed.extend(one.parent());
                disturbed.extend(other.parent());
            }
            Step::SetAttributes { .. } | Step::SetDirectoryTime { .. } => {}
        }
    }
    let mut times = Vec::new();
    for path in disturbed.union(&above_looks).filter(|path| !path.is_root()) {
        let (Some(mut held), Some(version)) = (ledger.held(path), at_source(path)) else {
            continue;
        };
        let is_due = disturbed.contains(path) || held.version.mtime != version.mtime;
        if is_due && held.version.kind == FileKind::Directory && version.kind == FileKind::Directory {
            held.version.mtime = version.mtime;
            let step = Step::SetDirectoryTime { path: path.clone(), mtime: version.mtime };
            times.push(Planned::follow(step, Some(held), ledger));
        }
    }
    times
}
