//! Compares two trees as a person would want them equal: names, kinds, content, owners, modes,
//! times, and which names are hard links of each other.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::home;

/// What an entry is, as far as replicas have to agree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Directory { attributes: Attributes },
    File { attributes: Attributes, content: blake3::Hash, size: u64, inode: Inode },
    Symlink { destination: PathBuf, owner: (u32, u32) },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attributes {
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Inode {
    /// With its device, until all names are known.
    Number(u64, u64),
    /// The first name that it has in the tree.
    FirstName(PathBuf),
}

/// One path in which two trees differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub path: PathBuf,
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.what)
    }
}

/// Every path in which the trees differ. Fifos, sockets and devices are left out, as they are
/// not replicated.
pub fn differences(source: &Path, target: &Path) -> io::Result<Vec<Difference>> {
    let (source, target) = (read(source)?, read(target)?);
    let mut differences = Vec::new();
    for (path, entry) in &source {
        let what = match target.get(path) {
            None => "missing at the target".to_owned(),
            Some(other) if other != entry => format!("{entry:?} at the source, {other:?} at the target"),
            Some(_) => continue,
        };
        differences.push(Difference { path: path.clone(), what });
    }
    for path in target.keys().filter(|path| !source.contains_key(*path)) {
        differences.push(Difference { path: path.clone(), what: "only at the target".to_owned() });
    }
    Ok(differences)
}

/// How many entries a tree has.
pub fn count(root: &Path) -> io::Result<usize> {
    Ok(read(root)?.len())
}

fn read(root: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let mut tree = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        let entries = match fs::read_dir(root.join(&directory)) {
            Ok(entries) => entries,
            // It went away meanwhile: another comparison will see.
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory.parent().is_some() => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let name = entry?.file_name();
            if directory.as_os_str().is_empty() && name == home::NAME {
                continue;
            }
            let path = directory.join(name);
            match entry_at(&root.join(&path)) {
                Ok(Some(entry)) => {
                    if matches!(entry, Entry::Directory { .. }) {
                        waiting.push(path.clone());
                    }
                    tree.insert(path, entry);
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    let mut first_names = BTreeMap::new();
    for (path, entry) in &mut tree {
        if let Entry::File { inode, .. } = entry
            && let Inode::Number(device, number) = *inode
        {
            let first = first_names.entry((device, number)).or_insert_with(|| path.clone());
            *inode = Inode::FirstName(first.clone());
        }
    }
    Ok(tree)
}

fn entry_at(path: &Path) -> io::Result<Option<Entry>> {
    let metadata = fs::symlink_metadata(path)?;
    let owner = (metadata.uid(), metadata.gid());
    let mtime = (metadata.mtime(), metadata.mtime_nsec());
    let attributes = Attributes { mode: metadata.mode() & 0o7777, owner, mtime };
    let kind = metadata.file_type();
    Ok(if kind.is_dir() {
        Some(Entry::Directory { attributes })
    } else if kind.is_symlink() {
        Some(Entry::Symlink { destination: fs::read_link(path)?, owner })
    } else if kind.is_file() {
        let bytes = fs::read(path)?;
        let (content, size) = (blake3::hash(&bytes), bytes.len() as u64);
        let inode = Inode::Number(metadata.dev(), metadata.ino());
        Some(Entry::File { attributes, content, size, inode })
    } else {
        None
    })
}
