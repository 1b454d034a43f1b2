//! Lists the syncs of this process, for those who look at all of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::watched::Watched;

/// All syncs, those that run longest first. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    syncs: Mutex<Vec<Arc<Watched>>>,
    reload_failed: AtomicBool,
}

impl Roster {
    pub fn set(&self, syncs: Vec<Arc<Watched>>) {
        *self.0.syncs.lock().unwrap_or_else(PoisonError::into_inner) = syncs;
    }

    pub fn all(&self) -> Vec<Arc<Watched>> {
        self.0.syncs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how reading the settings again went.
    pub fn note_reload(&self, failed: bool) {
        self.0.reload_failed.store(failed, Ordering::Relaxed);
    }

    /// Whether the settings in force are older than those that were to be read.
    pub fn reload_failed(&self) -> bool {
        self.0.reload_failed.load(Ordering::Relaxed)
    }
}
