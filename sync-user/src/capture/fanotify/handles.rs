//! Finds where a file handle leads: to a path below the root, or out of it.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::records::Handle;
use crate::capture::Error;
use crate::model::TreePath;

/// `MAX_HANDLE_SZ`.
const HANDLE_BYTES_MAX: usize = 128;

/// Directories, and files outside, whose places are kept at most: some 20 MB.
const PLACES_MAX: usize = 1 << 16;

/// Where a handle leads now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Inside(TreePath),
    /// Not below the root, as far as the kernel knows its names at the moment. A file that has
    /// several may have another one inside.
    Outside {
        of_several: Option<Several>,
    },
    /// The inode is no more.
    Gone,
}

/// A file with several names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Several {
    pub(super) inode: u64,
    /// How many it has.
    pub(super) names: u64,
}

/// A handle cannot be resolved for another reason than that its inode is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unresolved;

/// The root as a mount of its own, through which handles are resolved: the name of a descriptor
/// is then relative to the root, and `/` for everything outside of it.
#[derive(Debug)]
pub(super) struct Handles {
    mount: OwnedFd,
    root: OwnedHandle,
    /// Directories that were resolved since the last [`forget`](Self::forget).
    places: HashMap<OwnedHandle, Place>,
    /// Files that were changed by a name outside of the root and had no other, as far as was read.
    outside: HashMap<OwnedHandle, Place>,
    /// Inodes that the kernel says are no more.
    ended: HashSet<OwnedHandle>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OwnedHandle {
    kind: i32,
    bytes: Vec<u8>,
}

impl From<Handle<'_>> for OwnedHandle {
    fn from(handle: Handle<'_>) -> Self {
        Self { kind: handle.kind, bytes: handle.bytes.to_vec() }
    }
}

#[cfg(test)]
impl OwnedHandle {
    pub(super) fn borrowed(&self) -> Handle<'_> {
        Handle { kind: self.kind, bytes: &self.bytes }
    }
}

/// `struct file_handle`, with room for any handle.
#[repr(C, align(8))]
struct RawHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; HANDLE_BYTES_MAX],
}

