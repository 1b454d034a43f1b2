//! Carries operations out by the system calls that they stand for.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use rustix::fs::{
    self as sys, AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, XattrFlags,
};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use sync_user::model::OldFile;

use crate::aio;
use crate::operation::{Allocation, Copying, Operation, Renaming, SLOTS};

/// What `fallocate` is asked for.
pub(crate) const BLOCK: u64 = 4096;

/// The extended attribute that is set and removed.
const ATTRIBUTE: &str = "user.ksyncd-test";

/// One process: where it sees the tree, and what it holds open.
pub(crate) struct Performer {
    root: PathBuf,
    outside: PathBuf,
    held: [Option<Held>; SLOTS as usize],
}

struct Held {
    file: File,
    map: Option<Map>,
}

/// What is written at step `stamp`: like nothing that was written before.
pub(crate) fn text(stamp: u32, bytes: usize) -> Vec<u8> {
    format!("{stamp:07}|").into_bytes().into_iter().cycle().take(bytes).collect()
}

/// More than [`OldFile::SIZE_MIN`], and nowhere else.
pub(crate) fn noise(stamp: u32) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(stamp.into());
    std::iter::repeat_with(|| random.u8(..)).take(OldFile::SIZE_MIN as usize + 1_001).collect()
}

impl Performer {
    pub(crate) fn new(root: PathBuf, outside: PathBuf) -> Self {
        Self { root, outside, held: Default::default() }
    }

    /// An error means that the tree is as it was, or that another process has been there.
    pub(crate) fn perform(&mut self, operation: &Operation, stamp: u32) -> io::Result<()> {
        use Operation as O;
        let root = self.root.clone();
        let at = |name: &str| root.join(name);
        match operation {
            O::Write { at: name, bytes } => {
                let mut file = regular(
                    OpenOptions::new().write(true).create(true).truncate(true).mode(0o644),
                    &at(name),
                )?;
                file.write_all(&text(stamp, usize::from(*bytes)))
            }
            O::Append { at: name } => {
                regular(OpenOptions::new().append(true), &at(name))?.write_all(&text(stamp, 17))
            }
            O::Enlarge { at: name } => {
                regular(OpenOptions::new().append(true), &at(name))?.write_all(&noise(stamp))
            }
            O::Overwrite { at: name, offset, vectored } => {
                let file = regular(OpenOptions::new().write(true), &at(name))?;
                overwrite(&file, &text(stamp, 13), u64::from(*offset), *vectored)
            }
            O::Truncate { at: name, size } => {
                nix::unistd::truncate(&at(name), i64::from(*size)).map_err(io::Error::from)
            }
            O::Empty { at: name } => {
                regular(OpenOptions::new().write(true).truncate(true), &at(name)).map(drop)
            }
            O::Allocate { at: name, how } => {
                let file = regular(OpenOptions::new().write(true), &at(name))?;
                Ok(sys::fallocate(&file, flags_of(*how), 0, BLOCK)?)
            }
            O::Copy { from, to, by } => copy(&at(from), &at(to), *by),
            O::Async { at: name } => {
                aio::write(&regular(OpenOptions::new().write(true), &at(name))?, &text(stamp, 11))
            }
            O::Uring { at: name } => {
                uring_write(&regular(OpenOptions::new().write(true), &at(name))?, &text(stamp, 11))
            }
            O::Map { at: name } => {
                let file = regular(OpenOptions::new().read(true).write(true), &at(name))?;
                Map::of(&file)?.store(&text(stamp, 7))
            }
            O::Temporary { at: name } => temporary(&at(name), stamp),
            O::Special { at: name, socket } => {
                let kind = if *socket { FileType::Socket } else { FileType::Fifo };
                Ok(sys::mknodat(CWD, at(name), kind, Mode::from_raw_mode(0o644), 0)?)
            }
            O::Rename { from, to, how } => rename(&at(from), &at(to), *how),
            O::Link { from, to } => Ok(sys::linkat(CWD, at(from), CWD, at(to), AtFlags::empty())?),
            // It leads nowhere: what is done to a link is never done to another name of the tree.
            O::Symlink { at: name } => std::os::unix::fs::symlink("/nowhere/at/all", at(name)),
            O::Mode { at: name, mode } => {
                fs::set_permissions(at(name), fs::Permissions::from_mode(u32::from(*mode)))
            }
            O::Owner { at: name, group } => {
                std::os::unix::fs::lchown(at(name), None, Some(u32::from(*group)))
            }
            O::Times { at: name, seconds } => times(&at(name), *seconds),
            O::SetAttribute { at: name } => {
                Ok(sys::lsetxattr(at(name), ATTRIBUTE, &text(stamp, 8), XattrFlags::empty())?)
            }
            O::RemoveAttribute { at: name } => Ok(sys::lremovexattr(at(name), ATTRIBUTE)?),
            O::Acl { at: name, group } => {
                let acl = acl(u16::from(*group));
                Ok(sys::lsetxattr(at(name), "system.posix_acl_access", &acl, XattrFlags::empty())?)
            }
            O::Unlink { at: name } => fs::remove_file(at(name)),
            O::MakeDirectory { at: name } => fs::create_dir(at(name)),
            O::RemoveDirectory { at: name } => fs::remove_dir(at(name)),
            O::RemoveTree { at: name } => remove_tree(&at(name)),
            O::MoveOut { at: name, to } => fs::rename(at(name), self.outside.join(to)),
            O::MoveIn { from, at: name } => fs::rename(self.outside.join(from), at(name)),
            O::LinkOut { .. }
            | O::LinkIn { .. }
            | O::WriteOutside { .. }
            | O::UnlinkOutside { .. }
            | O::AppendOutside { .. }
            | O::ModeOutside { .. } => self.outside(operation, stamp),
            O::Hold { slot, at: name } => self.hold(*slot, &at(name)),
            O::HoldOutside { slot, to } => self.hold(*slot, &self.outside.join(to)),
            O::WriteHeld { slot } => self.held(*slot)?.file.write_all_at(&text(stamp, 9), 0),
            O::StoreHeld { slot } => {
                let held = self.held(*slot)?;
                if held.map.is_none() {
                    held.map = Some(Map::of(&held.file)?);
                }
                held.map.as_ref().ok_or(Errno::BADF)?.store(&text(stamp, 7))
            }
            O::Release { slot } => self.held[usize::from(*slot)].take().map(drop).ok_or(Errno::BADF.into()),
            O::ByHandle { at: name } => by_handle(&self.root, name, &text(stamp, 15)),
        }
    }

