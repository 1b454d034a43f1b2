//! Knows the target's root, and looks at paths before anything is done there.
//!
//! Nothing of ours runs at the target, so there is no descriptor to hold on to. Instead each step looks
//! at its path and at every directory above, and acts at once when all is as it has to be: what
//! appears in between, within a round trip, is not seen (docs/security.md).

use std::cell::Cell;

use super::attributes::{Attributes, whole_seconds};
use super::client::{Answer, Client};
use super::failure::Failure;
use super::packet::{Request, Status};
use crate::home;
use crate::metadata::is_acl;
use crate::model::{
    Aspect, Durability, Expected, FileKind, Lack, Met, Owner, PathError, Preserve, Refusal, There, TreePath,
    Version,
};
use crate::wire;

/// What a server can besides SFTP version 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Abilities {
    pub(super) replaces: bool,
    pub(super) links: bool,
    pub(super) syncs: bool,
    /// It sets attributes of symbolic links.
    pub(super) sets_links: bool,
    pub(super) tells_file_system: bool,
}

impl Abilities {
    pub(super) fn of(extensions: &[Vec<u8>]) -> Self {
        let has = |name: &str| extensions.iter().any(|extension| extension == name.as_bytes());
        Self {
            replaces: has("posix-rename@openssh.com"),
            links: has("hardlink@openssh.com"),
            syncs: has("fsync@openssh.com"),
            sets_links: has("lsetstat@openssh.com"),
            tells_file_system: has("statvfs@openssh.com"),
        }
    }
}

/// The root of a target, and what holds for all steps.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) client: Client,
    /// The whole name of the root.
    pub(super) root: Vec<u8>,
    /// This connection's own directory in `.ksyncd`.
    pub(super) stage: Vec<u8>,
    pub(super) preserve: Preserve,
    pub(super) durability: Durability,
    /// Whom new files belong to.
    pub(super) user: u32,
    pub(super) group: u32,
    pub(super) can: Abilities,
    /// Whether attributes of files can be set without following links. In a root without `/proc` the
    /// C library cannot.
    pub(super) sets_here: bool,
    pub(super) count: Cell<u64>,
}

/// Looks that are on their way.
#[derive(Debug)]
pub(super) struct Looking {
    stage: Answer,
    above: Vec<(TreePath, Answer)>,
    paths: Vec<Answer>,
}

/// Attributes that are being set.
#[derive(Debug)]
pub(super) struct Dressing {
    owner: Option<(Aspect, Answer)>,
    rest: Option<Answer>,
    lacks: Vec<Lack>,
}

