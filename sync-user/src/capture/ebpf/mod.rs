//! Sees changes by eBPF programs on the kernel's notification functions.
//!
//! The programs tell each change with its path and the time at which the kernel saw it; this is
//! the reading end. What the kernel could not tell is counted there, and becomes a gap here.

mod btf;
mod decode;
mod epochs;
mod exclusions;
mod handshake;
mod held;
mod hooks;
mod load;
mod object;
mod preemption;
mod settings;
mod watch;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::mounts::Mounts;
use super::pace::Pace;
use super::unplaced::Unplaced;
use super::{Config, Error, Source};
use crate::aliases::{Aliases, Found};
use crate::barrier::Barrier;
use crate::clock;
use crate::model::{Captured, Gap, Kind, Reason, Stamp, TreePath};
use crate::shutdown::Stop;
use decode::{Elsewhere, Record, Told};
use held::Held;
use load::Loaded;

/// Where the kernel describes its own types: without it there is no eBPF capture.
pub const BTF: &str = btf::PATH;

/// How long records gather under load.
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
        pace: Pace::new(clock::now()),
        held: Held::default(),
        epoch: clock::now(),
        unplaced: Unplaced::default(),
        aliases: config.aliases.clone(),
        barrier: config.barrier.clone(),
        records_max: config.ring_bytes.next_power_of_two() as usize / sync_ebpf::HEAD_BYTES,
    }))
}

/// Whether this kernel takes our programs from this process.
pub fn probe() -> Result<(), Error> {
    load::probe()
}

/// What the kernel is asked for, by name.
#[cfg(feature = "mutation")]
pub(super) fn hooks() -> Vec<&'static str> {
    let functions = [hooks::FSNOTIFY.function, hooks::FILE_UPDATE_TIME.function];
    functions.into_iter().chain(watch::CONTENT.iter().map(|(name, _)| *name)).collect()
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
    pace: Pace,
    /// Writes of this epoch to files that are open.
    held: Held,
    /// When the first of them was kept back.
    epoch: Stamp,
    unplaced: Unplaced,
    aliases: Aliases,
    barrier: Option<Barrier>,
    /// How many records the ring has room for, at most.
    records_max: usize,
}

impl Source for Capture {
    fn name(&self) -> &'static str {
        "ebpf"
    }

    fn how(&self) -> String {
        self.loaded.how()
    }

    fn stamps_in_kernel(&self) -> bool {
        true
    }

    fn run(mut self: Box<Self>, deliver: &mut dyn FnMut(Captured), stop: &Stop) -> Result<(), Error> {
        let failed = |what: &str, error: Errno| Error::new(what, &error, "start ksyncd again");
        loop {
            // SAFETY: the ring is owned by `self`, and stays open meanwhile.
            let ring = unsafe { BorrowedFd::borrow_raw(self.loaded.ring.as_raw_fd()) };
            let asked = self.barrier.as_ref().map_or_else(|| stop.as_fd(), AsFd::as_fd);
            let mut ready = [
                PollFd::new(ring, PollFlags::POLLIN),
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.mounts.as_fd(), PollFlags::POLLPRI),
                PollFd::new(asked, PollFlags::POLLIN),
            ];
            let nap = self.nap(clock::now());
            match poll(&mut ready, PollTimeout::try_from(nap.as_millis()).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(failed("wait for eBPF records", error)),
            }
            let (woken, mounts_changed) = (ready[0].any() == Some(true), ready[2].any() == Some(true));
            if mounts_changed {
                self.mounts.tell(deliver);
            }
            // Asked before the drain, so that the last drain comes after the request.
            let last = stop.requested();
            if woken && !last && self.pace.lingers(clock::now()) {
                std::thread::sleep(LINGER);
            }
            let marker = self.barrier.as_ref().and_then(Barrier::placed);
            let mut drained = self.drain(deliver);
            // What was there when the marker was placed is no more than the ring has room for.
            while marker.is_some() && drained < self.records_max && self.holds_more() {
                std::thread::yield_now();
                drained += self.drain(deliver);
            }
            let all = last || marker.is_some();
            self.end_epoch_of_writes(all, deliver);
            self.unplaced.tell(all, clock::now(), deliver);
            if all || clock::now().since(self.checked) >= LOSS_CHECK {
                self.count_losses(deliver);
            }
            if let (Some(barrier), Some(marker)) = (&self.barrier, marker) {
                barrier.captured(marker);
            }
            if last {
                return Ok(());
            }
        }
    }
}

