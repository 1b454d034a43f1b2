//! Compares the whole source with what the target holds, at the start of each connection.
//!
//! What it holds is in the ledger where that can be believed, or else the target lists it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use tracing::{info, warn};

use super::trust::{Trust, trust};
use super::{NAP, Replica};
use crate::clock;
use crate::daemon::observe::present;
use crate::ledger::{About, Doubts, Held, Listed};
use crate::metadata;
use crate::model::{Batch, Content, Depth, FileKind, Look, Owner, Stamp, TreePath, Version};
use crate::ship::{Event, Session, SessionError, Transport};
use crate::wire::{self, Claimed};

/// What the target says that it holds, and what the source does.
pub(super) struct Listing {
    pub(super) entries: Vec<Listed>,
    pub(super) at_source: BTreeMap<TreePath, Version>,
    /// The first place of the source that could not be read, and why.
    pub(super) unreadable: Option<(TreePath, String)>,
}

impl Replica {
    /// Finds out how much of the ledger can be believed, and begins to keep one about this
    /// connection.
    pub(super) fn recognise(&mut self, claimed: Claimed) -> Trust {
        let Claimed { root, id, last_visit, visit, boot: target_boot, is_shared } = claimed;
        let (address, tree) = (&self.setup.target, &self.setup.tree);
        let about = About {
            source: tree.inode(),
            target: root,
            id,
            visit,
            preserve: tree.preserve(),
            numeric_ids: self.setup.terms.numeric_ids,
            boot: metadata::boot(),
            target_boot,
            complete: false,
        };
        let mut trust = trust(self.about.as_ref(), &about, last_visit);
        // What was on its way when the connection was cut need not be sent again if it arrived. And by
        // SFTP nobody tells whether the target's machine has crashed since.
        if trust == Trust::All && (self.acquainted || self.setup.transport == Transport::Sftp) {
            trust = Trust::Until;
        }
        if trust == Trust::All && !self.doubts.is_empty() {
            // Nor what the journal tells of.
            trust = Trust::Until;
        }
        let holds_any = self.ledger.has_below(&TreePath::root());
        if trust == Trust::Nothing && holds_any {
            warn!(target = %address, "the ledger is about another source or target: what is at the target now stays there");
        } else if holds_any && tree.is_empty() {
            warn!(target = %address, "the source is empty, and was not: what is at the target now stays there");
            trust = Trust::Nothing;
        }
        if trust == Trust::Nothing {
            self.ledger.clear();
            self.doubts = Doubts::default();
        }
        // Until it is compared with the listing it is not to be believed, even if the connection ends.
        let visit = if trust == Trust::All { about.visit } else { [0; 16] };
        let about = About { visit, ..about };
        if let Some(keeper) = &mut self.keeper {
            keeper.begin(about.clone(), trust == Trust::Nothing);
        }
        self.about = Some(about);
        self.elsewhere.meets(is_shared, self.setup.alone);
        self.expect_arrivals();
        trust
    }

    /// Takes the ledger for what the target holds, and sends the differences.
    pub(super) fn resume(&mut self, session: &mut Session) {
        let (started, known) = (clock::now(), self.ledger.len());
        self.send_differences(session);
        let took = took(started);
        info!(target = %self.setup.target, known, to_do = session.unsent(), took, "compared the source with the ledger");
    }

    /// Looks at everything, and sends what the ledger does not hold. The plan owes what the comparison
    /// does, and all that was put off.
    fn send_differences(&mut self, session: &mut Session) {
        let since = self.retries.oldest().into_iter().chain([self.debts.compared()]).min();
        self.retries.owe_since(since.unwrap_or(0));
        let mut looks = self.retries.take_all();
        looks.insert(TreePath::root(), Look { depth: Depth::Below, content: false, stamps: None });
        self.execute(session, Batch { looks, moves: Vec::new(), gaps: 0, closed: clock::now() });
        if self.flights.len() > 0 {
            self.flights.begin_catching_up();
        }
        self.setup.gauges.counters.rescans.add(1);
        self.target().rescans.add(1);
    }

