//! Ends receivers that an earlier connection of the same source has left behind.
//!
//! After a connection was cut, its receiver may still be busy with what had arrived. What it
//! does then would fall behind the back of the next one, which has told the source what the
//! target holds; so the next one ends it first (I4).

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::FlockOperation;

use super::failure::OpenError;
use crate::home;

/// How long a killed process may take to end, in naps.
const NAPS_MAX: u32 = 2_000;
const NAP: Duration = Duration::from_millis(5);

/// Whether a name in the stage's home is that of a stage.
pub(super) fn is_stage(name: &Path) -> bool {
    name.to_str().is_some_and(|name| name.starts_with("stage-"))
}

/// The name of a stage whose source is known.
pub(super) fn stage_name(process: u32, source: &[u8; 16]) -> String {
    format!("stage-{process}-{:032x}", u128::from_be_bytes(*source))
}

/// Whether a name is that of a stage that `source` has worked on by SFTP.
pub(super) fn is_stage_by_sftp(name: &Path, source: &[u8; 16]) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(&home::sftp_stage(source)))
}

/// The process that works in the stage of this name, if it is one of `source`.
pub(super) fn process_of(name: &Path, source: &[u8; 16]) -> Option<u32> {
    let process = name.to_str()?.strip_prefix("stage-")?.split('-').next()?.parse().ok()?;
    (name.to_str()? == stage_name(process, source)).then_some(process)
}

/// Kills `process`, if it still holds the lock of its stage, and waits until it is gone. Steps
/// are applied whole or not at all, so it may be anywhere.
pub(super) fn end(process: u32, stage: &OwnedFd) -> Result<(), OpenError> {
    let stays = |cause: &str| OpenError {
        what: format!("an earlier receiver of the same source, process {process}, does not end: {cause}"),
        remedy: format!("end it on the target: kill -9 {process}"),
    };
    for _ in 0..NAPS_MAX {
        if rustix::fs::flock(stage, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(());
        }
        if process == std::process::id() {
            return Err(stays("it is this process"));
        }
        match kill(Pid::from_raw(process.cast_signed()), Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => std::thread::sleep(NAP),
            Err(error) => return Err(stays(error.desc())),
        }
    }
    Err(stays("it was killed, and lives on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_stages_of_the_same_source_count() {
        let name = stage_name(42, &[0xab; 16]);
        assert_eq!(process_of(Path::new(&name), &[0xab; 16]), Some(42));
        assert_eq!(process_of(Path::new(&name), &[0xac; 16]), None);
        for other in ["stage-42-0", "stage-x-y", "stage-", "other"] {
            assert_eq!(process_of(Path::new(other), &[0xab; 16]), None, "{other}");
        }
        let by_sftp = home::sftp_stage(&[0xab; 16]) + "1";
        assert!(is_stage_by_sftp(Path::new(&by_sftp), &[0xab; 16]));
        assert!(!is_stage_by_sftp(Path::new(&by_sftp), &[0xac; 16]) && !is_stage(Path::new(&by_sftp)));
    }
}
