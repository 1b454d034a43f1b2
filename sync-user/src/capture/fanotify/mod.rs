//! Sees changes by one fanotify mark on the whole file system of the root.
//!
//! The kernel merges events that wait, and a merged event stands where its oldest part stood:
//! events are no history that could be replayed. They name directories by handle, which survive
//! renames, and mark what to look at; where a handle leads is asked when the event is read.
//! Cost of setting up: one mark, whatever the number of directories.

mod group;
mod handles;
mod records;
mod translate;

use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

use super::mounts::Mounts;
use super::pace::Pace;
use super::unplaced::Unplaced;
use super::{Backend, Config, Error, Source};
use crate::aliases::Aliases;
use crate::barrier::Barrier;
use crate::clock;
use crate::model::{Captured, Origin, Reason};
use crate::shutdown::Stop;
use group::Group;
use handles::Handles;
use records::Event;

/// Read at once: some 2,000 events.
const READ_BYTES: usize = 256 << 10;

/// A drain of this many events means load, as many drains in a row do.
const BUSY_EVENTS: usize = 32;

/// Under load the kernel is given this long to merge events before the next drain. It halves
/// the cost of an event here, and the delay that it puts on writers.
const LINGER: Duration = Duration::from_millis(2);

/// A marked file system, and the means to resolve its events.
#[derive(Debug)]
struct Fanotify {
    group: Group,
    handles: Handles,
    mounts: Mounts,
    unplaced: Unplaced,
    aliases: Aliases,
    /// Processes whose changes are marked.
    ignored: Vec<u32>,
    barrier: Option<Barrier>,
}

/// Marks the file system of the root; from then on nothing that changes below goes unseen.
pub fn open(config: &Config) -> Result<Box<dyn Source>, Error> {
    let group = Group::open(config)?;
    let handles = Handles::open(&config.root)?;
    let mounts = Mounts::open(&config.root)?;
    let (unplaced, ignored, barrier) = (Unplaced::default(), config.ignored.clone(), config.barrier.clone());
    let aliases = config.aliases.clone();
    Ok(Box::new(Fanotify { group, handles, mounts, unplaced, aliases, ignored, barrier }))
}

/// Whether this process may use fanotify on the file system of `root`: marks it, and lets go.
pub fn probe(root: &std::path::Path) -> Result<(), Error> {
    Group::open(&Config::new(root.to_owned(), Backend::Fanotify))?;
    Handles::open(root)?;
    Ok(())
}

/// What the kernel is asked for, by name.
#[cfg(feature = "mutation")]
pub(super) fn hooks() -> Vec<&'static str> {
    group::hooks()
}

impl Source for Fanotify {
    fn name(&self) -> &'static str {
        "fanotify"
    }

    fn how(&self) -> String {
        "one mark on the file system".to_owned()
    }

    fn stamps_in_kernel(&self) -> bool {
        false
    }

    fn run(mut self: Box<Self>, deliver: &mut dyn FnMut(Captured), stop: &Stop) -> Result<(), Error> {
        let mut buffer = vec![0; READ_BYTES];
        let mut pace = Pace::new(clock::now());
        loop {
            let asked = self.barrier.as_ref().map_or_else(|| stop.as_fd(), AsFd::as_fd);
            let mut ready = [
                PollFd::new(self.group.as_fd(), PollFlags::POLLIN),
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.mounts.as_fd(), PollFlags::POLLPRI),
                PollFd::new(asked, PollFlags::POLLIN),
            ];
            // Rounded up, so that the time has come when it is over.
            let due = self.unplaced.due_in(clock::now()).map(|wait| wait.as_millis() + 1);
            let patience =
                due.map_or(PollTimeout::NONE, |due| PollTimeout::try_from(due).unwrap_or(PollTimeout::MAX));
            match poll(&mut ready, patience) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => {
                    return Err(Error::new("wait for fanotify events", &error, "start ksyncd again"));
                }
            }
            if ready[2].any() == Some(true) {
                self.mounts.tell(deliver);
            }
            // Asked before the drain, so that the last drain comes after the request.
            let last = stop.requested();
            let marker = self.barrier.as_ref().and_then(Barrier::placed);
            let events = self.drain(&mut buffer, deliver)?;
            self.unplaced.tell(last || marker.is_some(), clock::now(), deliver);
            if let (Some(barrier), Some(marker)) = (&self.barrier, marker) {
                barrier.captured(marker);
            }
            if last {
                return Ok(());
            }
            if events >= BUSY_EVENTS || (events > 0 && pace.lingers(clock::now())) {
                std::thread::sleep(LINGER);
            }
        }
    }
}

impl Fanotify {
    /// Reads and delivers all that the kernel holds; says how many events that were.
    fn drain(&mut self, buffer: &mut [u8], deliver: &mut dyn FnMut(Captured)) -> Result<usize, Error> {
        self.handles.forget();
        let mut drained = 0;
        loop {
            let count = match nix::unistd::read(self.group.as_fd(), buffer) {
                Ok(0) | Err(Errno::EAGAIN) => break,
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(Error::new("read fanotify events", &error, "start ksyncd again")),
            };
            let read = clock::now();
            let events: Vec<Event<'_>> = records::events(&buffer[..count]).collect();
            drained += events.len();
            self.handles.take_as_ended(events.iter().filter_map(Event::ended));
            for event in &events {
                let tgid = u32::try_from(event.process).unwrap_or(0);
                let origin = Origin { tgid, ignored: self.ignored.contains(&tgid), ..Origin::default() };
                let (handles, aliases) = (&mut self.handles, &self.aliases);
                if translate::translate(event, handles, aliases, origin, read, deliver).is_err() {
                    self.unplaced.add(Reason::Unresolved);
                }
            }
        }
        Ok(drained)
    }
}