impl Capture {
    /// How long nothing has to be done but to wait for records.
    fn nap(&self, now: Stamp) -> Duration {
        let epoch = (!self.held.is_empty()).then(|| WRITES_EPOCH.saturating_sub(now.since(self.epoch)));
        let waits = [epoch, self.unplaced.due_in(now)];
        // Rounded up, so that the time has come when it is over.
        waits.into_iter().flatten().min().map_or(LOSS_CHECK, |wait| wait + Duration::from_millis(1))
    }

    /// Whether there is a record in the ring, be it one that a program is still writing: behind
    /// such a one there may be others that are complete, and cannot be read yet.
    fn holds_more(&self) -> bool {
        // SAFETY: the ring is owned by `self`, and stays open meanwhile.
        let ring = unsafe { BorrowedFd::borrow_raw(self.loaded.ring.as_raw_fd()) };
        let mut ready = [PollFd::new(ring, PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Takes all that is in the ring. Writes to open files are kept back, everything else is
    /// delivered once the epoch of closes has ended. Says how many records that were.
    fn drain(&mut self, deliver: &mut dyn FnMut(Captured)) -> usize {
        let mut drained = 0;
        loop {
            let mut chunk = Vec::new();
            while chunk.len() < CHUNK_RECORDS
                && let Some(record) = self.loaded.ring.next()
            {
                match decode::decode(&record, clock::now()) {
                    Ok(record) => chunk.push(record),
                    Err(decode::Damaged) => self.unplaced.add(Reason::Unresolved),
                }
            }
            if chunk.is_empty() {
                return drained;
            }
            drained += chunk.len();
            self.loaded.epochs.end_closes();
            // A file is told of by the name that it had. Once that is another one, what was kept
            // quiet about has to be looked at by the new name, which the rename leads to.
            if chunk.iter().any(|record| record.is_rename) {
                self.end_epoch_of_writes(true, deliver);
            }
            for record in chunk {
                self.deliver(record, deliver);
            }
        }
    }

    fn deliver(&mut self, record: Record, deliver: &mut dyn FnMut(Captured)) {
        let Record { told, processor, is_rename: _ } = record;
        if self.held.is_empty() {
            self.epoch = clock::now();
        }
        match told {
            Told::Unplaced(reason) => self.unplaced.add(reason),
            Told::Elsewhere(change) if change.kind == Kind::Writing => {
                self.held.hold_elsewhere(change, processor);
            }
            Told::Elsewhere(change) => self.deliver_elsewhere(&change, deliver),
            Told::Change(change) => {
                match &change.kind {
                    Kind::Writing => return self.held.hold(&change, processor),
                    // Its first writes are not told.
                    Kind::Created => self.held.hold(&change, processor),
                    Kind::Written => self.held.closed(&change.path, processor),
                    _ => {}
                }
                deliver(Captured::Change(change));
            }
        }
    }

    /// Tells of a file by all names that it has below the root.
    fn deliver_elsewhere(&mut self, change: &Elsewhere, deliver: &mut dyn FnMut(Captured)) {
        match self.aliases.of(change.inode) {
            Found::Names(names) => {
                for name in names {
                    deliver(Captured::Change(change.at(name)));
                }
            }
            Found::Anywhere => self.unplaced.add(Reason::Unresolved),
        }
    }

    /// Ends the epoch of writes when its time has come, or many wait, or `now`.
    fn end_epoch_of_writes(&mut self, now: bool, deliver: &mut dyn FnMut(Captured)) {
        let is_due = !self.held.is_empty()
            && (clock::now().since(self.epoch) >= WRITES_EPOCH || self.held.len() >= CHUNK_RECORDS);
        // Asked to, also when nothing is held: of what is excluded nothing is told at all.
        if now || is_due {
            self.loaded.epochs.end_writes();
            let (paths, inodes) = self.held.release();
            paths.for_each(|change| deliver(Captured::Change(change)));
            inodes.for_each(|change| self.deliver_elsewhere(&change, deliver));
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
        let skipped = self.loaded.attached.skipped();
        if skipped > self.skipped {
            deliver(gap(Reason::ProgramSkipped, skipped - self.skipped));
            // The new programs count from 0.
            self.skipped = if self.loaded.stop_being_skipped() { 0 } else { skipped };
        }
    }
}

fn gap(reason: Reason, lost: u64) -> Captured {
    Captured::Gap(Gap { place: TreePath::root(), reason, lost, seen: clock::now() })
}