impl Handles {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let remedy = "run as root, or give ksyncd CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH";
        let mount =
            clone_mount(root).map_err(|error| Error::new("look into the root by handle", &error, remedy))?;
        let handle = handle_at(mount.as_raw_fd(), c"", libc::AT_EMPTY_PATH).map_err(|error| {
            Error::new("get the root's handle", &error, "replicate from another file system")
        })?;
        let (places, outside, ended) = (HashMap::new(), HashMap::new(), HashSet::new());
        let handles = Self { mount, root: handle.clone(), places, outside, ended };
        // Opening by handle takes another capability than marking: better told now.
        handles
            .open_handle(handle.kind, &handle.bytes, libc::O_PATH | libc::O_DIRECTORY)
            .map_err(|error| Error::new("open a file by its handle", &error, remedy))?;
        Ok(handles)
    }

    /// Forgets where handles lead. To be called when a directory may have been renamed since: before
    /// each drain, with the event that tells of it, and when events were lost.
    pub(super) fn forget(&mut self) {
        self.places.clear();
        self.outside.clear();
    }

    /// Forgets which files are outside only: one of them may have been given a name inside.
    pub(super) fn forget_files(&mut self) {
        self.outside.clear();
    }

    /// Takes the kernel's word that these inodes, and none of before, are no more. To open one by
    /// its handle would only tell the same, after a search in which whoever removes and creates
    /// files has to wait for us.
    pub(super) fn take_as_ended<'a>(&mut self, inodes: impl Iterator<Item = Handle<'a>>) {
        self.ended.clear();
        self.ended.extend(inodes.map(OwnedHandle::from));
    }

    /// Where a directory is.
    pub(super) fn directory(&mut self, handle: Handle<'_>) -> Result<Place, Unresolved> {
        let owned = OwnedHandle::from(handle);
        if owned == self.root {
            return Ok(Place::Inside(TreePath::root()));
        }
        if let Some(place) = self.places.get(&owned) {
            return Ok(place.clone());
        }
        let place = self.resolve(handle, libc::O_PATH | libc::O_DIRECTORY)?;
        keep(&mut self.places, owned, &place);
        Ok(place)
    }

    /// Where a file is that was changed by a name outside of the root. Asked of the kernel once for
    /// a file without other names, until it may have got one.
    pub(super) fn beside(&mut self, handle: Handle<'_>) -> Result<Place, Unresolved> {
        let owned = OwnedHandle::from(handle);
        if let Some(place) = self.outside.get(&owned) {
            return Ok(place.clone());
        }
        let place = self.inode(handle)?;
        if place == (Place::Outside { of_several: None }) {
            keep(&mut self.outside, owned, &place);
        }
        Ok(place)
    }

    /// Where an inode of any kind is, by one of its names.
    pub(super) fn inode(&self, handle: Handle<'_>) -> Result<Place, Unresolved> {
        if self.ended.contains(&OwnedHandle::from(handle)) {
            return Ok(Place::Gone);
        }
        let place = self.resolve(handle, libc::O_PATH | libc::O_NOFOLLOW)?;
        match &place {
            // The kernel may still remember a name that the file has lost, as if it were one.
            Place::Inside(path) if !self.is_at(handle, path) => Err(Unresolved),
            _ => Ok(place),
        }
    }

    /// Whether `path` is a name of the inode with this handle.
    pub(super) fn is_at(&self, handle: Handle<'_>, path: &TreePath) -> bool {
        let Ok(path) = CString::new(path.as_path().as_os_str().as_bytes()) else {
            return false;
        };
        handle_at(self.mount.as_raw_fd(), &path, 0)
            .is_ok_and(|found| found.kind == handle.kind && found.bytes == handle.bytes)
    }

    /// What is at `path` now, as `lstat` says.
    pub(super) fn stat(&self, path: &TreePath) -> Option<nix::sys::stat::FileStat> {
        nix::sys::stat::fstatat(&self.mount, path.as_path(), nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW).ok()
    }

    /// The handle of what is at `path` below the root.
    #[cfg(test)]
    pub(super) fn of(&self, path: &std::ffi::CStr) -> OwnedHandle {
        handle_at(self.mount.as_raw_fd(), path, 0).unwrap()
    }

    fn resolve(&self, handle: Handle<'_>, flags: i32) -> Result<Place, Unresolved> {
        let opened = match self.open_handle(handle.kind, handle.bytes, flags) {
            Ok(opened) => opened,
            Err(Errno::ESTALE) => return Ok(Place::Gone),
            Err(_) => return Err(Unresolved),
        };
        let stat = nix::sys::stat::fstat(&opened).map_err(|_cause| Unresolved)?;
        if stat.st_nlink == 0 {
            return Ok(Place::Gone);
        }
        let directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let several = Several { inode: stat.st_ino, names: stat.st_nlink };
        let outside = Place::Outside { of_several: (!directory && several.names > 1).then_some(several) };
        let name = std::fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd()))
            .map_err(|_cause| Unresolved)?;
        match name.as_os_str().as_bytes() {
            b"/" => Ok(outside),
            [b'/', below @ ..] => TreePath::new(below).map(Place::Inside).map_err(|_cause| Unresolved),
            _ => Ok(outside),
        }
    }

    fn open_handle(&self, kind: i32, bytes: &[u8], flags: i32) -> Result<OwnedFd, Errno> {
        let mut raw = RawHandle { bytes: 0, kind, handle: [0; HANDLE_BYTES_MAX] };
        raw.handle.get_mut(..bytes.len()).ok_or(Errno::EOVERFLOW)?.copy_from_slice(bytes);
        raw.bytes = bytes.len() as u32;
        // SAFETY: `raw` has the layout of `struct file_handle`, says how many of its bytes are
        // used, and outlives the call.
        let descriptor = unsafe {
            libc::open_by_handle_at(self.mount.as_raw_fd(), (&raw mut raw).cast(), flags | libc::O_CLOEXEC)
        };
        owned(descriptor)
    }
}

/// Adds a place to those that are kept.
fn keep(places: &mut HashMap<OwnedHandle, Place>, handle: OwnedHandle, place: &Place) {
    if places.len() >= PLACES_MAX {
        places.clear();
    }
    places.insert(handle, place.clone());
}

