//! Compares the whole source with the whole target, at the start of each connection.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use tracing::{info, warn};

use super::{NAP, Replica};
use crate::clock;
use crate::daemon::observe::present;
use crate::ledger::{Held, Listed};
use crate::model::{Batch, Content, Depth, Look, Owner, Stamp, TreePath};
use crate::ship::{Event, Session, SessionError};
use crate::wire;

/// What the target says that it holds, and whom the source's entries belong to.
pub(super) struct Listing {
    entries: Vec<Listed>,
    at_source: BTreeMap<TreePath, Owner>,
}

impl Replica {
    /// Asks for the target's listing; `None` when the run is abandoned meanwhile.
    pub(super) fn list(&mut self, session: &mut Session) -> Result<Option<Listing>, SessionError> {
        // First, since the receiver has to know the owners to tell of them by our numbers.
        let tree = Arc::clone(&self.setup.tree);
        let root = present(&tree, &TreePath::root()).map(|entry| (TreePath::root(), entry));
        let at_source: BTreeMap<TreePath, Owner> = tree
            .scan(&TreePath::root())
            .entries
            .into_iter()
            .chain(root)
            .map(|(path, entry)| (path, entry.version.owner))
            .collect();
        session.list(at_source.values().copied());
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
                        return Ok(Some(Listing { entries, at_source }));
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
        let Listing { entries, at_source } = listing;
        let listed = entries.len();
        self.ledger.relist(entries, |path| at_source.get(path).copied());
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
fn held(listed: wire::Listed) -> Option<Listed> {
    let wire::Listed { path, version, destination, inode } = listed;
    let path = TreePath::new(&path).ok()?;
    let content = destination.as_deref().map(Content::of);
    Some(Listed { path, held: Held { version, content, settled: true, twin: None }, inode })
}
