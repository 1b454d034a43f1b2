//! Follows what the target itself has sent here, where replication is two-way: the ledger says
//! what both ends have agreed on.

use std::time::Duration;

use super::Replica;
use super::flights::Flight;
use crate::clock;
use crate::daemon::arrivals::Notice;
use crate::daemon::observe::present;
use crate::ledger::Held;
use crate::model::{Content, Depth, Expected, FileKind, Look, Step, TreePath, Version};
use crate::plan::Planned;
use crate::wire::Arrived;

impl Replica {
    /// What the target sends here is kept from now on.
    pub(super) fn expect_arrivals(&self) {
        if let (Some(arrivals), Some(about)) = (&self.setup.arrivals, &self.about) {
            arrivals.expect(about.id);
        }
    }

    /// Takes what receivers of this root have said since the last time. To be done before a look
    /// at the tree.
    pub(super) fn take_arrivals(&mut self) {
        let (Some(arrivals), Some(about)) = (self.setup.arrivals.clone(), &self.about) else { return };
        let root = about.id;
        let notices = arrivals.take(root);
        for notice in notices {
            self.lacking.stir();
            match notice {
                Notice::Arrived(arrived) => {
                    self.arrived(arrived);
                }
                Notice::Holds(entries) => {
                    for (path, version) in entries {
                        self.holds(path, version);
                    }
                }
                Notice::Elsewhere(arrived) => self.came_from_elsewhere(&arrived),
                Notice::HoldsToo(entries) => self.target_holds_too(entries),
                // Whatever became of it: what is here now is compared, and met if it is there.
                Notice::Interrupted(paths) => {
                    for path in paths {
                        self.look_again(path, Depth::Entry, Duration::ZERO);
                    }
                }
            }
        }
        arrivals.noted(root);
    }

    /// Both ends hold this now; `None` for paths that are none.
    fn arrived(&mut self, arrived: Arrived) -> Option<()> {
        let path = |bytes: &[u8]| TreePath::new(bytes).ok();
        let (step, becomes) = match arrived {
            Arrived::Put { path: at, version, content } => {
                let path = path(&at)?;
                let here = present(&self.setup.tree, &path);
                if here.is_some_and(|here| here.version.mode != version.mode) {
                    // The stricter one has stayed, and the target has the other.
                    self.look_again(path.clone(), Depth::Entry, Duration::ZERO);
                }
                (change(&path, version), Some(held(version, content)))
            }
            Arrived::Attributes { path: at, version } => {
                let path = path(&at)?;
                let before = self.ledger.held(&path)?;
                (change(&path, version), Some(Held { version, ..before }))
            }
            Arrived::Link { path: at, to, version } => {
                let (path, to) = (path(&at)?, path(&to)?);
                let leader = self.ledger.held(&to)?;
                let twin = leader.twin.unwrap_or_else(|| self.ledger.new_twin());
                let becomes = Held { twin: Some(twin), ..leader };
                (Step::Link { path, to, expects: version, replaces: Expected::Anything }, Some(becomes))
            }
            Arrived::Removed { path: at } => {
                (Step::RemoveFile { path: path(&at)?, expects: Expected::Anything }, None)
            }
            Arrived::Renamed { from, to, version: expects } => {
                let (from, to) = (path(&from)?, path(&to)?);
                (Step::Rename { from, to, expects, replaces: Expected::Anything }, None)
            }
            Arrived::Exchanged { one, other, versions: (expects_one, expects_other) } => {
                let (one, other) = (path(&one)?, path(&other)?);
                (Step::Exchange { one, other, expects_one, expects_other }, None)
            }
        };
        let is_directory = becomes.is_some_and(|held| held.version.kind == FileKind::Directory);
        if step.paths().any(|path| self.setup.tree.excludes_as(path, is_directory)) {
            return None;
        }
        self.flights.cross(&step, becomes);
        self.doubts.arrived(&step);
        self.holding.arrived(&step);
        self.lacking.arrived(&step);
        self.elsewhere.arrived(&step);
        self.follow_target(step, becomes);
        Some(())
    }

    /// The target says what it holds, since its ledger and this one may say different things.
    fn holds(&mut self, path: TreePath, version: Option<Version>) {
        let is_directory = version.is_some_and(|version| version.kind == FileKind::Directory);
        if self.setup.tree.excludes_as(&path, is_directory) {
            return;
        }
        let Some(version) = version else {
            self.target_holds_nothing(&path);
            return self.look_again(path, Depth::Below, Duration::ZERO);
        };
        // Of owners and the like this end has its own numbers.
        let here = present(&self.setup.tree, &path).map_or(version, |entry| entry.version);
        let version = Version { owner: here.owner, xattrs: here.xattrs, ..version };
        self.target_holds(&path, Some(held(version, None)));
        let look = Look { depth: Depth::Entry, content: false, stamps: None };
        self.retries.put_off(path, look, clock::now());
    }

    /// Nothing is known of what the target has at `path` and below.
    pub(super) fn target_holds_nothing(&mut self, path: &TreePath) {
        for (below, _) in self.ledger.at_or_below(path) {
            self.target_holds(&below, None);
            self.guard.forget(&below);
        }
    }

    /// Has the ledger follow what is so at the target without a step of ours.
    pub(super) fn follow_target(&mut self, step: Step, becomes: Option<Held>) {
        let undo = self.ledger.follow(&step, becomes);
        self.follow_held(&step);
        if let Some(keeper) = &mut self.keeper {
            // What crosses it may be at the target, too.
            let (crossed, agreed): (Vec<_>, Vec<_>) =
                undo.paths().partition(|path| self.flights.concern(path));
            keeper.note(&self.ledger, crossed.into_iter());
            keeper.note_agreed(&self.ledger, agreed.into_iter());
        }
        let planned = Planned { step, becomes, undo, old_files: Vec::new() };
        self.flights.add_foreign(Flight::new(planned, None, clock::now()));
    }
}

/// A step that leaves this version at the path, as far as the ledger is concerned.
fn change(path: &TreePath, version: Version) -> Step {
    Step::SetAttributes { path: path.clone(), version, expects: Expected::Anything }
}

pub(super) fn held(version: Version, content: Option<Content>) -> Held {
    let settled = version.kind != FileKind::File || version.mtime.settled(clock::wall());
    Held { version, content, settled, twin: None }
}
