//! Names the file systems that a machine can be tried on, and how each gets to `/place`.

use super::image::{FILE_SYSTEMS, FileSystem};

/// What lies at `/place` in a machine, in the order of the table of what works where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Place {
    Ext4,
    Xfs,
    Btrfs,
    Tmpfs,
    /// Layers on ext4, with the index that file handles need.
    Overlay,
}

impl Place {
    /// What `mount -t` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Tmpfs => "tmpfs",
            Self::Overlay => "overlay",
        }
    }

    /// The disks that a machine needs for all of them, or for `/data` alone.
    pub(super) fn disks(any: bool) -> &'static [FileSystem] {
        if any { &FILE_SYSTEMS } else { &FILE_SYSTEMS[..1] }
    }

    /// The shell's command that loads what the kernel needs for all of them.
    pub(super) fn load() -> &'static str {
        "for module in $(ls /more | sort -n); do insmod /more/$module 2>/dev/null; done; mkdir -p /place"
    }

    /// The shell's command that puts it at `/place`.
    pub(super) fn mount(self) -> String {
        let name = self.name();
        match (self, FILE_SYSTEMS.iter().position(|(disk, _)| *disk == name)) {
            // The first disk is mounted at /data.
            (_, Some(0)) => "mount --bind /data /place".to_owned(),
            (_, Some(number)) => format!("mount -t {name} /dev/vd{} /place", char::from(b'a' + number as u8)),
            (Self::Overlay, None) => "mkdir -p /data/upper /data/work /data/lower && mount -t overlay -o lowerdir=/data/lower,upperdir=/data/upper,workdir=/data/work,index=on,nfs_export=on overlay /place".to_owned(),
            (_, None) => format!("mount -t {name} place /place"),
        }
    }
}
