//! Reads all that a tree holds, and says where two readings differ.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use sync_user::model::TreePath;

use crate::model::{Kind, Model, Node};

/// A tree at one moment.
pub(crate) type Snapshot = BTreeMap<TreePath, State>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    node: Node,
    inode: u64,
    owner: u32,
    device: u64,
    /// Of a directory it changes with its entries, which have events of their own.
    mtime: Option<(i64, i64)>,
    destination: Option<PathBuf>,
    attributes: BTreeMap<OsString, Vec<u8>>,
}

pub(crate) fn take(root: &Path) -> io::Result<Snapshot> {
    let mut tree = Snapshot::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let path = directory.join(entry?.file_name());
            let state = state(&root.join(&path))?;
            if state.node.kind == Kind::Directory {
                waiting.push(path.clone());
            }
            tree.insert(TreePath::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?, state);
        }
    }
    Ok(tree)
}

fn state(path: &Path) -> io::Result<State> {
    let metadata = fs::symlink_metadata(path)?;
    let type_of = metadata.file_type();
    let special = type_of.is_fifo() || type_of.is_socket() || type_of.is_char_device();
    let kind = match () {
        () if type_of.is_dir() => Kind::Directory,
        () if type_of.is_symlink() => Kind::Symlink,
        () if special => Kind::Special,
        () => Kind::File,
    };
    Ok(State {
        node: Node {
            kind,
            content: if kind == Kind::File { fs::read(path)? } else { Vec::new() },
            mode: if kind == Kind::Symlink { 0 } else { metadata.mode() & 0o7777 },
            group: metadata.gid(),
        },
        inode: metadata.ino(),
        owner: metadata.uid(),
        device: metadata.rdev(),
        mtime: (kind != Kind::Directory).then(|| (metadata.mtime(), metadata.mtime_nsec())),
        destination: (kind == Kind::Symlink).then(|| fs::read_link(path)).transpose()?,
        attributes: attributes(path),
    })
}

/// None where the file system has none.
fn attributes(path: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let mut names = [0_u8; 1024];
    let count = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let names = names[..count].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let (name, mut value) = (std::ffi::OsStr::from_bytes(name), [0_u8; 256]);
            let count = rustix::fs::lgetxattr(path, name, &mut value).unwrap_or(0);
            (name.to_owned(), value[..count].to_vec())
        })
        .collect()
}

/// What is to be told of a path whose state is another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// The inode that it leads to still, and all its names: a file has changed under one of
    /// them. `None` for a name that came or went, or leads to another file: it is told itself.
    pub(crate) same: Option<(u64, BTreeSet<TreePath>)>,
    /// Whether nothing is there any more.
    pub(crate) gone: bool,
}

/// Every path whose state is another.
pub(crate) fn changed(before: &Snapshot, after: &Snapshot) -> BTreeMap<TreePath, Changed> {
    let paths: BTreeSet<&TreePath> = before.keys().chain(after.keys()).collect();
    let other = |path: &&TreePath| before.get(*path) != after.get(*path);
    let same = |path: &TreePath| {
        let (one, other) = (before.get(path)?.inode, after.get(path)?.inode);
        let all = before.iter().chain(after).filter(|(_, state)| state.inode == one);
        (one == other).then(|| (one, all.map(|(path, _)| path.clone()).collect()))
    };
    let changed = |path: &TreePath| Changed { same: same(path), gone: !after.contains_key(path) };
    paths.into_iter().filter(other).map(|path| (path.clone(), changed(path))).collect()
}

/// The names that lead to one of `inodes`.
pub(crate) fn names(snapshot: &Snapshot, inodes: &BTreeSet<u64>) -> BTreeSet<TreePath> {
    let named = snapshot.iter().filter(|(_, state)| inodes.contains(&state.inode));
    named.map(|(path, _)| path.clone()).collect()
}

/// The first path at which the model is wrong.
pub(crate) fn against(model: &Model, actual: &Snapshot) -> Option<String> {
    let predicted = model.tree();
    let told = |node: Option<&Node>| {
        node.map_or("nothing".to_owned(), |node| {
            format!(
                "{:?} of {} bytes, mode {:o}, group {}",
                node.kind,
                node.content.len(),
                node.mode,
                node.group
            )
        })
    };
    let paths: BTreeSet<String> =
        predicted.keys().map(ToString::to_string).chain(actual.keys().map(ToString::to_string)).collect();
    paths.into_iter().find_map(|path| {
        let predicted = predicted.get(path.as_str()).copied();
        let actual = TreePath::new(path.as_bytes()).ok().and_then(|path| Some(&actual.get(&path)?.node));
        (predicted != actual)
            .then(|| format!("{path}: the model has {}, the file system {}", told(predicted), told(actual)))
    })
}
