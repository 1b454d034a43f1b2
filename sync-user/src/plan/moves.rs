//! Decides which renames the target repeats instead of receiving content.

use std::collections::BTreeMap;

use super::Planned;
use crate::ledger::Ledger;
use crate::model::{FileKind, Move, Step, TreePath, Version};

/// The renames of a batch that are worth repeating, in order. `now` tells what each name in
/// `moves` holds at the source by now; a name that is absent there is not in it.
///
/// A rename is a hint: the looks of the same batch make the target right whether it is repeated
/// or not. So one is left out when in doubt, and above all when the old name is taken again at
/// the source: repeating it would take the name away from readers at the target until its new
/// content arrives, where sending content replaces it atomically (I2).
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
        } else if let Some(step) = rename(first, now, ledger) {
            steps.push(step);
        }
    }
    steps
}

fn rename(
    Move { from, to }: &Move,
    now: &BTreeMap<TreePath, Version>,
    ledger: &mut Ledger,
) -> Option<Planned> {
    let expects = ledger.held(from)?.version;
    let directory = expects.kind == FileKind::Directory;
    let to_is_free = match ledger.get(to) {
        None => true,
        Some(_) if ledger.has_below(to) => false,
        Some(_) => ledger.is_directory(to) == directory && ledger.held(to).is_some(),
    };
    let to_has_parent = to.parent().is_some_and(|parent| ledger.is_directory(&parent));
    if now.contains_key(from) || !to_is_free || !to_has_parent || to.is_at_or_below(from) || from.is_below(to)
    {
        return None;
    }
    let step = Step::Rename { from: from.clone(), to: to.clone(), expects };
    Some(Planned::follow(step, None, ledger))
}

/// Two renames that swap two names are one exchange if both names are there, each with what the
/// other had: one after the other, the second would have found nothing to rename.
fn exchange(
    Move { from, to }: &Move,
    now: &BTreeMap<TreePath, Version>,
    ledger: &mut Ledger,
) -> Option<Planned> {
    let (one, other) = (ledger.held(from)?.version, ledger.held(to)?.version);
    let (one_now, other_now) = (now.get(from)?, now.get(to)?);
    let swapped = one_now.kind == other.kind
        && other_now.kind == one.kind
        && (one.kind == FileKind::Directory || *other_now == one)
        && (other.kind == FileKind::Directory || *one_now == other);
    if !swapped || from.is_at_or_below(to) || to.is_at_or_below(from) {
        return None;
    }
    let (expects_one, expects_other) = (one, other);
    let step = Step::Exchange { one: from.clone(), other: to.clone(), expects_one, expects_other };
    Some(Planned::follow(step, None, ledger))
}