    /// Gives and uses names outside of the root.
    fn outside(&self, operation: &Operation, stamp: u32) -> io::Result<()> {
        use Operation as O;
        match operation {
            O::LinkOut { at: name, to } => {
                Ok(sys::linkat(CWD, self.root.join(name), CWD, self.outside.join(to), AtFlags::empty())?)
            }
            O::LinkIn { from, at: name } => {
                Ok(sys::linkat(CWD, self.outside.join(from), CWD, self.root.join(name), AtFlags::empty())?)
            }
            O::AppendOutside { to } => {
                regular(OpenOptions::new().append(true), &self.outside.join(to))?.write_all(&text(stamp, 19))
            }
            O::WriteOutside { to } => {
                let mut options = OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o644);
                regular(&mut options, &self.outside.join(to))?.write_all(&text(stamp, 29))
            }
            O::UnlinkOutside { to } => fs::remove_file(self.outside.join(to)),
            // What is no file may be a link that leads nowhere.
            O::ModeOutside { to, mode } => {
                let file = regular(OpenOptions::new().write(true), &self.outside.join(to))?;
                file.set_permissions(fs::Permissions::from_mode(u32::from(*mode)))
            }
            _ => Err(Errno::INVAL.into()),
        }
    }

    fn hold(&mut self, slot: u8, path: &Path) -> io::Result<()> {
        let file = regular(OpenOptions::new().read(true).write(true), path)?;
        self.held[usize::from(slot)] = Some(Held { file, map: None });
        Ok(())
    }

    pub(crate) fn release_all(&mut self) {
        self.held = Default::default();
    }

    fn held(&mut self, slot: u8) -> io::Result<&mut Held> {
        self.held[usize::from(slot)].as_mut().ok_or(Errno::BADF.into())
    }
}

