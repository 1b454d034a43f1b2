//! Knows the root: user space shows it by opening it.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use sync_ebpf::Handshake;

use crate::arguments::{Event, dentry_of};
use crate::kernel::{self, Inode, offset};
use crate::maps::ROOT;

/// The root, once it is known.
#[inline(always)]
pub(crate) fn root() -> Option<&'static Handshake> {
    let root = ROOT.get(0)?;
    if root.dentry == 0 { None } else { Some(root) }
}

/// Learns the root from the open that user space makes for this purpose.
#[inline(always)]
pub(crate) fn learn(event: &Event<impl Inode>) {
    let Some(root) = ROOT.get_ptr_mut(0) else { return };
    // SAFETY: the map's memory lives as long as the program; user space changes it only while
    // nobody is armed.
    let handshake = unsafe { &mut *root };
    if handshake.armed == 0 || !event.is_directory() || event.data_type != offset!(data_path) {
        return;
    }
    let Ok(name) = bpf_get_current_comm() else { return };
    let mut index = 0;
    while index < 16 {
        if name[index] != handshake.name[index] {
            return;
        }
        index += 1;
    }
    let dentry = dentry_of(event);
    handshake.superblock = kernel::dentry_superblock(dentry);
    handshake.top = kernel::read(handshake.superblock, offset!(superblock_root));
    handshake.inode = kernel::dentry_inode(dentry).number();
    handshake.tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    handshake.dentry = dentry;
}
