//! Says what a plan would remove at the target before it is made, and leaves removals out of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::differences::{Observed, State};
use crate::ledger::{Known, Ledger};
use crate::model::{FileKind, Time, TreePath, Version};

/// The paths that the target holds and would lose, and how many it would get that it does not hold. What
/// is only called otherwise from then on, as far as kind, size and time tell, counts for neither.
pub fn removals(observed: &BTreeMap<TreePath, Observed>, ledger: &Ledger) -> (BTreeSet<TreePath>, usize) {
    let mut lost: BTreeMap<&TreePath, Known> = BTreeMap::new();
    for (path, Observed { state, .. }) in observed {
        if *state == State::Absent {
            lost.extend(ledger.get(path).map(|known| (path, known)));
        }
        if takes_along(state) {
            lost.extend(ledger.below(path).map(|(path, known)| (path, *known)));
        }
    }
    let mut added = 0;
    let mut appeared: HashMap<Alike, usize> = HashMap::new();
    for (path, Observed { state, .. }) in observed {
        if let State::Present(entry) = state
            && ledger.get(path).is_none()
        {
            added += 1;
            if !lost.is_empty() {
                *appeared.entry(alike(&entry.version)).or_default() += 1;
            }
        }
    }
    let mut is_lost = |known: &Known| match known {
        Known::Holds(held) => match appeared.get_mut(&alike(&held.version)) {
            Some(count) if *count > 0 => {
                *count -= 1;
                added -= 1;
                false
            }
            _ => true,
        },
        Known::Unsure => true,
    };
    let lost = lost.into_iter().filter(|(_, known)| is_lost(known)).map(|(path, _)| path.clone()).collect();
    (lost, added)
}

/// Leaves the removal of `kept` out of a plan, and that of the directories above them, which are added
/// to `kept`. What else is gone below such a directory goes on its own.
pub fn keep(observed: &mut BTreeMap<TreePath, Observed>, kept: &mut BTreeSet<TreePath>, ledger: &Ledger) {
    if kept.is_empty() {
        return;
    }
    let concerns = |path: &TreePath, state: &State| {
        takes_along(state) && (kept.contains(path) || path.is_above_any(kept))
    };
    let held_up: Vec<TreePath> = observed
        .iter()
        .filter(|(path, seen)| concerns(path, &seen.state))
        .map(|(path, _)| path.clone())
        .collect();
    let mut alone = Vec::new();
    for top in held_up {
        let Some(seen) = observed.get_mut(&top) else { continue };
        let is_gone = seen.state == State::Absent;
        *seen = unseen(State::Unknown);
        if is_gone {
            alone.extend(
                ledger.below(&top).map(|(path, _)| path).filter(|path| !kept.contains(*path)).cloned(),
            );
        }
        kept.insert(top);
    }
    for path in alone {
        if path.is_above_any(kept) {
            kept.insert(path);
        } else {
            observed.entry(path).or_insert(unseen(State::Absent));
        }
    }
}

/// Whether what was seen takes along whatever the target has below.
fn takes_along(state: &State) -> bool {
    match state {
        State::Absent => true,
        State::Present(entry) => entry.version.kind != FileKind::Directory,
        State::Unknown => false,
    }
}

fn unseen(state: State) -> Observed {
    Observed { state, content: None, asked: false }
}

/// What a rename leaves as it is.
type Alike = (FileKind, u64, Time);

fn alike(version: &Version) -> Alike {
    let size = if version.kind == FileKind::File { version.size } else { 0 };
    (version.kind, size, version.mtime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Held;
    use crate::model::{Entry, Inode, Mode, Owner, XattrHash};
    use crate::plan::differences;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn version(kind: FileKind, seconds: i64) -> Version {
        let mtime = Time { seconds, nanoseconds: 0 };
        Version { kind, size: 1, mtime, mode: Mode(0o644), owner: Owner::NOBODY, xattrs: XattrHash::NONE }
    }

    fn ledger(paths: &[(&str, FileKind)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (at, (name, kind)) in (1..).zip(paths) {
            let held = Held { version: version(*kind, at), content: None, settled: true, twin: None };
            ledger.set(path(name), Known::Holds(held));
        }
        ledger
    }

    fn present(kind: FileKind, seconds: i64) -> Observed {
        let inode = Inode { device: 1, number: 1 };
        let destination = (kind == FileKind::Symlink).then(|| b"x".to_vec());
        unseen(State::Present(Entry { version: version(kind, seconds), inode, links: 1, destination }))
    }

    fn names<'a>(paths: impl IntoIterator<Item = &'a TreePath>) -> Vec<String> {
        paths.into_iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_directory_takes_along_is_lost_and_what_is_renamed_is_not() {
        use FileKind::{Directory, File, Symlink};
        let ledger = ledger(&[
            ("a", Directory),
            ("a/x", File),
            ("a/y", File),
            ("b", Directory),
            ("b/z", File),
            ("c", File),
        ]);
        let gone = || unseen(State::Absent);
        let seen = BTreeMap::from([
            (path("a"), gone()),
            // It has the time that `a/y` had.
            (path("new"), present(File, 3)),
            (path("b"), present(Symlink, 9)),
            (path("c"), present(File, 9)),
            (path("never"), gone()),
        ]);
        let (lost, added) = removals(&seen, &ledger);
        assert_eq!((names(&lost), added), (["a", "a/x", "b/z"].map(str::to_owned).to_vec(), 0));
        let twice = BTreeMap::from([
            (path("a"), gone()),
            (path("c"), present(File, 3)),
            (path("n"), present(Directory, 1)),
        ]);
        let (lost, added) = removals(&twice, &ledger);
        let expected = ["a/x", "a/y"].map(str::to_owned).to_vec();
        assert_eq!((names(&lost), added), (expected, 0), "what replaces is no new name");
    }

    #[test]
    fn what_is_kept_keeps_the_directories_above_it_and_nothing_else() {
        use FileKind::{Directory, File};
        let mut ledger = ledger(&[
            ("a", Directory),
            ("a/b", Directory),
            ("a/b/x", File),
            ("a/c", Directory),
            ("a/c/y", File),
            ("d", File),
        ]);
        let mut seen =
            BTreeMap::from([(path("a"), unseen(State::Absent)), (path("d"), unseen(State::Absent))]);
        let mut kept = BTreeSet::from([path("a/b/x")]);
        keep(&mut seen, &mut kept, &ledger);
        assert_eq!(names(&kept), ["a", "a/b", "a/b/x"]);
        let steps = differences(&seen, false, &mut ledger);
        let removed = names(steps.iter().map(|planned| planned.step.path()));
        assert_eq!(removed, ["d", "a/c/y", "a/c"]);
        // A file in place of the directory would take it along.
        let mut seen = BTreeMap::from([(path("a"), present(File, 9))]);
        keep(&mut seen, &mut kept, &ledger);
        assert_eq!(differences(&seen, false, &mut ledger), []);
    }
}