    /// Asks for the target's listing; `None` when the run is abandoned meanwhile.
    pub(super) fn list(&mut self, session: &mut Session) -> Result<Option<Listing>, SessionError> {
        // First, since the receiver has to know the owners to tell of them by our numbers.
        let tree = Arc::clone(&self.setup.tree);
        let root = present(&tree, &TreePath::root()).map(|entry| (TreePath::root(), entry));
        let scan = tree.scan(&TreePath::root());
        let unread = scan.unreadable.into_iter().next().map(|place| (place.place, place.cause));
        let at_source: BTreeMap<TreePath, Version> =
            scan.entries.into_iter().chain(root).map(|(path, entry)| (path, entry.version)).collect();
        session.list(at_source.values().map(|version| version.owner));
        let mut entries = Vec::new();
        loop {
            let mut events = Vec::new();
            session.pump(clock::now(), &mut events, &|_| None)?;
            let idle = events.is_empty();
            for event in events {
                match event {
                    Event::Listing(listed) => entries.extend(listed.into_iter().filter_map(held)),
                    Event::ListingEnd(unreadable) => {
                        for place in &unreadable {
                            let path = String::from_utf8_lossy(&place.path);
                            warn!(target = %self.setup.target, %path, "the target cannot list it: {}", place.cause);
                        }
                        return Ok(Some(Listing { entries, at_source, unreadable: unread }));
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
    /// target has stays there (I3), unless it is to be removed.
    pub(super) fn compare(&mut self, session: &mut Session, listing: Listing, trust: Trust) {
        let started = clock::now();
        if self.is_two_way() {
            return self.merge(session, listing, started);
        }
        let is_shared = session.claimed().is_none_or(|claimed| claimed.is_shared);
        let extraneous = self.extraneous(&listing, is_shared);
        let Listing { entries, at_source, unreadable: _ } = listing;
        let listed = entries.len();
        let is_exact = trust == Trust::Until;
        let ours = |path: &TreePath| {
            let removed = extraneous.contains(path).then_some(Owner::NOBODY);
            at_source.get(path).map(|version| version.owner).or(removed)
        };
        for path in self.ledger.relist(entries, is_exact, ours) {
            // What the source has is sent again, and told then.
            if !at_source.contains_key(&path) {
                self.kept(&path, None);
            }
        }
        self.store_compared(session);
        self.send_differences(session);
        let (source, took) = (at_source.len(), took(started));
        info!(target = %self.setup.target, source, listed, to_do = session.unsent(), took, "compared the trees");
    }

    /// From now on the ledger says what this connection was told.
    fn store_compared(&mut self, session: &Session) {
        let (Some(about), Some(claimed)) = (&mut self.about, session.claimed()) else { return };
        about.visit = claimed.visit;
        if let Some(keeper) = &mut self.keeper {
            keeper.compared(about.clone(), &mut self.ledger);
        }
    }

    /// Compares three ways: both ends may have changed since they agreed.
    fn merge(&mut self, session: &mut Session, listing: Listing, started: Stamp) {
        // What has arrived since the listing was asked for is newer than that.
        self.take_arrivals();
        let Listing { entries, at_source, unreadable: _ } = listing;
        let (source, listed) = (at_source.len(), entries.len());
        let tree = Arc::clone(&self.setup.tree);
        let is_ours = |listed: &Listed| {
            !tree.excludes_as(&listed.path, listed.held.version.kind == FileKind::Directory)
        };
        let doubts = std::mem::take(&mut self.doubts);
        let here = |path: &TreePath| at_source.get(path).copied();
        let missing = self.ledger.merge(entries.into_iter().filter(is_ours), &doubts, here);
        let lacking = missing.len();
        self.lacking.add(missing);
        self.store_compared(session);
        self.send_differences(session);
        let took = took(started);
        info!(target = %self.setup.target, source, listed, lacking, to_do = session.unsent(), took, "merged the trees");
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
