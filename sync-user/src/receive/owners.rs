//! Knows users and groups of the source by the numbers that they have here.
//!
//! The names here are those of `/etc/passwd` and `/etc/group`: a static program cannot ask
//! anything else. Who has no name on either side goes by the number.

use std::collections::HashMap;
use std::fs;

use crate::metadata::acl::Who;
use crate::model::{Named, Owner};
use crate::wire::{NAME_BYTES_MAX, NAMED_MAX};

/// Users and groups that the source has named.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    users: Numbers,
    groups: Numbers,
    names: Option<(Table, Table)>,
}

/// Numbers by name, of this machine.
type Table = HashMap<Vec<u8>, u32>;

/// Numbers of the source and their numbers here.
#[derive(Debug, Clone, Default)]
struct Numbers {
    here: HashMap<u32, u32>,
    /// The other way round; of several that are the same here, the first.
    source: HashMap<u32, u32>,
}

impl Owners {
    /// Learns names. Those past the bound go by their number.
    pub(super) fn learn(&mut self, users: &[Named], groups: &[Named]) {
        let (passwd, group) = self.names.get_or_insert_with(|| {
            let read = |path| table(&fs::read(path).unwrap_or_default());
            (read("/etc/passwd"), read("/etc/group"))
        });
        self.users.learn(users, passwd);
        self.groups.learn(groups, group);
    }

    /// The owner by this machine's numbers.
    pub(super) fn here(&self, Owner { user, group }: Owner) -> Owner {
        Owner { user: self.users.here(user), group: self.groups.here(group) }
    }

    /// The owner by the source's numbers.
    pub(super) fn at_source(&self, Owner { user, group }: Owner) -> Owner {
        Owner { user: self.users.at_source(user), group: self.groups.at_source(group) }
    }

    /// Somebody in an access control list, by this machine's numbers.
    pub(super) fn named_here(&self, who: Who) -> u32 {
        match who {
            Who::User(id) => self.users.here(id),
            Who::Group(id) => self.groups.here(id),
        }
    }

    /// Somebody in an access control list, by the source's numbers.
    pub(super) fn named_at_source(&self, who: Who) -> u32 {
        match who {
            Who::User(id) => self.users.at_source(id),
            Who::Group(id) => self.groups.at_source(id),
        }
    }
}

impl Numbers {
    fn learn(&mut self, all: &[Named], table: &Table) {
        for Named { id, name } in all {
            if self.here.len() >= NAMED_MAX || name.len() > NAME_BYTES_MAX || *id == Owner::LEFT {
                continue;
            }
            let here = table.get(name).copied().unwrap_or(*id);
            self.here.insert(*id, here);
            self.source.entry(here).or_insert(*id);
        }
    }

    fn here(&self, source: u32) -> u32 {
        self.here.get(&source).copied().unwrap_or(source)
    }

    fn at_source(&self, here: u32) -> u32 {
        match self.source.get(&here) {
            Some(source) => *source,
            // The number means somebody else at the source.
            None if self.here.contains_key(&here) => Owner::FOREIGN,
            None => here,
        }
    }
}

/// Names with their numbers from lines like `name:password:number:…`.
fn table(text: &[u8]) -> Table {
    let line = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        let id = str::from_utf8(id).ok()?.parse().ok()?;
        (!name.is_empty()).then(|| (name.to_vec(), id))
    };
    let mut table = Table::new();
    for (name, id) in text.split(|byte| *byte == b'\n').filter_map(line) {
        // Of several lines the first counts, as for `getpwnam`.
        table.entry(name).or_insert(id);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(passwd: &str, named: &[(u32, &str)]) -> Numbers {
        let named: Vec<Named> =
            named.iter().map(|(id, name)| Named { id: *id, name: name.as_bytes().to_vec() }).collect();
        let mut numbers = Numbers::default();
        numbers.learn(&named, &table(passwd.as_bytes()));
        numbers
    }

    #[test]
    fn names_count_before_numbers() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken line\n:x:7:\nweb:x:33:33::/:\nweb:x:44:44::/:\nbob:x:1000:\n";
        let numbers = numbers(passwd, &[(0, "root"), (1000, "web"), (1001, "nobody-here"), (5, "")]);
        for (source, here) in [(0, 0), (1000, 33), (1001, 1001), (5, 5), (77, 77), (Owner::LEFT, Owner::LEFT)]
        {
            assert_eq!(numbers.here(source), here);
            assert_eq!(numbers.at_source(here), source);
        }
        // 1000 is another one here, whom the source has not named.
        assert_eq!(numbers.at_source(1000), Owner::FOREIGN);
    }

    #[test]
    fn without_names_numbers_are_the_same() {
        let owners = Owners::default();
        let owner = Owner { user: 1, group: 2 };
        assert_eq!((owners.here(owner), owners.at_source(owner)), (owner, owner));
        assert_eq!(owners.named_here(Who::User(3)), 3);
    }
}
