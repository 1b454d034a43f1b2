//! Remembers by which names each file of the source is known.
//!
//! The kernel reports a write, or a change of mode, under the one name that was used; the other
//! hard links of the inode changed with it, so each has to be looked at. A second name can be
//! given at any time, so the first is remembered too; and the name that was used can be gone, or
//! another file's, when it is looked at.

use std::collections::{BTreeSet, HashMap};

use crate::model::{Inode, TreePath};

/// Names by inode. It may name too many, which costs a look, never too few of the names that
/// were looked at.
#[derive(Debug, Default)]
pub struct Links {
    names: HashMap<Inode, Names>,
    /// Names in all, the outdated ones too.
    count: usize,
    /// Inodes that had several names, by each of them.
    shared: HashMap<TreePath, Inode>,
}

#[derive(Debug, Clone)]
enum Names {
    /// Nearly all files have one, so it has no set of its own.
    One(TreePath),
    Several(BTreeSet<TreePath>),
}

impl Names {
    fn iter(&self) -> Box<dyn Iterator<Item = &TreePath> + '_> {
        match self {
            Self::One(name) => Box::new(std::iter::once(name)),
            Self::Several(names) => Box::new(names.iter()),
        }
    }
}

impl Links {
    /// Names that are remembered; some may be outdated.
    pub fn len(&self) -> usize {
        self.count + self.shared.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes that `path` names `inode`, which has `links` names in all.
    pub fn note(&mut self, inode: Inode, links: u64, path: &TreePath) {
        self.shared.remove(path);
        let before = self.names.remove(&inode);
        self.count -= before.as_ref().map_or(0, |names| names.iter().count());
        let names = match before {
            Some(before) if links > 1 => {
                let mut all: BTreeSet<TreePath> = before.iter().cloned().collect();
                all.insert(path.clone());
                self.shared.extend(all.iter().map(|name| (name.clone(), inode)));
                Names::Several(all)
            }
            _ => Names::One(path.clone()),
        };
        self.count += names.iter().count();
        self.names.insert(inode, names);
    }

    /// The other names that `inode` had when they were last seen.
    pub fn others<'a>(&'a self, inode: Inode, path: &'a TreePath) -> impl Iterator<Item = &'a TreePath> {
        self.names.get(&inode).into_iter().flat_map(Names::iter).filter(move |name| *name != path)
    }

    /// The inode that `path` led to when it was last seen, if that had several names.
    pub fn shared(&self, path: &TreePath) -> Option<Inode> {
        self.shared.get(path).copied()
    }

    /// Forgets the names that `keep` is false for.
    pub fn retain(&mut self, keep: impl Fn(&TreePath) -> bool) {
        self.shared.retain(|name, _| keep(name));
        self.names.retain(|_, names| match names {
            Names::One(name) => keep(name),
            Names::Several(all) => {
                all.retain(&keep);
                !all.is_empty()
            }
        });
        self.count = self.names.values().map(|names| names.iter().count()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_second_name_makes_the_first_one_known_as_another() {
        let (mut links, inode) = (Links::default(), Inode { device: 1, number: 7 });
        links.note(inode, 1, &path("a"));
        assert_eq!(links.others(inode, &path("a")).count(), 0);
        links.note(inode, 2, &path("b"));
        assert_eq!(links.others(inode, &path("b")).collect::<Vec<_>>(), [&path("a")]);
        assert_eq!(links.others(inode, &path("a")).collect::<Vec<_>>(), [&path("b")]);
        links.note(inode, 1, &path("b"));
        assert_eq!(links.others(inode, &path("b")).count(), 0);
    }

    #[test]
    fn what_a_shared_name_led_to_is_known_until_it_leads_elsewhere() {
        let (mut links, inode) = (Links::default(), Inode { device: 1, number: 7 });
        links.note(inode, 1, &path("a"));
        assert_eq!(links.shared(&path("a")), None);
        links.note(inode, 2, &path("b"));
        assert_eq!((links.shared(&path("a")), links.shared(&path("b"))), (Some(inode), Some(inode)));
        links.note(Inode { number: 8, ..inode }, 1, &path("b"));
        assert_eq!((links.shared(&path("a")), links.shared(&path("b"))), (Some(inode), None));
    }

    #[test]
    fn outdated_names_can_be_forgotten() {
        let (mut links, inode) = (Links::default(), Inode { device: 1, number: 7 });
        for (links_now, name) in [(1, "a"), (2, "b"), (2, "c")] {
            links.note(inode, links_now, &path(name));
        }
        links.note(Inode { number: 8, ..inode }, 1, &path("gone"));
        links.retain(|name| name.as_bytes() < b"c".as_slice());
        assert_eq!((links.others(inode, &path("b")).collect::<Vec<_>>(), links.len()), (vec![&path("a")], 4));
        assert_eq!(links.shared(&path("c")), None);
    }
}
