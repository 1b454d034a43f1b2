//! Remembers outlines of the large files that the target has, so that only what changes travels.

use std::path::Path;

use tracing::{info, warn};

use crate::delta::Outline;
use crate::ledger::{Ledger, Outlines};
use crate::model::{Content, TreePath};

/// So many refusals in a row say that the target's files are never as they are believed to be: its
/// file system may keep coarser times, for example.
const REFUSALS_MAX: u32 = 8;

/// What is remembered for one target.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// `None` when they cannot be kept: then large files are sent whole.
    outlines: Option<Outlines>,
    refusals: u32,
}

impl Memory {
    /// Opens what is kept beside the ledger at `path`, and forgets what it does not know of.
    pub(super) fn open(path: &Path, ledger: &Ledger) -> Self {
        let opened = Outlines::open(path).and_then(|outlines| {
            outlines.retain(|content| ledger.has_content(content))?;
            Ok(outlines)
        });
        let told =
            |error| warn!("cannot keep outlines of large files: {error}; each is sent whole when it changes");
        Self { outlines: opened.map_err(told).ok(), refusals: 0 }
    }

    pub(super) fn recall(&self, content: Content) -> Option<Outline> {
        let outlines = self.outlines.as_ref().filter(|_| self.refusals < REFUSALS_MAX)?;
        Outline::from_bytes(&outlines.get(content)?)
    }

    /// Notes whether the target had what a file was to be built from.
    pub(super) fn answered(&mut self, was_there: bool) {
        self.refusals = if was_there { 0 } else { self.refusals.saturating_add(1) };
        if self.refusals == REFUSALS_MAX {
            info!(
                "the target's large files keep being others than those that were sent; they are sent whole from now on"
            );
        }
    }

    /// Keeps the outline of what was sent, if the ledger knows of the content.
    pub(super) fn keep(&self, content: Content, outline: &Outline, ledger: &Ledger) {
        if let Some(outlines) = self.outlines.as_ref().filter(|_| ledger.has_content(content))
            && let Err(error) = outlines.put(content, &outline.to_bytes())
        {
            info!("cannot keep the outline of a large file: {error}; it is sent whole when it changes");
        }
    }

    /// Forgets the contents that are nowhere any more, unless steps that are on their way and may be
    /// taken back concern them.
    pub(super) fn forget(&self, ledger: &mut Ledger, is_open: impl Fn(&TreePath) -> bool) {
        if let Some(outlines) = &self.outlines {
            ledger.take_lost_contents(is_open).into_iter().for_each(|content| outlines.remove(content));
        }
    }
}
