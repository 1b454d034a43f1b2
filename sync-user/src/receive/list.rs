//! Lists the whole tree of a target.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, OFlags};
use rustix::io::Errno;

use super::Root;
use super::confine::open_directory;
use super::dress::Dress;
use crate::home;
use crate::metadata::{self, XattrPlace};
use crate::model::{FileKind, Inode, Owner, TreePath, Version, XattrHash};
use crate::wire::{Listed, Unreadable};

/// Entries of one part: some 40 KiB of usual names, and under a frame's limit even if every
/// name and link is as long as can be.
const PART_ENTRIES_MAX: usize = 100;

/// Gives the tree to `part`, piece by piece and parents first, beginning with the root itself, and says what could not be read.
/// Directories are opened one at a time, so their depth costs no descriptors.
pub fn list<E>(
    root: &Root,
    mut part: impl FnMut(Vec<Listed>) -> Result<(), E>,
) -> Result<Vec<Unreadable>, E> {
    let mut unreadable = Vec::new();
    let mut waiting = vec![TreePath::root()];
    let mut listed = Vec::new();
    match version(&root.dress, root, Path::new(".")) {
        Ok(Some((version, inode))) => {
            listed.push(Listed { path: Vec::new(), version, destination: None, inode });
        }
        Ok(None) => {}
        Err(error) => unreadable.push(Unreadable { path: Vec::new(), cause: error.to_string() }),
    }
    while let Some(directory) = waiting.pop() {
        let mut fail = |path: &TreePath, cause: &dyn ToString| {
            unreadable.push(Unreadable { path: path.as_bytes().to_vec(), cause: cause.to_string() });
        };
        let entries = open_directory(root, &directory, OFlags::RDONLY)
            .and_then(|descriptor| Ok((Dir::read_from(&descriptor)?, descriptor)));
        let (entries, descriptor) = match entries {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => {
                fail(&directory, &error);
                continue;
            }
        };
        for entry in entries {
            let name = match entry {
                Ok(entry) => entry.file_name().to_bytes().to_vec(),
                Err(error) => {
                    fail(&directory, &error);
                    break;
                }
            };
            let own = directory.is_root() && name == home::NAME.as_bytes();
            let Ok(path) = directory.join(&name) else { continue };
            if own {
                continue;
            }
            let leaf = Path::new(std::ffi::OsStr::from_bytes(&name));
            let version = match version(&root.dress, &descriptor, leaf) {
                Ok(version) => version,
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    fail(&path, &error);
                    continue;
                }
            };
            let Some((version, inode)) = version else { continue };
            let destination = match version.kind {
                FileKind::Symlink => match rustix::fs::readlinkat(&descriptor, leaf, Vec::new()) {
                    Ok(destination) => Some(destination.into_bytes()),
                    Err(_) => continue,
                },
                FileKind::File | FileKind::Directory => None,
            };
            listed.push(Listed { path: path.as_bytes().to_vec(), version, destination, inode });
            if version.kind == FileKind::Directory {
                waiting.push(path);
            }
            if listed.len() == PART_ENTRIES_MAX {
                part(std::mem::take(&mut listed))?;
            }
        }
    }
    if !listed.is_empty() {
        part(listed)?;
    }
    Ok(unreadable)
}

/// The version of `name` in `directory` by the source's numbers of owners, and its inode if it
/// has several names.
pub(super) fn version(
    dress: &Dress,
    directory: impl AsFd,
    name: &Path,
) -> Result<Option<(Version, Option<Inode>)>, Errno> {
    let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let Some(version) = metadata::version(&stat, XattrHash::NONE, dress.preserve) else {
        return Ok(None);
    };
    let owner = dress.owner_at_source(Owner { user: stat.st_uid, group: stat.st_gid });
    let xattrs = dress.xattrs_at_source(&XattrPlace::at(&directory, name))?;
    let several = version.kind != FileKind::Directory && stat.st_nlink > 1;
    let inode = several.then_some(Inode { device: stat.st_dev, number: stat.st_ino });
    Ok(Some((Version { owner, xattrs, ..version }, inode)))
}
