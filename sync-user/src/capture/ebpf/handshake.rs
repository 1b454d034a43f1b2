//! Makes the kernel side learn which directory is the root.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::path::Path;

use aya::maps::{Array, MapData};
use aya::{Ebpf, Pod};
use nix::sys::prctl;
use rustix::fs::{Mode, OFlags};
use sync_ebpf::{Handshake, IGNORED_MAX};

use crate::capture::{Config, Error};

/// The struct as aya wants it marked.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Shared(Handshake);

// SAFETY: the struct has no padding and no bit pattern that is not valid, as its definition in
// `sync_ebpf` asserts.
unsafe impl Pod for Shared {}

/// The root is the directory that this thread opens while it has a name that nobody else has.
/// Device and inode would not do, since btrfs and overlays show other numbers outside than inside
/// the kernel. The descriptor keeps the root's dentry in the kernel's memory.
pub(super) fn shake_hands(ebpf: &mut Ebpf, config: &Config) -> Result<OwnedFd, Error> {
    let root = config.root.as_path();
    let map = ebpf.map_mut("ROOT").ok_or_else(|| failed("find an eBPF map", &"ROOT"))?;
    let mut map: Array<&mut MapData, Shared> =
        Array::try_from(map).map_err(|error| failed("open an eBPF map", &error))?;
    let token = format!("k{:014x}", fastrand::u64(..) >> 8);
    let mut name = [0; 16];
    name[..token.len()].copy_from_slice(token.as_bytes());
    let mut set =
        |value: Handshake| map.set(0, Shared(value), 0).map_err(|error| failed("set an eBPF map", &error));

    set(Handshake { name, armed: 1, ..Handshake::default() })?;
    let opened = open_as(&token, root)?;

    let Shared(learned) = map.get(&0, 0).map_err(|error| failed("read an eBPF map", &error))?;
    let inode = rustix::fs::fstat(&opened).map_err(|error| failed("examine the root", &error))?.st_ino;
    if learned.dentry == 0 || learned.inode != inode {
        return Err(failed(
            "tell the kernel which directory is the root",
            &"the programs did not see it being opened",
        ));
    }
    let ignored = ignored(config, learned.tgid);
    map.set(0, Shared(Handshake { armed: 0, ignored, ..learned }), 0)
        .map_err(|error| failed("set an eBPF map", &error))?;
    Ok(opened)
}

/// Opens `root` while this thread is called `token`.
fn open_as(token: &str, root: &Path) -> Result<OwnedFd, Error> {
    let before = prctl::get_name().map_err(|error| failed("read this thread's name", &error))?;
    let token = CString::new(token).map_err(|error| failed("name this thread", &error))?;
    prctl::set_name(&token).map_err(|error| failed("name this thread", &error))?;
    let opened = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    prctl::set_name(&before).map_err(|error| failed("name this thread", &error))?;
    opened.map_err(|error| failed(&format!("open {}", root.display()), &error))
}

/// The processes to mark, this one by the number that it has outside of its container.
fn ignored(config: &Config, own: u32) -> [u32; IGNORED_MAX] {
    let mut ignored = [0; IGNORED_MAX];
    let asked = config.ignored.iter().map(|tgid| if *tgid == std::process::id() { own } else { *tgid });
    for (slot, tgid) in ignored.iter_mut().zip(asked) {
        *slot = tgid;
    }
    ignored
}

fn failed(what: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::new(what, cause, "use --capture fanotify")
}
