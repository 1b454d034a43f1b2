//! Decides which of two versions of a path stays, where both ends may change it (I8).
//!
//! Both ends decide alike, whichever of the two steps arrives first: the later modification time
//! wins, then the greater hash, then a file over a link; a directory wins over what is none; and
//! what is there wins over a removal. The loser's content is kept.

use crate::model::{Content, Expected, FileKind, There, Time, Version};

/// What a step is to put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Contender {
    pub(super) kind: FileKind,
    pub(super) size: u64,
    pub(super) mtime: Time,
    /// Of a file, or of where a link leads.
    pub(super) content: Option<Content>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is there, or what both ends have agreed on, or the same.
    Place,
    /// It wins: what is there is kept elsewhere.
    Replace,
    /// What is there wins, and is on its way to the other end.
    Yield,
}

/// `content` reads what is there, and is asked only where the hash decides.
pub(super) fn decide<E>(
    there: &There,
    expects: &Expected,
    contender: &Contender,
    content: impl FnOnce() -> Result<Option<Content>, E>,
) -> Result<Verdict, E> {
    let is_agreed = *expects != Expected::Anything && expects.admits(there);
    let there = match there {
        There::Nothing => return Ok(Verdict::Place),
        _ if is_agreed => return Ok(Verdict::Place),
        // No end sends it, so it would stay on one side alone.
        There::Foreign => return Ok(Verdict::Replace),
        There::Version(there) => there,
    };
    match (contender.kind, there.kind) {
        (FileKind::Directory, FileKind::Directory) => return Ok(Verdict::Place),
        (FileKind::Directory, _) => return Ok(Verdict::Replace),
        (_, FileKind::Directory) => return Ok(Verdict::Yield),
        _ => {}
    }
    let may_be_equal = (contender.kind, contender.size) == (there.kind, there.size);
    if !may_be_equal && contender.mtime != there.mtime {
        return Ok(if contender.mtime > there.mtime { Verdict::Replace } else { Verdict::Yield });
    }
    let content = content()?;
    if may_be_equal && content == contender.content {
        // The same content: only what it is besides that is left to decide.
        return Ok(if contender.mtime >= there.mtime { Verdict::Place } else { Verdict::Yield });
    }
    let rank = |kind: FileKind, mtime: Time, content: Option<Content>| {
        (mtime, content.map(|content| content.0), kind == FileKind::File)
    };
    let wins =
        rank(contender.kind, contender.mtime, contender.content) > rank(there.kind, there.mtime, content);
    Ok(if wins { Verdict::Replace } else { Verdict::Yield })
}

/// Whether attributes may be set: of two changes of the mode the one that allows less stays.
pub(super) fn may_set_mode(there: &Version, expects: &Expected, wanted: crate::model::Mode) -> bool {
    match expects {
        Expected::This(expected) => {
            there.mode == expected.mode || there.mode == wanted || wanted.0 < there.mode.0
        }
        Expected::Anything | Expected::Absent => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Mode, Owner, XattrHash};

    fn version(contender: &Contender) -> Version {
        let Contender { kind, size, mtime, content: _ } = *contender;
        Version { kind, size, mtime, mode: Mode(0o644), owner: Owner::NOBODY, xattrs: XattrHash::NONE }
    }

    fn contender() -> impl Strategy<Value = Contender> {
        let kinds = vec![FileKind::File, FileKind::File, FileKind::Symlink, FileKind::Directory];
        (prop::sample::select(kinds), 0..3_i64, 0..3_u8).prop_map(|(kind, seconds, text)| {
            let text = vec![text; usize::from(text)];
            let is_directory = kind == FileKind::Directory;
            Contender {
                kind,
                size: if is_directory { 0 } else { text.len() as u64 },
                mtime: Time { seconds, nanoseconds: 0 },
                content: (!is_directory).then(|| Content::of(&text)),
            }
        })
    }

    fn meets(arriving: &Contender, present: &Contender) -> Verdict {
        let there = There::Version(version(present));
        decide(&there, &Expected::Absent, arriving, || Ok::<_, ()>(present.content)).unwrap()
    }

    proptest! {
        /// I8: both ends hold the same in the end, whatever each had, and the loser's content is
        /// kept by the end that had it.
        #[test]
        fn both_ends_decide_alike(one in contender(), other in contender()) {
            let (at_other, at_one) = (meets(&one, &other), meets(&other, &one));
            let is_same = one.content == other.content && (one.kind, one.size) == (other.kind, other.size);
            if is_same {
                prop_assert!(at_other != Verdict::Replace && at_one != Verdict::Replace);
                prop_assert!(at_other == Verdict::Place || at_one == Verdict::Place);
                prop_assert_eq!(one.mtime == other.mtime || one.kind == FileKind::Directory, at_other == at_one);
            } else {
                let verdicts = [at_other, at_one];
                prop_assert!(
                    verdicts == [Verdict::Replace, Verdict::Yield] || verdicts == [Verdict::Yield, Verdict::Replace],
                    "{:?}", verdicts
                );
            }
        }
    }

    #[test]
    fn what_was_agreed_on_or_removed_gives_way() {
        let old = Contender {
            kind: FileKind::File,
            size: 3,
            mtime: Time { seconds: 9, nanoseconds: 0 },
            content: Some(Content::of(b"old")),
        };
        let new = Contender {
            mtime: Time { seconds: 1, nanoseconds: 0 },
            content: Some(Content::of(b"new")),
            ..old
        };
        let unread = || Err(());
        let there = There::Version(version(&old));
        let agreed = Expected::This(version(&old));
        assert_eq!(decide(&there, &agreed, &new, unread), Ok(Verdict::Place), "an old file put back");
        assert_eq!(
            decide(&There::Nothing, &agreed, &new, unread),
            Ok(Verdict::Place),
            "an edit beats a removal"
        );
        assert_eq!(decide(&There::Foreign, &agreed, &new, unread), Ok(Verdict::Replace));
        let read = || Ok::<_, ()>(old.content);
        assert_eq!(decide(&there, &Expected::Anything, &new, read), Ok(Verdict::Yield));
    }

    #[test]
    fn of_two_modes_the_stricter_one_stays() {
        let file = |mode| Version {
            mode: Mode(mode),
            ..version(&Contender { kind: FileKind::File, size: 0, mtime: Time::UNKNOWN, content: None })
        };
        let expects = Expected::This(file(0o644));
        assert!(may_set_mode(&file(0o644), &expects, Mode(0o666)));
        assert!(may_set_mode(&file(0o640), &expects, Mode(0o600)));
        assert!(!may_set_mode(&file(0o600), &expects, Mode(0o640)));
    }
}
