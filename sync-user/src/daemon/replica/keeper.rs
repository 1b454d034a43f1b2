//! Keeps the ledger for the next run, behind the replica's back.
//!
//! A commit waits for the disk, and a replica waits for nobody: a thread of its own stores many
//! changes at once. What changes meanwhile gathers in the ledger, by path, so that it stays
//! bounded however slow the disk is; and what is not stored yet is in the journal.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use tracing::{info, warn};

use crate::clock;
use crate::ledger::{About, Entry, Journal, Known, Ledger, Note, Saved, Store, StoreError};
use crate::model::{Stamp, TreePath};

/// How often the ledger is stored.
pub(super) const STORE_EVERY: Duration = Duration::from_millis(200);

/// Collecting what is to be stored takes at most this part of the replica's time: while hundreds
/// of thousands of steps are on their way, each of them is asked for.
const COLLECTING_PART: u32 = 20;

/// A journal that is longer is written anew, with what is not stored yet.
const JOURNAL_BYTES_MAX: u64 = 4 << 20;

/// The files of one ledger, and the thread that stores it.
pub(super) struct Keeper {
    orders: Sender<Order>,
    thread: JoinHandle<()>,
    journal: Journal,
    /// The ledger could not be kept, and nothing of it is left.
    is_forgotten: bool,
    /// Orders given, and those done.
    given: u64,
    done: Arc<AtomicU64>,
    /// When the ledger is stored next.
    due: Stamp,
}

enum Order {
    Begin { about: About, anew: bool },
    Commit { entries: Vec<Entry>, about: Option<About> },
    Forget,
}

