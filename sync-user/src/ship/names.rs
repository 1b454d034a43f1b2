//! Names users and groups to the receiver, before anything speaks of them by their numbers.

use std::collections::BTreeSet;

use nix::unistd::{Gid, Group, Uid, User};

use crate::metadata::acl;
use crate::model::{Named, Owner, Xattr};
use crate::wire::{NAME_BYTES_MAX, NAMED_MAX, ToReceiver};

/// Users and groups in one message: a quarter of a frame, even with the longest names.
const NAMED_AT_ONCE: usize = 1_000;

/// Those that were named on one connection.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: BTreeSet<u32>,
    groups: BTreeSet<u32>,
    /// Nobody is named: numbers mean the same at both ends.
    numeric: bool,
}

impl Names {
    pub(super) fn new(numeric: bool) -> Self {
        Self { numeric, ..Self::default() }
    }

    /// Messages that name the owners, as far as they are new.
    pub(super) fn of_owners(&mut self, owners: impl IntoIterator<Item = Owner>) -> Vec<ToReceiver> {
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        for Owner { user, group } in owners {
            self.user(user, &mut users);
            self.group(group, &mut groups);
        }
        messages(&users, &groups)
    }

    /// Messages that name the owner and everybody in the access control lists, as far as they
    /// are new.
    pub(super) fn of(&mut self, owner: Owner, xattrs: &[Xattr]) -> Vec<ToReceiver> {
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        self.user(owner.user, &mut users);
        self.group(owner.group, &mut groups);
        for who in xattrs.iter().flat_map(acl::named_by) {
            match who {
                acl::Who::User(id) => self.user(id, &mut users),
                acl::Who::Group(id) => self.group(id, &mut groups),
            }
        }
        messages(&users, &groups)
    }

    fn user(&mut self, id: u32, new: &mut Vec<Named>) {
        if is_new(&mut self.users, id, self.numeric) {
            let name = User::from_uid(Uid::from_raw(id)).ok().flatten().map(|user| user.name);
            new.push(named(id, name));
        }
    }

    fn group(&mut self, id: u32, new: &mut Vec<Named>) {
        if is_new(&mut self.groups, id, self.numeric) {
            let name = Group::from_gid(Gid::from_raw(id)).ok().flatten().map(|group| group.name);
            new.push(named(id, name));
        }
    }
}

fn is_new(known: &mut BTreeSet<u32>, id: u32, numeric: bool) -> bool {
    !numeric && id != Owner::LEFT && known.len() < NAMED_MAX && known.insert(id)
}

fn named(id: u32, name: Option<String>) -> Named {
    let name = name.filter(|name| name.len() <= NAME_BYTES_MAX).unwrap_or_default();
    Named { id, name: name.into_bytes() }
}

fn messages(users: &[Named], groups: &[Named]) -> Vec<ToReceiver> {
    let users = users.chunks(NAMED_AT_ONCE).map(|users| (users.to_vec(), Vec::new()));
    let groups = groups.chunks(NAMED_AT_ONCE).map(|groups| (Vec::new(), groups.to_vec()));
    users.chain(groups).map(|(users, groups)| ToReceiver::Named { users, groups }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_named_once() {
        let root = Owner { user: 0, group: 0 };
        let mut names = Names::default();
        let messages = names.of(root, &[]);
        let name = |id| Named { id, name: b"root".to_vec() };
        let expected = [
            ToReceiver::Named { users: vec![name(0)], groups: vec![] },
            ToReceiver::Named { users: vec![], groups: vec![name(0)] },
        ];
        assert_eq!(messages, expected);
        assert_eq!(names.of_owners([root, Owner::NOBODY]), []);
        assert_eq!(Names::new(true).of(root, &[]), []);
    }
}