/// A mount of `root` alone that is in no mount table. It keeps the file system in use.
fn clone_mount(root: &Path) -> Result<OwnedFd, Errno> {
    /// `OPEN_TREE_CLONE` of `linux/mount.h`.
    const OPEN_TREE_CLONE: i32 = 1;
    let path = CString::new(root.as_os_str().as_bytes()).map_err(|_nul| Errno::EINVAL)?;
    // SAFETY: the path is a string with a final NUL that outlives the call.
    let tree = unsafe {
        libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), OPEN_TREE_CLONE | libc::O_CLOEXEC)
    };
    let tree = owned(i32::try_from(tree).unwrap_or(-1))?;
    // `open_by_handle_at` does not take a descriptor without access.
    // SAFETY: as above.
    let directory = unsafe {
        libc::openat(tree.as_raw_fd(), c".".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC)
    };
    owned(directory)
}

fn handle_at(directory: RawFd, path: &std::ffi::CStr, flags: i32) -> Result<OwnedHandle, Errno> {
    let mut raw = RawHandle { bytes: HANDLE_BYTES_MAX as u32, kind: 0, handle: [0; HANDLE_BYTES_MAX] };
    let mut mount = 0;
    // SAFETY: `raw` has the layout of `struct file_handle` and says how much room it has; the
    // path ends with NUL; all outlive the call.
    let status = unsafe {
        libc::name_to_handle_at(directory, path.as_ptr(), (&raw mut raw).cast(), &raw mut mount, flags)
    };
    Errno::result(status)?;
    let bytes = raw.handle.get(..raw.bytes as usize).ok_or(Errno::EOVERFLOW)?.to_vec();
    Ok(OwnedHandle { kind: raw.kind, bytes })
}

fn owned(descriptor: RawFd) -> Result<OwnedFd, Errno> {
    Errno::result(descriptor)?;
    // SAFETY: the call that gave it has just opened it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    /// Where the file at `name` is said to be after `change`, by the handle it had before.
    fn place_after(name: &str, change: impl FnOnce(&Path)) -> Result<Place, Unresolved> {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("f"), "").unwrap();
        fs::hard_link(root.join("f"), root.join("g")).unwrap();
        let handles = Handles::open(&root).unwrap();
        let handle = handles.of(&CString::new(name).unwrap());
        change(&root);
        handles.inode(handle.borrowed())
    }

    #[test]
    fn a_name_that_is_gone_is_no_place() {
        let place = place_after("g", |root| {
            // Held open, it stays in the kernel's memory.
            let held = fs::File::open(root.join("g")).unwrap();
            fs::remove_file(root.join("g")).unwrap();
            std::mem::forget(held);
        });
        assert!(
            matches!(&place, Ok(Place::Inside(found)) if *found == path("f")) || place == Err(Unresolved)
        );
    }

    #[test]
    fn what_the_kernel_has_ended_is_not_searched_for() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("f"), "").unwrap();
        let mut handles = Handles::open(root.path()).unwrap();
        let handle = handles.of(c"f");
        let handle = handle.borrowed();
        // It is still there, so whoever says that it is gone has not searched.
        handles.take_as_ended([handle].into_iter());
        assert_eq!(handles.inode(handle), Ok(Place::Gone));
        handles.take_as_ended(std::iter::empty());
        assert_eq!(handles.inode(handle), Ok(Place::Inside(path("f"))));
    }

    #[test]
    fn a_file_outside_may_have_another_name_inside() {
        let place = place_after("g", |root| {
            fs::rename(root.join("f"), root.with_file_name("f")).unwrap();
            fs::rename(root.join("g"), root.with_file_name("g")).unwrap();
        });
        assert!(matches!(place, Ok(Place::Outside { of_several: Some(_) })));
        let place = place_after("g", |root| {
            fs::remove_file(root.join("f")).unwrap();
            fs::rename(root.join("g"), root.with_file_name("g")).unwrap();
        });
        assert_eq!(place, Ok(Place::Outside { of_several: None }));
        let place = place_after("g", |root| fs::remove_dir_all(root).unwrap());
        assert_eq!(place, Ok(Place::Gone));
    }
}