impl Keeper {
    /// Opens the ledger, and gives what the last run left, and what its journal says of what it may
    /// have done since. A ledger that cannot be kept is told, and the run goes on without.
    pub(super) fn open(path: &Path) -> Option<(Self, Option<Saved>, Vec<Note>)> {
        let opened = Store::open(path).and_then(|(store, saved)| {
            let (journal, noted) = Journal::open(&path.with_extension("journal"))?;
            Ok((store, saved, journal, noted))
        });
        let (store, saved, journal, noted) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                warn!(path = %path.display(), "cannot keep the ledger: {error}; the next start has to list the target");
                return None;
            }
        };
        let saved = saved.unwrap_or_else(|damage| {
            warn!(path = %path.display(), "the ledger is damaged and was set aside: {damage}; the target is listed instead, and nothing removed");
            None
        });
        let (orders, received) = bounded(1);
        let done = Arc::new(AtomicU64::new(0));
        let work = {
            let (path, done) = (path.to_owned(), Arc::clone(&done));
            move || run(store, &received, &path, &done)
        };
        let thread = thread::Builder::new().name("ledger".to_owned()).spawn(work).ok()?;
        let keeper = Self { orders, thread, journal, is_forgotten: false, given: 0, done, due: Stamp(0) };
        Some((keeper, saved, noted))
    }

    /// Says what the ledger is about from now on; with `anew` all that was stored is forgotten.
    pub(super) fn begin(&mut self, about: About, anew: bool) {
        if anew {
            let cleared = self.journal.clear();
            self.check(cleared);
        }
        self.order(Order::Begin { about, anew });
    }

    /// Notes what steps are about to change, and what the ledger says of it by now, before they are
    /// sent.
    pub(super) fn note<'a>(&mut self, ledger: &Ledger, paths: impl Iterator<Item = &'a TreePath>) {
        self.add(paths.map(|path| note(path, ledger.get(path), false)));
    }

    /// Notes what has come from the target, and is agreed on for sure.
    pub(super) fn note_agreed<'a>(&mut self, ledger: &Ledger, paths: impl Iterator<Item = &'a TreePath>) {
        self.add(paths.map(|path| note(path, ledger.get(path), true)));
    }

    /// Notes that for a moment nothing may be there.
    pub(super) fn note_gap<'a>(&mut self, paths: impl Iterator<Item = &'a TreePath>) {
        self.add(paths.map(|path| note(path, None, false)));
    }

    fn add(&mut self, notes: impl Iterator<Item = Note>) {
        if !self.is_forgotten {
            let added = self.journal.add(notes);
            self.check(added);
        }
    }

    /// Stores a ledger that was compared with the target's listing, and only then says what it is
    /// about: half of it would pass for all.
    pub(super) fn compared(&mut self, about: About, ledger: &mut Ledger) {
        let entries = ledger.take_touched(|_| false);
        self.order(Order::Commit { entries, about: Some(about) });
    }

    /// Whether anything is still to be stored, or to be taken out of the journal.
    pub(super) fn is_behind(&self, ledger: &Ledger) -> bool {
        self.journal.bytes() > 0 || ledger.touched().next().is_some()
    }

    /// Stores what has changed in the ledger, now and then, but for the paths that `is_open`.
    pub(super) fn store(&mut self, ledger: &mut Ledger, is_open: impl Fn(&TreePath) -> bool, now: Stamp) {
        let is_idle = self.done.load(Ordering::Acquire) == self.given;
        if !is_idle || now < self.due {
            return;
        }
        if ledger.touched().next().is_none() {
            if self.journal.bytes() > 0 {
                let cleared = self.journal.clear();
                self.check(cleared);
            }
            return;
        }
        if self.journal.bytes() > JOURNAL_BYTES_MAX {
            let replaced =
                self.journal.replace(ledger.touched().map(|path| note(path, ledger.get(path), false)));
            self.check(replaced);
        }
        let entries = ledger.take_touched(is_open);
        if !entries.is_empty() {
            self.order(Order::Commit { entries, about: None });
        }
        let took = clock::now().since(now);
        self.due = now.plus(STORE_EVERY.max(took * COLLECTING_PART));
    }

    /// Stores the rest, with `about` if the ledger is complete, and waits for it.
    pub(super) fn finish(mut self, entries: Vec<Entry>, about: Option<About>) {
        let is_complete = about.is_some();
        self.order(Order::Commit { entries, about });
        let Self { orders, thread, mut journal, .. } = self;
        drop(orders);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if is_complete && let Err(error) = journal.clear() {
            // The next run does once more what is done.
            info!("cannot empty the journal of a ledger: {error}");
        }
    }

    /// Without a journal the ledger cannot be believed after a crash.
    fn check(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            warn!("cannot write the journal of a ledger: {error}; the next start has to list the target");
            self.is_forgotten = true;
            self.order(Order::Forget);
        }
    }

    fn order(&mut self, order: Order) {
        self.given += 1;
        // The thread ends only when this does.
        let _ended = self.orders.send(order);
    }
}

fn note(path: &TreePath, known: Option<Known>, is_agreed: bool) -> Note {
    Note { path: path.clone(), known, is_agreed }
}

fn run(store: Store, orders: &Receiver<Order>, path: &Path, done: &AtomicU64) {
    let mut store = Some(store);
    for order in orders {
        if let Some(open) = &store {
            let obeyed = obey(open, &order);
            if let Err(error) = &obeyed {
                warn!(path = %path.display(), "cannot keep the ledger: {error}; the next start has to list the target");
            }
            if obeyed.is_err() || matches!(order, Order::Forget) {
                store = None;
                // What it says is outdated from now on.
                if let Err(error) = fs::remove_file(path) {
                    info!(path = %path.display(), "cannot remove the outdated ledger: {error}");
                }
            }
        }
        done.fetch_add(1, Ordering::Release);
    }
}

fn obey(store: &Store, order: &Order) -> Result<(), StoreError> {
    match order {
        Order::Begin { about, anew } => store.begin(about, *anew),
        Order::Commit { entries, about } => store.commit(entries, about.as_ref()),
        Order::Forget => Ok(()),
    }
}