/// What is to get attributes.
#[derive(Debug, Clone, Copy)]
pub(super) enum On<'a> {
    Handle(&'a [u8]),
    Path(&'a [u8]),
}

impl Site {
    /// A path that a step names: inside the root, and not our own.
    pub(super) fn path(bytes: &[u8]) -> Result<TreePath, Failure> {
        let path = Self::path_or_root(bytes)?;
        if path.is_root() { Err(Failure::from(PathError::Component)) } else { Ok(path) }
    }

    /// The same, but it may be the root itself.
    pub(super) fn path_or_root(bytes: &[u8]) -> Result<TreePath, Failure> {
        let path = TreePath::new(bytes)?;
        if path.components().next() == Some(home::NAME.as_bytes()) {
            return Err(Failure::new(
                Refusal::Forbidden,
                format!("\"{}\" is the receiver's own", home::NAME),
            ));
        }
        Ok(path)
    }

    /// The whole name of a path.
    pub(super) fn at(&self, path: &TreePath) -> Vec<u8> {
        below(&self.root, path.as_bytes())
    }

    /// A name in the stage that nothing had before.
    pub(super) fn new_name(&self) -> Vec<u8> {
        self.count.set(self.count.get() + 1);
        below(&self.stage, self.count.get().to_string().as_bytes())
    }

    /// Begins to look at paths, and at every directory above.
    pub(super) fn look(&self, paths: &[&TreePath]) -> Looking {
        let stage = self.client.send(&Request::LookAt(&self.stage));
        let mut above: Vec<TreePath> =
            paths.iter().flat_map(|path| path.above()).filter(|above| !above.is_root()).collect();
        above.sort_unstable();
        above.dedup();
        let look = |path: &TreePath| self.client.send(&Request::LookAt(&self.at(path)));
        let above = above.into_iter().map(|above| (above.clone(), look(&above))).collect();
        Looking { stage, above, paths: paths.iter().map(|path| look(path)).collect() }
    }

    pub(super) async fn look_at(&self, path: &TreePath) -> Result<(There, Attributes), Failure> {
        self.look(&[path]).one().await
    }

    /// Whether `there` is what a step expects. Where times of links cannot be set they tell nothing.
    pub(super) fn admits(&self, expects: &Expected, there: &There) -> bool {
        if let (false, Expected::This(expected), There::Version(now)) = (self.can.sets_links, expects, there)
            && (expected.kind, now.kind) == (FileKind::Symlink, FileKind::Symlink)
        {
            return expected.size == now.size;
        }
        expects.admits(there)
    }

    /// What a step that goes on in any case has met.
    pub(super) fn met(&self, there: There, expects: &Expected) -> Met {
        if self.admits(expects, &there) { Met::Expected } else { Met::Other(there) }
    }

    pub(super) fn require(&self, path: &TreePath, there: There, expects: &Expected) -> Result<(), Failure> {
        if self.admits(expects, &there) {
            return Ok(());
        }
        Err(Failure::found(path, there, expects.unlike(&there)))
    }

    /// Begins to set attributes; `had` is whom it belongs to. The order matters: a change of owner takes
    /// set-user-id away.
    pub(super) fn dress(
        &self,
        on: On<'_>,
        kind: FileKind,
        had: (u32, u32),
        wanted: &wire::Attributes,
    ) -> Result<Dressing, Failure> {
        let is_timed = kind != FileKind::Directory || self.preserve.directory_times;
        let mtime = if is_timed { Some(seconds(wanted.mtime)?) } else { None };
        let lacks = lacks(wanted);
        // Through a link what it leads to would be changed.
        if kind == FileKind::Symlink && !self.can.sets_links {
            return Ok(Dressing { owner: None, rest: None, lacks });
        }
        let id = |is_kept: bool, id: u32, had: u32| {
            if is_kept && id != Owner::LEFT && id != Owner::FOREIGN { id } else { had }
        };
        let user = id(self.preserve.owner && self.user == 0, wanted.owner.user, had.0);
        let group = id(self.preserve.group, wanted.owner.group, had.1);
        let aspect = if user == had.0 { Aspect::Group } else { Aspect::Owner };
        let owner = ((user, group) != had).then(|| {
            let attributes = Attributes { owner: Some((user, group)), ..Attributes::default() };
            (aspect, self.set(on, kind, attributes))
        });
        let mode = (kind != FileKind::Symlink).then(|| u32::from(wanted.mode.0 & 0o7777));
        let rest = self.set(on, kind, Attributes { mode, mtime, ..Attributes::default() });
        Ok(Dressing { owner, rest: Some(rest), lacks })
    }

    pub(super) fn set(&self, on: On<'_>, kind: FileKind, attributes: Attributes) -> Answer {
        self.client.send(&match on {
            On::Handle(handle) => Request::SetOnHandle { handle, attributes },
            On::Path(path) if self.sets_here || kind == FileKind::Symlink => {
                Request::SetHere { path, attributes }
            }
            On::Path(path) => Request::Set { path, attributes },
        })
    }

    /// An entry's version by the source's numbers of owners, as far as this user can set them.
    pub(super) fn listed(&self, attributes: &Attributes) -> Option<Version> {
        let version = attributes.version()?;
        let is_timed = version.kind != FileKind::Directory || self.preserve.directory_times;
        let mtime = if is_timed { version.mtime } else { crate::model::Time::UNKNOWN };
        let (user, group) = attributes.owner.unwrap_or((Owner::LEFT, Owner::LEFT));
        let owner = Owner {
            user: if self.preserve.owner && self.user == 0 { user } else { Owner::LEFT },
            group: if self.preserve.group { group } else { Owner::LEFT },
        };
        Some(Version { mtime, owner, ..version })
    }
}

impl Looking {
    /// What is at each path. The stage has to be there: else the root is not the one that it was, or
    /// another connection of this source has taken over.
    pub(super) async fn all(self) -> Result<Vec<(There, Attributes)>, Failure> {
        match self.stage.attributes().await {
            Ok(attributes) if attributes.is_directory() => {}
            _ => return Err(Failure::Ends("the target's root is not what it was".to_owned())),
        }
        for (path, answer) in self.above {
            match answer.attributes().await {
                Ok(attributes) if attributes.is_directory() => {}
                Err(status) if status.code != Status::NO_SUCH_FILE => {
                    return Err(Failure::of("examine its directory", &status));
                }
                _ => {
                    let detail = format!("the directory \"{path}\" is not there");
                    return Err(Failure::new(Refusal::NoParent, detail));
                }
            }
        }
        let mut found = Vec::new();
        for answer in self.paths {
            found.push(match answer.attributes().await {
                Ok(attributes) => (attributes.there(), attributes),
                Err(status) if status.code == Status::NO_SUCH_FILE => (There::Nothing, Attributes::default()),
                Err(status) => return Err(Failure::of("examine it", &status)),
            });
        }
        Ok(found)
    }

    /// What is at the only path.
    pub(super) async fn one(self) -> Result<(There, Attributes), Failure> {
        let mut found = self.all().await?;
        found.pop().ok_or_else(|| Failure::Ends("nothing was looked at".to_owned()))
    }
}

impl Dressing {
    pub(super) async fn done(self) -> Result<Vec<Lack>, Failure> {
        let mut lacks = self.lacks;
        if let Some((aspect, answer)) = self.owner
            && let Err(status) = answer.done().await
        {
            let cause = super::failure::cause(&status);
            lacks.push(Lack { aspect, detail: format!("set its {aspect}: {cause}") });
        }
        if let Some(answer) = self.rest {
            answer.done().await.map_err(|status| Failure::of("set its mode and time", &status))?;
        }
        Ok(lacks)
    }
}

/// Whole names are joined by a slash.
pub(super) fn below(directory: &[u8], name: &[u8]) -> Vec<u8> {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    match name {
        b"" if directory.is_empty() => b"/".to_vec(),
        b"" => directory.to_vec(),
        name => [directory, b"/", name].concat(),
    }
}

/// A time as SFTP can set it.
pub(super) fn seconds(time: crate::model::Time) -> Result<u32, Failure> {
    whole_seconds(time)
        .ok_or_else(|| Failure::new(Refusal::Failed, "SFTP knows only times from 1970 to 2106"))
}

/// What SFTP cannot set at all.
fn lacks(wanted: &wire::Attributes) -> Vec<Lack> {
    let lack = |acls: bool, aspect: Aspect| {
        let has = wanted.xattrs.iter().any(|xattr| is_acl(&xattr.name) == acls);
        has.then(|| Lack { aspect, detail: format!("set {aspect}: SFTP has none") })
    };
    lack(false, Aspect::Xattrs).into_iter().chain(lack(true, Aspect::Acls)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Mode, Time, XattrHash};

    fn site(can: Abilities) -> Site {
        Site {
            client: Client::default(),
            root: b"/srv".to_vec(),
            stage: b"/srv/.ksyncd/sftp".to_vec(),
            preserve: Preserve::ALL,
            durability: Durability::None,
            user: 1000,
            group: 100,
            can,
            sets_here: false,
            count: Cell::new(0),
        }
    }

    #[test]
    fn paths_stay_inside_the_root_and_out_of_the_stage() {
        let site = site(Abilities::default());
        assert_eq!(site.at(&Site::path(b"a/b").unwrap()), b"/srv/a/b");
        assert_eq!(site.at(&Site::path_or_root(b"").unwrap()), b"/srv");
        assert_eq!(below(b"/", b"a"), b"/a");
        for bad in [&b""[..], b"..", b"a/../b", b"/a", b".ksyncd", b".ksyncd/id"] {
            assert!(Site::path(bad).is_err(), "{bad:?}");
        }
        assert_ne!(site.new_name(), site.new_name());
    }

    #[test]
    fn a_link_whose_time_cannot_be_set_is_known_by_its_length() {
        let version = |seconds| Version {
            kind: FileKind::Symlink,
            size: 3,
            mtime: Time { seconds, nanoseconds: 0 },
            mode: Mode(0),
            owner: Owner::NOBODY,
            xattrs: XattrHash::NONE,
        };
        let (expects, there) = (Expected::This(version(1)), There::Version(version(2)));
        assert!(site(Abilities::default()).admits(&expects, &there));
        let sets = Abilities { sets_links: true, ..Abilities::default() };
        assert!(!site(sets).admits(&expects, &there));
        let path = TreePath::new(b"l").unwrap();
        assert!(matches!(
            site(sets).require(&path, there, &expects),
            Err(Failure::Refused { refusal: Refusal::Unexpected, found: Some(_), .. })
        ));
    }
}