/// Opens regular files only: a fifo would wait for its other end.
fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Errno::INVAL.into()) }
}

fn overwrite(file: &File, bytes: &[u8], offset: u64, vectored: bool) -> io::Result<()> {
    if !vectored {
        return file.write_all_at(bytes, offset);
    }
    let parts = [IoSlice::new(&bytes[..5]), IoSlice::new(&bytes[5..])];
    Ok(rustix::io::pwritev(file, &parts, offset).map(drop)?)
}

fn rename(from: &Path, to: &Path, how: Renaming) -> io::Result<()> {
    let flags = match how {
        Renaming::Plain => RenameFlags::empty(),
        Renaming::NoReplace => RenameFlags::NOREPLACE,
        Renaming::Exchange => RenameFlags::EXCHANGE,
        Renaming::Whiteout => RenameFlags::WHITEOUT,
    };
    // ext4 fails, but puts the name back that it had taken: it moves the time of the
    // directory, and nothing tells of it.
    if how == Renaming::Whiteout && fs::read_dir(to).is_ok_and(|mut names| names.next().is_some()) {
        return Err(Errno::NOTEMPTY.into());
    }
    Ok(sys::renameat_with(CWD, from, CWD, to, flags)?)
}

/// A file is left alone, so that nothing is removed in part.
fn remove_tree(at: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(at)?.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    fs::remove_dir_all(at)
}

fn flags_of(how: Allocation) -> FallocateFlags {
    match how {
        Allocation::Extend => FallocateFlags::empty(),
        Allocation::KeepSize => FallocateFlags::KEEP_SIZE,
        Allocation::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
        Allocation::ZeroRange => FallocateFlags::ZERO_RANGE,
        Allocation::CollapseRange => FallocateFlags::COLLAPSE_RANGE,
        Allocation::InsertRange => FallocateFlags::INSERT_RANGE,
    }
}

fn copy(from: &Path, to: &Path, by: Copying) -> io::Result<()> {
    let from = regular(OpenOptions::new().read(true), from)?;
    let to = regular(OpenOptions::new().write(true), to)?;
    let bytes = from.metadata()?.len() as usize;
    if bytes == 0 && by != Copying::Clone {
        return Err(Errno::INVAL.into());
    }
    if by == Copying::Clone {
        return Ok(sys::ioctl_ficlone(&to, &from)?);
    }
    // The kernel may stop early: where it shares blocks, at the last whole one.
    let mut left = bytes;
    while left > 0 {
        let count = match by {
            Copying::CopyFileRange => sys::copy_file_range(&from, None, &to, None, left)?,
            Copying::Sendfile => sys::sendfile(&to, &from, None, left)?,
            Copying::Splice | Copying::Clone => splice(&from, &to, left)?,
        };
        // Another process has cut it off.
        if count == 0 {
            break;
        }
        left -= count;
    }
    Ok(())
}

fn splice(from: &File, to: &File, bytes: usize) -> io::Result<usize> {
    let (reader, writer) = rustix::pipe::pipe()?;
    let none = rustix::pipe::SpliceFlags::empty();
    let count = rustix::pipe::splice(from, None, &writer, None, bytes, none)?;
    let mut left = count;
    while left > 0 {
        left -= rustix::pipe::splice(&reader, None, to, None, left, none)?;
    }
    Ok(count)
}

