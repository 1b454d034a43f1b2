//! Turns what the kernel reports below the root into [`Change`](crate::model::Change)s.
//!
//! Two backends give the same changes: `ebpf` on the kernel's own notification functions, and
//! `fanotify` with one mark for the whole file system. Neither has a cost per directory.

mod choose;
pub mod ebpf;
pub mod fanotify;
mod mounts;
mod pace;
mod requirements;
mod unplaced;

pub use choose::open;
pub use requirements::{Requirement, Requirements, State as RequirementState, requirements};

use std::path::PathBuf;

use crate::aliases::Aliases;
use crate::barrier::Barrier;
use crate::model::{Captured, TreePath};
use crate::shutdown::Stop;
use sync_ebpf::IGNORED_MAX;

/// Which backend shall see the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// eBPF where this kernel allows it, else fanotify.
    Auto,
    Ebpf,
    Fanotify,
}

/// The ring between the eBPF programs and us, unless asked otherwise: about 150,000 records of
/// usual length.
pub const RING_BYTES: u64 = 16 << 20;

/// What to watch, and how.
#[derive(Debug, Clone)]
pub struct Config {
    root: PathBuf,
    backend: Backend,
    ring_bytes: u64,
    ignored: Vec<u32>,
    excluded: Vec<TreePath>,
    /// A hook to leave out, which only a test does.
    without: Option<&'static str>,
    barrier: Option<Barrier>,
    aliases: Aliases,
}

impl Config {
    pub fn new(root: PathBuf, backend: Backend) -> Self {
        let (ignored, excluded) = (Vec::new(), Vec::new());
        let (without, barrier, aliases) = (None, None, Aliases::unknown());
        Self { root, backend, ring_bytes: RING_BYTES, ignored, excluded, without, barrier, aliases }
    }

    /// Asks `aliases` which names below the root a file has that was changed by one outside of it.
    /// Without them each such change is a gap.
    #[must_use]
    pub fn with_aliases(mut self, aliases: Aliases) -> Self {
        self.aliases = aliases;
        self
    }

    /// Passes on the markers of `barrier`, each behind everything that happened before it.
    #[must_use]
    pub fn with_barrier(mut self, barrier: Barrier) -> Self {
        self.barrier = Some(barrier);
        self
    }

    /// Sets the size of the eBPF ring, in bytes; the kernel takes the next power of two, from
    /// 4 KiB to 1 GiB.
    #[must_use]
    pub fn with_ring_bytes(mut self, bytes: u64) -> Self {
        self.ring_bytes = bytes;
        self
    }

    /// Marks the changes that these processes make, by
    /// [`Origin::ignored`](crate::model::Origin). At most 8 are told apart; of more, the rest are
    /// not marked.
    #[must_use]
    pub fn ignoring(mut self, processes: impl IntoIterator<Item = u32>) -> Self {
        self.ignored.extend(processes);
        self.ignored.truncate(IGNORED_MAX);
        self
    }

    /// Directories below which nothing has to be told. They are left out as early as the backend
    /// can, which may be never: whoever reads the changes has to leave them out, too.
    #[must_use]
    pub fn without_below(mut self, directories: Vec<TreePath>) -> Self {
        self.excluded = directories;
        self
    }

    /// Leaves out one of [`hooks`]: to show that each is needed.
    #[cfg(feature = "mutation")]
    #[must_use]
    pub fn without(mut self, hook: &'static str) -> Self {
        self.without = Some(hook);
        self
    }

    fn has(&self, hook: &str) -> bool {
        self.without != Some(hook)
    }
}

/// What a backend asks the kernel to tell, by name.
#[cfg(feature = "mutation")]
pub fn hooks(backend: Backend) -> Vec<&'static str> {
    match backend {
        Backend::Ebpf => ebpf::hooks(),
        Backend::Auto | Backend::Fanotify => fanotify::hooks(),
    }
}

/// A backend that is attached to the kernel: whatever happens below the root from now on will
/// be delivered, as a change or as a gap.
pub trait Source: Send {
    /// `ebpf` or `fanotify`, for people and logs.
    fn name(&self) -> &'static str;

    /// By which means, for people: "by fentry".
    fn how(&self) -> String;

    /// Whether `Change::seen` is the kernel's own time, or only when the event was read.
    fn stamps_in_kernel(&self) -> bool;

    /// Delivers what was captured, in the kernel's order, until `stop` is requested; then
    /// delivers what the kernel already holds, and returns.
    ///
    /// `deliver` never blocks (I9). An event that cannot be understood becomes a gap, not an
    /// error; an error means that this backend cannot go on at all.
    fn run(self: Box<Self>, deliver: &mut dyn FnMut(Captured), stop: &Stop) -> Result<(), Error>;
}

/// Why a backend could not start, or could not go on.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What failed and how, lower case: "load the eBPF programs: operation not permitted".
    pub what: String,
    /// What the operator can do about it, one sentence.
    pub remedy: String,
}

impl Error {
    pub(crate) fn new(what: &str, cause: &dyn std::fmt::Display, remedy: &str) -> Self {
        Self { what: format!("{what}: {cause}"), remedy: remedy.to_owned() }
    }
}
