//! Compares what both ends hold at a path: pure, and the one place that says what counts.

use super::news::Differs;
use crate::model::{FileKind, Owner, Sight, Version};

/// How two sights compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Differs(Vec<Differs>),
    /// One of the two was changing when it was looked at.
    Changing,
    /// Nothing is known of one of the two.
    Unknown,
}

/// Fifos, sockets and devices count as nothing at the source, since they are not replicated.
pub(super) fn compare(source: &Sight, target: &Sight) -> Verdict {
    let differs = match (source, target) {
        (Sight::Unreadable { .. }, _) | (_, Sight::Unreadable { .. }) => return Verdict::Unknown,
        (Sight::Changing, _) | (_, Sight::Changing) => return Verdict::Changing,
        (Sight::Absent | Sight::Foreign, Sight::Absent) | (Sight::Foreign, Sight::Foreign) => {
            return Verdict::Same;
        }
        (Sight::Absent | Sight::Foreign, Sight::Present { .. } | Sight::Foreign) => vec![Differs::Extra],
        (Sight::Present { .. }, Sight::Absent) => vec![Differs::Missing],
        (Sight::Present { .. }, Sight::Foreign) => vec![Differs::Kind],
        (Sight::Present { version, .. }, Sight::Present { version: there, .. })
            if version.kind != there.kind =>
        {
            vec![Differs::Kind]
        }
        (Sight::Present { version, content }, Sight::Present { version: there, content: content_there }) => {
            let is_same_content = match version.kind {
                FileKind::Directory => true,
                FileKind::File => version.size == there.size && content == content_there,
                FileKind::Symlink => content == content_there,
            };
            let mut differs = attributes(version, there);
            if !is_same_content {
                let is_link = version.kind == FileKind::Symlink;
                differs.insert(0, if is_link { Differs::LinkTarget } else { Differs::Content });
            }
            differs
        }
    };
    if differs.is_empty() { Verdict::Same } else { Verdict::Differs(differs) }
}

/// In what two versions of one kind differ besides their content. What a target cannot set, or
/// keeps no finer, is no difference.
fn attributes(source: &Version, there: &Version) -> Vec<Differs> {
    let is_other = |id: u32, there: u32| there != Owner::LEFT && id != Owner::LEFT && there != id;
    [
        (Differs::Mode, source.mode != there.mode),
        (Differs::Owner, is_other(source.owner.user, there.owner.user)),
        (Differs::Group, is_other(source.owner.group, there.owner.group)),
        (Differs::Time, !source.mtime.is_kept_as(there.mtime)),
        (Differs::Xattrs, source.xattrs != there.xattrs),
    ]
    .into_iter()
    .filter_map(|(differs, is_other)| is_other.then_some(differs))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Content, Mode, Time, Xattr, XattrHash};

    fn file() -> Version {
        Version {
            kind: FileKind::File,
            size: 3,
            mtime: Time { seconds: 9, nanoseconds: 123_456_789 },
            mode: Mode(0o644),
            owner: Owner { user: 1, group: 2 },
            xattrs: XattrHash::NONE,
        }
    }

    fn present(version: Version, content: &[u8]) -> Sight {
        let content = (version.kind != FileKind::Directory).then(|| Content::of(content));
        Sight::Present { version, content }
    }

    fn differs(target: &Sight) -> Vec<Differs> {
        match compare(&present(file(), b"one"), target) {
            Verdict::Differs(differs) => differs,
            Verdict::Same => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whatever_is_not_the_same_is_named() {
        let xattrs = XattrHash::of(&[Xattr { name: b"user.a".into(), value: Vec::new() }]);
        for (there, expected) in [
            (file(), vec![]),
            (Version { mode: Mode(0o600), ..file() }, vec![Differs::Mode]),
            (Version { owner: Owner { user: 9, group: 2 }, ..file() }, vec![Differs::Owner]),
            (Version { owner: Owner { user: 1, group: 9 }, ..file() }, vec![Differs::Group]),
            (Version { owner: Owner::NOBODY, ..file() }, vec![]),
            (Version { mtime: Time { seconds: 8, nanoseconds: 0 }, ..file() }, vec![]),
            (Version { mtime: Time { seconds: 7, nanoseconds: 0 }, ..file() }, vec![Differs::Time]),
            (Version { xattrs, ..file() }, vec![Differs::Xattrs]),
            (Version { size: 4, mode: Mode(0), ..file() }, vec![Differs::Content, Differs::Mode]),
        ] {
            assert_eq!(differs(&present(there, b"one")), expected, "{there:?}");
        }
        assert_eq!(differs(&present(file(), b"two")), [Differs::Content], "only the hash tells");
        let directory = Version { kind: FileKind::Directory, ..file() };
        assert_eq!(differs(&present(directory, b"")), [Differs::Kind]);
        assert_eq!(
            (differs(&Sight::Absent), differs(&Sight::Foreign)),
            (vec![Differs::Missing], vec![Differs::Kind])
        );
        let link = Version { kind: FileKind::Symlink, ..file() };
        let links = compare(&present(link, b"here"), &present(link, b"there"));
        assert_eq!(links, Verdict::Differs(vec![Differs::LinkTarget]));
    }

    #[test]
    fn what_is_not_replicated_is_nothing() {
        let there = present(file(), b"one");
        for source in [Sight::Absent, Sight::Foreign] {
            assert_eq!(compare(&source, &Sight::Absent), Verdict::Same);
            assert_eq!(compare(&source, &there), Verdict::Differs(vec![Differs::Extra]));
        }
        assert_eq!(compare(&Sight::Foreign, &Sight::Foreign), Verdict::Same);
        let unreadable = Sight::Unreadable { cause: String::new() };
        assert_eq!(compare(&unreadable, &there), Verdict::Unknown);
        assert_eq!(compare(&there, &Sight::Changing), Verdict::Changing);
    }
}
