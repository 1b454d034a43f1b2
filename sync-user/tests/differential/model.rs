//! Predicts the tree in memory: what the operations mean, whatever the file system does.

use std::collections::{BTreeMap, HashMap};

use crate::operation::{Allocation, Operation, Renaming};
use crate::perform::{BLOCK, noise, text};

/// What stands before names outside of the root.
const OUTSIDE: &str = "//";

/// A tree that exists only here.
#[derive(Debug, Default)]
pub(crate) struct Model {
    names: BTreeMap<String, usize>,
    nodes: Vec<Node>,
    held: HashMap<(u8, u8), usize>,
}

/// What a name leads to, as far as the model knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) content: Vec<u8>,
    /// 0 for links, which have none of their own.
    pub(crate) mode: u32,
    pub(crate) group: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    Symlink,
    Special,
}

impl Model {
    /// Every path below the root.
    pub(crate) fn tree(&self) -> BTreeMap<&str, &Node> {
        let inside = self.names.iter().filter(|(name, _)| !name.starts_with(OUTSIDE));
        inside.map(|(name, node)| (name.as_str(), &self.nodes[*node])).collect()
    }

    pub(crate) fn release_all(&mut self) {
        self.held.clear();
    }

    /// Follows an operation that the file system has carried out.
    pub(crate) fn follow(&mut self, process: u8, operation: &Operation, stamp: u32) {
        use Operation as O;
        match operation {
            O::Write { at, bytes } => {
                if !self.names.contains_key(at) {
                    self.create(at, Kind::File, 0o644);
                }
                *self.content(at) = text(stamp, usize::from(*bytes));
            }
            O::Append { at } => self.content(at).extend(text(stamp, 17)),
            O::Enlarge { at } => self.content(at).extend(noise(stamp)),
            O::Overwrite { at, offset, .. } => {
                overwrite(self.content(at), usize::from(*offset), &text(stamp, 13));
            }
            O::Truncate { at, size } => self.content(at).resize(usize::from(*size), 0),
            O::Empty { at } => self.content(at).clear(),
            O::Allocate { at, how } => allocate(self.content(at), *how),
            // What the target has beyond stays, of a clone too.
            O::Copy { from, to, by: _ } => {
                let source = self.content(from).clone();
                overwrite(self.content(to), 0, &source);
            }
            O::Uring { at } | O::Async { at } => overwrite(self.content(at), 0, &text(stamp, 11)),
            O::Map { at } => overwrite(self.content(at), 0, &text(stamp, 7)),
            O::ByHandle { at } => overwrite(self.content(at), 0, &text(stamp, 15)),
            O::Temporary { at } => {
                self.create(at, Kind::File, 0o644);
                *self.content(at) = [text(stamp, 20), text(stamp, 20)].concat();
            }
            O::Special { at, .. } => self.create(at, Kind::Special, 0o644),
            O::Symlink { at } => self.create(at, Kind::Symlink, 0),
            O::MakeDirectory { at } => self.create(at, Kind::Directory, 0o755),
            O::Rename { from, to, how } => self.rename(from, to, *how),
            O::MoveOut { at, to } => self.rename(at, &outside(to), Renaming::Plain),
            O::MoveIn { from, at } => self.rename(&outside(from), at, Renaming::Plain),
            O::Link { from, to } => {
                let node = self.names[from];
                self.names.insert(to.clone(), node);
            }
            O::LinkOut { at, to } => {
                let node = self.names[at];
                self.names.insert(outside(to), node);
            }
            O::LinkIn { from, at } => {
                let node = self.names[&outside(from)];
                self.names.insert(at.clone(), node);
            }
            O::WriteOutside { to } => {
                if !self.names.contains_key(&outside(to)) {
                    self.create(&outside(to), Kind::File, 0o644);
                }
                *self.content(&outside(to)) = text(stamp, 29);
            }
            O::UnlinkOutside { to } => {
                self.names.remove(&outside(to));
            }
            O::HoldOutside { slot, to } => {
                self.held.insert((process, *slot), self.names[&outside(to)]);
            }
            O::AppendOutside { to } => self.content(&outside(to)).extend(text(stamp, 19)),
            O::ModeOutside { to, mode } => self.node(&outside(to)).mode = u32::from(*mode),
            O::Mode { at, mode } => self.node(at).mode = u32::from(*mode),
            O::Owner { at, group } => self.node(at).group = u32::from(*group),
            O::Acl { at, group } => self.node(at).mode = 0o606 | u32::from(*group) << 3,
            O::Times { .. } | O::SetAttribute { .. } | O::RemoveAttribute { .. } => {}
            O::Unlink { at } | O::RemoveDirectory { at } => {
                self.names.remove(at);
            }
            O::RemoveTree { at } => drop(self.take(at)),
            O::Hold { slot, at } => {
                self.held.insert((process, *slot), self.names[at]);
            }
            O::WriteHeld { slot } => self.held(process, *slot, &text(stamp, 9)),
            O::StoreHeld { slot } => self.held(process, *slot, &text(stamp, 7)),
            O::Release { slot } => {
                self.held.remove(&(process, *slot));
            }
        }
    }

    fn create(&mut self, at: &str, kind: Kind, mode: u32) {
        self.nodes.push(Node { kind, content: Vec::new(), mode, group: 0 });
        self.names.insert(at.to_owned(), self.nodes.len() - 1);
    }

    fn node(&mut self, at: &str) -> &mut Node {
        &mut self.nodes[self.names[at]]
    }

    fn content(&mut self, at: &str) -> &mut Vec<u8> {
        &mut self.node(at).content
    }

    fn held(&mut self, process: u8, slot: u8, bytes: &[u8]) {
        let node = self.held[&(process, slot)];
        overwrite(&mut self.nodes[node].content, 0, bytes);
    }

    fn rename(&mut self, from: &str, to: &str, how: Renaming) {
        // Two names of one file stay as they are, and so does a name renamed to itself.
        if self.names.get(from) == self.names.get(to) {
            return;
        }
        let (moved, replaced) = (self.take(from), self.take(to));
        self.names.extend(moved.into_iter().map(|(below, node)| (format!("{to}{below}"), node)));
        match how {
            Renaming::Exchange => {
                self.names.extend(replaced.into_iter().map(|(below, node)| (format!("{from}{below}"), node)));
            }
            Renaming::Whiteout => self.create(from, Kind::Special, 0),
            Renaming::Plain | Renaming::NoReplace => {}
        }
    }

    /// Takes out `top` and all below it, by what follows after `top`.
    fn take(&mut self, top: &str) -> Vec<(String, usize)> {
        let below = format!("{top}/");
        let taken = self.names.extract_if(.., |name, _| name == top || name.starts_with(&below));
        taken.map(|(name, node)| (name[top.len()..].to_owned(), node)).collect()
    }
}

/// How a name outside of the root stands in the model.
fn outside(name: &str) -> String {
    format!("{OUTSIDE}{name}")
}

fn overwrite(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}

fn allocate(content: &mut Vec<u8>, how: Allocation) {
    let block = BLOCK as usize;
    match how {
        Allocation::KeepSize => {}
        Allocation::Extend => content.resize(content.len().max(block), 0),
        Allocation::PunchHole => {
            let end = content.len().min(block);
            content[..end].fill(0);
        }
        Allocation::ZeroRange => {
            content.resize(content.len().max(block), 0);
            content[..block].fill(0);
        }
        Allocation::CollapseRange => {
            content.drain(..block);
        }
        Allocation::InsertRange => {
            content.splice(..0, vec![0; block]);
        }
    }
}