fn uring_write(file: &File, bytes: &[u8]) -> io::Result<()> {
    let mut ring = io_uring::IoUring::new(2)?;
    let target = io_uring::types::Fd(file.as_raw_fd());
    let entry = io_uring::opcode::Write::new(target, bytes.as_ptr(), bytes.len() as u32).build();
    // SAFETY: the bytes and the file outlive the request, which is waited for.
    unsafe { ring.submission().push(&entry).map_err(io::Error::other)? };
    ring.submit_and_wait(1)?;
    let result = ring.completion().next().map_or(-libc::EIO, |entry| entry.result());
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

fn temporary(at: &Path, stamp: u32) -> io::Result<()> {
    let directory = at.parent().unwrap_or(at);
    let file = File::from(sys::open(
        directory,
        OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o644),
    )?);
    (&file).write_all(&text(stamp, 20))?;
    sys::linkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), CWD, at, AtFlags::SYMLINK_FOLLOW)?;
    (&file).write_all(&text(stamp, 20))
}

fn times(at: &Path, seconds: u32) -> io::Result<()> {
    let time = rustix::fs::Timespec { tv_sec: i64::from(seconds), tv_nsec: 123_456_789 };
    let both = rustix::fs::Timestamps { last_access: time, last_modification: time };
    Ok(sys::utimensat(CWD, at, &both, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// As `linux/posix_acl_xattr.h` lays it out: owner and everybody may read and write, user 1000
/// and the mask `group`.
fn acl(group: u16) -> Vec<u8> {
    const ANYBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, ANYBODY),
        (0x02, group, 1000),
        (0x04, 4, ANYBODY),
        (0x10, group, ANYBODY),
        (0x20, 6, ANYBODY),
    ];
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, permission, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permission.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// Writes at the beginning of a file that is opened by its handle. The kernel's cache of names
/// is emptied first, so that it does not know what the file is called.
fn by_handle(root: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    #[repr(C, align(8))]
    struct Handle {
        bytes: u32,
        kind: i32,
        opaque: [u8; 128],
    }
    let directory = File::open(root)?;
    let path = root.join(name);
    if !fs::symlink_metadata(&path)?.is_file() {
        return Err(Errno::INVAL.into());
    }
    let path = CString::new(path.as_os_str().as_bytes())?;
    let (mut handle, mut mount) = (Handle { bytes: 128, kind: 0, opaque: [0; 128] }, 0);
    // SAFETY: the struct is laid out as `struct file_handle` and says how much room it has.
    let named = unsafe {
        libc::name_to_handle_at(libc::AT_FDCWD, path.as_ptr(), (&raw mut handle).cast(), &raw mut mount, 0)
    };
    nix::errno::Errno::result(named)?;
    fs::write("/proc/sys/vm/drop_caches", "2")?;
    // SAFETY: as above.
    let opened = unsafe {
        libc::open_by_handle_at(
            directory.as_raw_fd(),
            (&raw mut handle).cast(),
            libc::O_WRONLY | libc::O_CLOEXEC,
        )
    };
    nix::errno::Errno::result(opened)?;
    // SAFETY: just opened, and nobody else's.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(opened) });
    file.write_all_at(bytes, 0)
}

/// A shared memory map of the beginning of a file.
struct Map {
    at: NonNull<std::ffi::c_void>,
}

impl Map {
    fn of(file: &File) -> io::Result<Self> {
        if file.metadata()?.size() < 16 {
            return Err(Errno::INVAL.into());
        }
        // SAFETY: a new map at an address that the kernel chooses.
        let at = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                BLOCK as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file.as_fd(),
                0,
            )?
        };
        Ok(Self { at: NonNull::new(at).ok_or(Errno::NOMEM)? })
    }

    /// Another process may have truncated the file, and a store past its end would be a signal:
    /// so the kernel stores for us, out of a pipe, and says when it cannot.
    fn store(&self, bytes: &[u8]) -> io::Result<()> {
        let (reader, writer) = rustix::pipe::pipe()?;
        rustix::io::write(&writer, bytes)?;
        // SAFETY: the map is alive, and longer than what is stored.
        let target = unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr().cast::<u8>(), bytes.len()) };
        rustix::io::read(&reader, target)?;
        Ok(())
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the map is ours, and nothing refers to it any more.
        let _unmapped = unsafe { rustix::mm::munmap(self.at.as_ptr(), BLOCK as usize) };
    }
}
