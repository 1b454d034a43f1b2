//! Puts pages behind what they name, where a batch becomes visible as a whole.

use std::collections::BTreeSet;

use super::Planned;
use crate::model::{Step, TreePath};

/// The same steps with those that put a page behind all but the removals at the end. One that a later
/// step builds on stays in its place: the order has to be valid at every prefix, and steps that change
/// places must not concern the same paths, since they are taken back in their order.
pub fn pages_last(steps: Vec<Planned>, is_page: impl Fn(&TreePath) -> bool) -> Vec<Planned> {
    let end = steps.iter().rposition(|planned| !is_removal(&planned.step)).map_or(0, |last| last + 1);
    let mut before = steps;
    let removals = before.split_off(end);
    let (mut others, mut pages, mut later) = (Vec::new(), Vec::new(), BTreeSet::new());
    for planned in before.into_iter().rev() {
        let page = puts(&planned.step).filter(|path| is_page(path));
        if page.is_some_and(|path| !is_concerned(path, &later)) {
            pages.push(planned);
        } else {
            later.extend(planned.step.paths().chain(planned.undo.paths()).cloned());
            others.push(planned);
        }
    }
    others.into_iter().rev().chain(pages.into_iter().rev()).chain(removals).collect()
}

fn is_removal(step: &Step) -> bool {
    matches!(step, Step::RemoveFile { .. } | Step::RemoveDirectory { .. })
}

fn puts(step: &Step) -> Option<&TreePath> {
    match step {
        Step::PutFile { path, .. } | Step::PutSymlink { path, .. } => Some(path),
        _ => None,
    }
}

/// Whether one of the paths that `later` steps concern is `path`, above it or below it.
fn is_concerned(path: &TreePath, later: &BTreeSet<TreePath>) -> bool {
    later.contains(path) || path.is_above_any(later) || path.above().any(|above| later.contains(&above))
}
