//! Looks whether a large file fits, before its content fills the disk of a server that needs it.

use std::os::fd::AsFd;

use bytesize::ByteSize;

use super::failure::Failure;
use crate::model::Refusal;

/// Refuses what needs more than `bytes` below `directory` has. Small quotas, other writers and what
/// the file system needs for itself may still make it fail: then it is refused later.
pub(super) fn require(directory: impl AsFd, bytes: u64) -> Result<(), Failure> {
    let Ok(disk) = rustix::fs::fstatvfs(directory) else { return Ok(()) };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    // Some network file systems do not tell.
    if disk.f_blocks == 0 || bytes <= free {
        return Ok(());
    }
    let (bytes, free) = (ByteSize(bytes), ByteSize(free));
    Err(Failure::new(Refusal::Full, format!("it takes {bytes} there, and {free} are free")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_disk_has_room_for_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let opened = std::fs::File::open(directory.path()).unwrap();
        assert_eq!(require(&opened, 1), Ok(()));
        assert_eq!(require(&opened, u64::MAX).map_err(|failure| failure.refusal), Err(Refusal::Full));
    }
}
