//! Sees changes by eBPF programs on the kernel's notification functions.
//!
//! The programs tell each change with its path and the time at which the kernel saw it; this is
//! the reading end. What the kernel could not tell is counted there, and becomes a gap here.

mod btf;
mod decode;
mod epochs;
mod load;
mod object;
mod settings;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::mounts::Mounts;
use super::{Config, Error, Source};
use crate::clock;
use crate::model::{Captured, Gap, Kind, Reason, Stamp, TreePath};
use crate::shutdown::Stop;
use load::Loaded;

/// Where the kernel describes its own types: without it there is no eBPF capture.
pub const BTF: &str = btf::PATH;

/// A drain of this many records means load.
const BUSY_RECORDS: usize = 32;

/// Under load the next drain waits this long: while records wait, the kernel wakes nobody, which
/// is what costs the writers most.
const LINGER: Duration = Duration::from_millis(1);

/// Records that are taken out of the ring before they are passed on.
const CHUNK_RECORDS: usize = 8192;

/// A file that stays open is told of once in this time, whatever is written to it. The change
/// is passed on at the end of it, and the file looked at later still.
const WRITES_EPOCH: Duration = Duration::from_millis(250);

/// How often the kernel's counters of lost records are read.
const LOSS_CHECK: Duration = Duration::from_secs(1);

/// Attaches to the kernel; from then on nothing that changes below the root goes unseen.
pub fn open(config: &Config) -> Result<Box<dyn Source>, Error> {
    let loaded = load::load(config)?;
    let mounts = Mounts::open(&config.root)?;
    Ok(Box::new(Capture {
        loaded,
        mounts,
        lost: 0,
        skipped: 0,
        checked: clock::now(),
        writing: Vec::new(),
        epoch: clock::now(),
    }))
}

/// Whether this kernel takes our programs from this process. Nothing is attached.
pub fn probe() -> Result<(), Error> {
    load::probe()
}

/// The functions that are hooked.
#[cfg(feature = "mutation")]
pub(super) fn hooks() -> Vec<&'static str> {
    load::PROGRAMS.iter().map(|(_, function)| *function).collect()
}

/// Whether the programs are in this build.
pub fn is_embedded() -> bool {
    !object::OBJECT.is_empty()
}

/// Attached programs, and what they have lost.
struct Capture {
    loaded: Loaded,
    mounts: Mounts,
    /// Records that were lost when last asked.
    lost: u64,
    /// Runs of the programs that the kernel had skipped when last asked.
    skipped: u64,
    checked: Stamp,
    /// Writes of this epoch to files that are open, passed on when it ends.
    writing: Vec<Captured>,
    /// When this epoch of writes began.
    epoch: Stamp,
}

impl Source for Capture {
    fn name(&self) -> &'static str {
        "ebpf"
    }

    fn stamps_in_kernel(&self) -> bool {
        true
    }

    fn run(mut self: Box<Self>, deliver: &mut dyn FnMut(Captured), stop: &Stop) -> Result<(), Error> {
        let failed = |what: &str, error: Errno| Error::new(what, &error, "start ksyncd again");
        loop {
            // SAFETY: the ring is owned by `self`, and stays open meanwhile.
            let ring = unsafe { BorrowedFd::borrow_raw(self.loaded.ring.as_raw_fd()) };
            let mut ready = [
                PollFd::new(ring, PollFlags::POLLIN),
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.mounts.as_fd(), PollFlags::POLLPRI),
            ];
            let nap = if self.writing.is_empty() {
                LOSS_CHECK
            } else {
                // Rounded up, so that the time has come when it is over.
                WRITES_EPOCH.saturating_sub(clock::now().since(self.epoch)) + Duration::from_millis(1)
            };
            match poll(&mut ready, PollTimeout::try_from(nap.as_millis()).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(failed("wait for eBPF records", error)),
            }
            if ready[2].any() == Some(true) {
                self.mounts.tell(deliver);
            }
            // Asked before the drain, so that the last drain comes after the request.
            let last = stop.requested();
            let records = self.drain(deliver);
            self.pass_on_writing(last, deliver);
            if last || clock::now().since(self.checked) >= LOSS_CHECK {
                self.count_losses(deliver);
            }
            if last {
                return Ok(());
            }
            if records >= BUSY_RECORDS {
                std::thread::sleep(LINGER);
            }
        }
    }
}

impl Capture {
    /// Takes all that is in the ring; says how many records that were. Writes to open files are
    /// kept back, everything else is delivered once the epoch has moved on.
    fn drain(&mut self, deliver: &mut dyn FnMut(Captured)) -> usize {
        let mut records = 0;
        loop {
            let mut chunk = Vec::new();
            while chunk.len() < CHUNK_RECORDS
                && let Some(record) = self.loaded.ring.next()
            {
                let decoded = decode::decode(&record, clock::now());
                chunk.push(decoded.unwrap_or_else(|decode::Damaged| gap(Reason::Unresolved, 1)));
            }
            if chunk.is_empty() {
                return records;
            }
            records += chunk.len();
            self.loaded.epochs.end_closes();
            for captured in chunk {
                if matches!(&captured, Captured::Change(change) if change.kind == Kind::Writing) {
                    self.writing.push(captured);
                } else {
                    deliver(captured);
                }
            }
        }
    }

    /// Ends the epoch of writes when its time has come, or many wait, or it is the `last` chance.
    fn pass_on_writing(&mut self, last: bool, deliver: &mut dyn FnMut(Captured)) {
        let now = clock::now();
        let due = last || now.since(self.epoch) >= WRITES_EPOCH || self.writing.len() >= CHUNK_RECORDS;
        if due && !self.writing.is_empty() {
            self.epoch = now;
            self.loaded.epochs.end_writes();
            self.writing.drain(..).for_each(deliver);
        }
    }

    /// Turns what the kernel has lost since the last time into a gap.
    fn count_losses(&mut self, deliver: &mut dyn FnMut(Captured)) {
        self.checked = clock::now();
        let lost = match self.loaded.lost.get(&0, 0) {
            Ok(by_processor) => by_processor.iter().sum(),
            // A counter that cannot be read may hide a loss.
            Err(_) => self.lost + 1,
        };
        if lost > self.lost {
            deliver(gap(Reason::RingFull, lost - self.lost));
            self.lost = lost;
        }
        let skipped = self.loaded.skipped();
        if skipped > self.skipped {
            deliver(gap(Reason::ProgramSkipped, skipped - self.skipped));
            self.skipped = skipped;
        }
    }
}

fn gap(reason: Reason, lost: u64) -> Captured {
    Captured::Gap(Gap { place: TreePath::root(), reason, lost, seen: clock::now() })
}
