//! Gives an entry its owner, mode, extended attributes and time.
//!
//! The order matters: a change of owner takes set-user-id and capabilities away, an access
//! control list comes to rest on the mode, and all of them leave the modification time alone.
//! What this user may not set, or this file system cannot keep, is told and does not fail the
//! step; what is not preserved is not touched.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Gid, Uid};
use rustix::io::Errno;

use super::attributes::{set_mode, times, version};
use super::failure::Failure;
use super::owners::Owners;
use crate::metadata::{XattrPlace, acl, is_acl, is_replicated};
use crate::model::{Aspect, FileKind, Lack, Owner, Preserve, Refusal, Time, Xattr, XattrHash};
use crate::wire::Attributes;

/// `XATTR_NAME_MAX` and `XATTR_SIZE_MAX` (`limits.h`).
const NAME_BYTES_MAX: usize = 255;
const VALUE_BYTES_MAX: usize = 64 << 10;

/// As much of an attribute's name as is told in a message.
const SHOWN_BYTES_MAX: usize = 64;

/// What is set of the attributes that the source sends, and what they mean here.
#[derive(Debug, Clone)]
pub(super) struct Dress {
    pub(super) preserve: Preserve,
    pub(super) owners: Owners,
    /// Only root may give files away; others leave them as they are.
    pub(super) is_root: bool,
}

impl Dress {
    pub(super) fn new(preserve: Preserve) -> Self {
        Self { preserve, owners: Owners::default(), is_root: nix::unistd::geteuid().is_root() }
    }

    /// Refuses attributes that no source sends. Nothing is changed before this was asked.
    pub(super) fn check(&self, wanted: &Attributes) -> Result<(), Failure> {
        for Xattr { name, value } in &wanted.xattrs {
            let is_fine = is_replicated(name, self.preserve)
                && name.len() <= NAME_BYTES_MAX
                && !name.contains(&0)
                && value.len() <= VALUE_BYTES_MAX;
            if !is_fine {
                let detail = format!("the attribute {} is not to be set", shown(name));
                return Err(Failure::new(Refusal::Forbidden, detail));
            }
        }
        Ok(())
    }

    /// Makes `entry` what `wanted` says, and tells what could not be set. One that `is_new` has
    /// no extended attributes yet.
    pub(super) fn put_on(
        &self,
        entry: BorrowedFd<'_>,
        is_new: bool,
        wanted: &Attributes,
    ) -> Result<Vec<Lack>, Failure> {
        let stat = rustix::fs::fstat(entry).map_err(|error| Failure::of("examine it", error))?;
        let kind = version(&stat)
            .map(|version| version.kind)
            .ok_or_else(|| Failure::unexpected("it is of a kind that is not replicated"))?;
        let mut lacks = Vec::new();
        let had = Owner { user: stat.st_uid, group: stat.st_gid };
        let has_new_owner = self.own(entry, had, wanted.owner, &mut lacks)?;
        if kind != FileKind::Symlink
            && (has_new_owner || stat.st_mode & 0o7777 != u32::from(wanted.mode.0 & 0o7777))
        {
            set_mode(entry, wanted.mode).map_err(|error| Failure::of("set its mode", error))?;
        }
        if self.preserve.any_xattr() && !(is_new && wanted.xattrs.is_empty()) {
            self.set_xattrs(entry, &wanted.xattrs, &mut lacks)?;
        }
        if kind != FileKind::Directory || self.preserve.directory_times {
            set_times(entry, wanted.mtime)?;
        }
        Ok(lacks)
    }

