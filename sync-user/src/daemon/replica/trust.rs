//! Decides how much of a ledger can be believed, once the target has said which root it is.

use crate::ledger::About;

/// What a ledger from before is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// It says what the target holds: only the source has to be looked at.
    All,
    /// It said what the target holds until the connection was lost: the target tells what has become of
    /// what was on its way, and all else that it lists otherwise somebody else has changed.
    Until,
    /// It says which paths are ours; what they hold the target has to list.
    Paths,
    /// It is about something else.
    Nothing,
}

/// `now` is what a ledger would be about that begins with this connection; `last_visit` is the
/// target's name for the connection before.
pub(super) fn trust(before: Option<&About>, now: &About, last_visit: Option<[u8; 16]>) -> Trust {
    let Some(before) = before else { return Trust::Nothing };
    if (before.source, before.target, before.id) != (now.source, now.target, now.id) {
        return Trust::Nothing;
    }
    // Of a run that was cut short the journal tells the rest, as long as the machine ran on. What
    // another source has done nobody tells.
    let is_exact = (before.complete || is_same(&before.boot, &now.boot))
        // The target's disk may have less than what it had acknowledged.
        && is_same(&before.target_boot, &now.target_boot)
        && last_visit == Some(before.visit)
        && (before.preserve, before.numeric_ids) == (now.preserve, now.numeric_ids);
    if is_exact { Trust::All } else { Trust::Paths }
}

/// Whether both are of one start of a machine; where the kernel does not tell, they are not.
fn is_same(one: &str, other: &str) -> bool {
    !one.is_empty() && one == other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Inode, Preserve};

    #[test]
    fn any_doubt_makes_the_target_be_listed() {
        let inode = |number| Inode { device: 1, number };
        let about = |source, target, id, visit| About {
            source: inode(source),
            target: inode(target),
            id: [id; 16],
            visit: [visit; 16],
            preserve: Preserve::ALL,
            numeric_ids: false,
            boot: "one".to_owned(),
            target_boot: "one".to_owned(),
            complete: false,
        };
        let before = About { complete: true, ..about(1, 2, 3, 4) };
        let now = about(1, 2, 3, 5);
        let visit = Some([4; 16]);
        assert_eq!(trust(Some(&before), &now, visit), Trust::All);
        assert_eq!(trust(None, &now, visit), Trust::Nothing);
        for other in [about(9, 2, 3, 5), about(1, 9, 3, 5), about(1, 2, 9, 5)] {
            assert_eq!(trust(Some(&before), &other, visit), Trust::Nothing, "{other:?}");
        }
        assert_eq!(trust(Some(&before), &now, Some([9; 16])), Trust::Paths, "somebody else was there");
        assert_eq!(trust(Some(&before), &now, None), Trust::Paths);
        let cut_short = about(1, 2, 3, 4);
        assert_eq!(trust(Some(&cut_short), &now, visit), Trust::All, "the journal has the rest");
        let rebooted = About { boot: "two".to_owned(), ..now.clone() };
        assert_eq!(trust(Some(&cut_short), &rebooted, visit), Trust::Paths);
        assert_eq!(trust(Some(&before), &rebooted, visit), Trust::All);
        let crashed = About { target_boot: "two".to_owned(), ..now.clone() };
        assert_eq!(trust(Some(&before), &crashed, visit), Trust::Paths);
        let other = About { preserve: Preserve::NONE, ..now };
        assert_eq!(trust(Some(&before), &other, visit), Trust::Paths);
    }
}
