//! Decides which renames the target repeats instead of receiving content.

use std::collections::BTreeMap;

use super::Planned;
use crate::ledger::{Held, Known, Ledger};
use crate::model::{FileKind, Move, Step, TreePath, Version};

/// The renames of a batch that are worth repeating, in order. `now` tells what the names in
/// `moves` hold at the source by now, with everything below them; what is absent there is not
/// in it.
///
/// A rename is a hint: the looks of the same batch make the target right whether it is repeated
/// or not. So one is left out when in doubt, and above all when it would show readers of the
/// target what the source never had under that name (I2): when the old name is taken again at
/// the source, repeating it would take the name away until its new content arrives; when the
/// target's copy is of another version, such as one that was still being written, it would show
/// that.
pub fn moves(moves: &[Move], now: &BTreeMap<TreePath, Version>, ledger: &mut Ledger) -> Vec<Planned> {
    let mut steps = Vec::new();
    let mut rest = moves;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if let Some((second, after)) = after.split_first()
            && second.from == first.to
            && second.to == first.from
            && let Some(step) = exchange(first, now, ledger)
        {
            rest = after;
            steps.push(step);
        } else {
            steps.extend(rename(first, &last_name(&first.to, after), now, ledger));
        }
    }
    steps
}

/// What `name` is called after all of `moves`.
fn last_name(name: &TreePath, moves: &[Move]) -> TreePath {
    moves.iter().fold(name.clone(), |name, Move { from, to }| name.moved(from, to).unwrap_or(name))
}

/// The rename, and before it the removal of what is of another version by now: its new content
/// follows under the new name, where nothing was before. `last` is what the new name is called
/// at the source by now.
fn rename(
    Move { from, to }: &Move,
    last: &TreePath,
    now: &BTreeMap<TreePath, Version>,
    ledger: &mut Ledger,
) -> Vec<Planned> {
    let Some(Held { version: expects, .. }) = ledger.held(from) else {
        return Vec::new();
    };
    let directory = expects.kind == FileKind::Directory;
    let to_is_free = match ledger.get(to) {
        None => true,
        Some(_) if ledger.has_below(to) => false,
        Some(_) => ledger.is_directory(to) == directory && ledger.held(to).is_some(),
    };
    let to_has_parent = to.parent().is_some_and(|parent| ledger.is_directory(&parent));
    if now.contains_key(from) || !to_is_free || !to_has_parent || to.is_at_or_below(from) || from.is_below(to)
    {
        return Vec::new();
    }
    if !directory && !now.get(last).is_some_and(|now| is_same(&expects, now)) {
        return Vec::new();
    }
    let mut steps: Vec<Planned> = others(from, last, now, ledger)
        .into_iter()
        .map(|path| {
            let expects = ledger.expected(&path);
            Planned::follow(Step::RemoveFile { path, expects }, None, ledger)
        })
        .collect();
    let replaces = ledger.expected(to);
    let step = Step::Rename { from: from.clone(), to: to.clone(), expects, replaces };
    steps.push(Planned::follow(step, None, ledger));
    steps
}

/// Two renames that swap two names are one exchange if both names are there, each with what the
/// other had: one after the other, the second would have found nothing to rename.
fn exchange(
    Move { from, to }: &Move,
    now: &BTreeMap<TreePath, Version>,
    ledger: &mut Ledger,
) -> Option<Planned> {
    let (one, other) = (ledger.held(from)?.version, ledger.held(to)?.version);
    let swapped = is_same(&one, now.get(to)?)
        && is_same(&other, now.get(from)?)
        && others(from, to, now, ledger).is_empty()
        && others(to, from, now, ledger).is_empty();
    if !swapped || from.is_at_or_below(to) || to.is_at_or_below(from) {
        return None;
    }
    let (expects_one, expects_other) = (one, other);
    let step = Step::Exchange { one: from.clone(), other: to.clone(), expects_one, expects_other };
    Some(Planned::follow(step, None, ledger))
}

/// Whether two versions show the same content; directories have none of their own.
fn is_same(held: &Version, now: &Version) -> bool {
    held.kind == now.kind
        && (held.kind == FileKind::Directory || (held.size, held.mtime) == (now.size, now.mtime))
}

/// The files below `from` that are there under the name `to` by now, and of another version.
fn others(
    from: &TreePath,
    to: &TreePath,
    now: &BTreeMap<TreePath, Version>,
    ledger: &Ledger,
) -> Vec<TreePath> {
    let is_other = |path: &TreePath, known: &Known| match (known, path.moved(from, to)) {
        (Known::Holds(held), Some(renamed)) => {
            held.version.kind != FileKind::Directory
                && now.get(&renamed).is_some_and(|now| !is_same(&held.version, now))
        }
        // What is unsure is not shown under a new name either; a directory is refused.
        (Known::Unsure, _) => true,
        (_, None) => false,
    };
    ledger.below(from).filter(|(path, known)| is_other(path, known)).map(|(path, _)| path.clone()).collect()
}
