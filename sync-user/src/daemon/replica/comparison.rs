//! Compares the whole source with the whole target, at the start of each connection.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::sync::Arc;

use tracing::{info, warn};

use super::{NAP, Replica};
use crate::clock;
use crate::ledger::Held;
use crate::model::{Batch, Content, Depth, Look, Stamp, TreePath};
use crate::ship::{Event, Session, SessionError};
use crate::wire::Listed;

/// What the target says that it holds.
pub(super) struct Listing {
    entries: Vec<(TreePath, Held)>,
}

impl Replica {
    /// Asks for the target's listing; `None` when the run is abandoned meanwhile.
    pub(super) fn list(&mut self, session: &mut Session) -> Result<Option<Listing>, SessionError> {
        session.list();
        let mut entries = Vec::new();
        loop {
            let mut events = Vec::new();
            session.pump(clock::now(), &mut events)?;
            let idle = events.is_empty();
            for event in events {
                match event {
                    Event::Listing(listed) => entries.extend(listed.into_iter().filter_map(held)),
                    Event::ListingEnd(unreadable) => {
                        for place in &unreadable {
                            let path = String::from_utf8_lossy(&place.path);
                            warn!(target = %self.setup.target, %path, "the target cannot list it: {}", place.cause);
                        }
                        return Ok(Some(Listing { entries }));
                    }
                    other => self.handle(other),
                }
            }
            if self.setup.abandon.requested() {
                return Ok(None);
            }
            if idle {
                session.wait(&[self.setup.abandon.as_fd()], NAP)?;
            }
        }
    }

    /// Takes the listing for what the target holds, and sends the differences. What only the
    /// target has stays there (I3).
    pub(super) fn compare(&mut self, session: &mut Session, listing: Listing) {
        let started = clock::now();
        let tree = Arc::clone(&self.setup.tree);
        let at_source: BTreeSet<TreePath> = tree.scan(&TreePath::root()).entries.into_keys().collect();
        let listed = listing.entries.len();
        self.ledger.relist(listing.entries, |path| at_source.contains(path));
        let mut looks = self.retries.take_all();
        looks.insert(TreePath::root(), Look { depth: Depth::Below, content: false, stamps: None });
        self.execute(session, &Batch { looks, moves: Vec::new(), closed: clock::now() });
        self.setup.gauges.counters.rescans.add(1);
        let (source, took) = (at_source.len(), took(started));
        info!(target = %self.setup.target, source, listed, to_do = session.unsent(), took, "compared the trees");
    }
}

fn took(started: Stamp) -> String {
    format!("{:.3} s", clock::now().since(started).as_secs_f64())
}

/// A listed entry, if its path is one that could be ours.
fn held(listed: Listed) -> Option<(TreePath, Held)> {
    let Listed { path, version, destination } = listed;
    let path = TreePath::new(&path).ok().filter(|path| !path.is_root())?;
    let content = destination.as_deref().map(Content::of);
    Some((path, Held { version, content, settled: true }))
}