    /// Gives the entry away, and says whether anything changed.
    fn own(
        &self,
        entry: BorrowedFd<'_>,
        had: Owner,
        wanted: Owner,
        lacks: &mut Vec<Lack>,
    ) -> Result<bool, Failure> {
        let Owner { user, group } = self.owners.here(wanted);
        let wants = |preserved: bool, id: u32, had: u32| {
            (preserved && id != Owner::LEFT && id != Owner::FOREIGN && id != had).then_some(id)
        };
        let user = wants(self.preserve.owner && self.is_root, user, had.user).map(Uid::from_raw);
        let group = wants(self.preserve.group, group, had.group).map(Gid::from_raw);
        let chown = |user, group| rustix::fs::chownat(entry, "", user, group, AtFlags::EMPTY_PATH);
        let mut changed = false;
        for (aspect, user, group) in [(Aspect::Owner, user, None), (Aspect::Group, None, group)] {
            if user.is_none() && group.is_none() {
                continue;
            }
            match chown(user, group) {
                Ok(()) => changed = true,
                // Not a member of that group, or nobody has that number in this user namespace.
                Err(error @ (Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOTSUP)) => {
                    lacks.push(Lack { aspect, detail: format!("set its {aspect}: {error}") });
                }
                Err(error) => return Err(Failure::of("set its owner", error)),
            }
        }
        Ok(changed)
    }

    fn set_xattrs(
        &self,
        entry: BorrowedFd<'_>,
        wanted: &[Xattr],
        lacks: &mut Vec<Lack>,
    ) -> Result<(), Failure> {
        let place = XattrPlace::of(entry);
        let names = match place.names(self.preserve) {
            Ok(names) => names,
            Err(error) => return Err(Failure::of("list its extended attributes", error)),
        };
        let mut lack = |name: &[u8], error: Errno| {
            let aspect = if is_acl(name) { Aspect::Acls } else { Aspect::Xattrs };
            // One of each kind tells enough.
            if !lacks.iter().any(|lack| lack.aspect == aspect) {
                lacks.push(Lack { aspect, detail: format!("set {}: {error}", shown(name)) });
            }
        };
        for name in names.iter().filter(|name| !wanted.iter().any(|xattr| xattr.name == **name)) {
            if let Err(error) = place.remove(name) {
                lack(name, error);
            }
        }
        for xattr in wanted {
            let xattr = self.here(xattr);
            let has = names.contains(&xattr.name)
                && place.value(&xattr.name).is_ok_and(|value| value == xattr.value);
            if !has && let Err(error) = place.set(&xattr) {
                lack(&xattr.name, error);
            }
        }
        Ok(())
    }

    /// What the extended attributes of an entry here are by the source's numbers, as a hash.
    pub(super) fn xattrs_at_source(&self, place: &XattrPlace) -> Result<XattrHash, Errno> {
        let mut xattrs = place.read(self.preserve)?;
        for xattr in xattrs.iter_mut().filter(|xattr| is_acl(&xattr.name)) {
            let translated = acl::translate(&xattr.value, |who| self.owners.named_at_source(who));
            if let Some(value) = translated {
                xattr.value = value;
            }
        }
        Ok(XattrHash::of(&xattrs))
    }

    /// The extended attribute with this machine's numbers, if it has any.
    fn here(&self, xattr: &Xattr) -> Xattr {
        let translated = is_acl(&xattr.name)
            .then(|| acl::translate(&xattr.value, |who| self.owners.named_here(who)))
            .flatten();
        Xattr { name: xattr.name.clone(), value: translated.unwrap_or_else(|| xattr.value.clone()) }
    }

    /// An owner here by the source's numbers, as far as this receiver can set it.
    pub(super) fn owner_at_source(&self, owner: Owner) -> Owner {
        let Owner { user, group } = self.owners.at_source(owner);
        Owner {
            user: if self.preserve.owner && self.is_root { user } else { Owner::LEFT },
            group: if self.preserve.group { group } else { Owner::LEFT },
        }
    }
}

/// A name for people, and no longer than a receipt has room for.
fn shown(name: &[u8]) -> String {
    name[..name.len().min(SHOWN_BYTES_MAX)].escape_ascii().to_string()
}

pub(super) fn set_times(entry: impl AsFd, mtime: Time) -> Result<(), Failure> {
    rustix::fs::utimensat(entry, "", &times(mtime), AtFlags::EMPTY_PATH)
        .map_err(|error| Failure::of("set its time", error))
}
