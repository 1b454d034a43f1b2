//! Joins one connection of a source to another: by a pipe in the stage of the one that has its steps.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::failure::OpenError;
use super::{Root, predecessor};
use crate::home;
use crate::wire::Lane;

/// Room in a pipe, in bytes: four frames of content. Where the user may not have so much, it is slower.
const PIPE_BYTES: usize = 1 << 20;

fn name(number: u8) -> String {
    format!("lane-{number}")
}

impl Root {
    /// Makes the pipes of so many lanes, which are read without waiting; none where the file system has no
    /// pipes.
    pub fn lanes(&self, count: u8) -> Vec<OwnedFd> {
        let open = |number| -> Result<OwnedFd, Errno> {
            let (stage, name) = (self.stage.own(), name(number));
            rustix::fs::mknodat(stage, &name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
            // Also for writing, so that it never ends: a lane may come again.
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let pipe = rustix::fs::openat(stage, &name, flags, Mode::empty())?;
            let _smaller = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES);
            Ok(pipe)
        };
        (0..count).map_while(|number| open(number).ok()).collect()
    }

    /// The pipe to the receiver that `lane` names.
    pub fn join(&self, lane: &Lane) -> Result<OwnedFd, OpenError> {
        let stage = predecessor::stage_name(lane.process, &lane.source);
        let open = || -> Result<OwnedFd, Errno> {
            let stage = home::open_directory(self.stage.home(), Path::new(&stage))?;
            // Without a reader it fails at once.
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let pipe = rustix::fs::openat(&stage, name(lane.number), flags, Mode::empty())?;
            rustix::io::ioctl_fionbio(&pipe, false)?;
            Ok(pipe)
        };
        open().map_err(|error| OpenError {
            what: format!(
                "the receiver that this is to be a lane of, process {}, is not there: {error}",
                lane.process
            ),
            remedy: "nothing: the source connects again".to_owned(),
        })
    }
}
