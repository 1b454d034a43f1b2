//! Keeps one target equal to the source: one thread, one connection at a time.
//!
//! It connects, compares everything once, and then turns each batch into steps. What the target
//! refuses, and what was on its way when a connection was lost, is looked at again: nothing is
//! taken for done that was not acknowledged (I4).

mod answers;
mod arrived;
mod catching_up;
mod comparison;
mod contested;
mod crossed;
mod debts;
mod elsewhere;
mod executing;
mod extraneous;
mod flights;
mod greeting;
mod guard;
mod healing;
mod held;
mod holding;
mod inquiries;
mod keeper;
mod lacking;
mod lacks;
mod noting;
mod outlines;
mod report;
mod retries;
mod stored;
mod surprises;
mod trust;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, warn};

use super::Gauges;
use super::arrivals::Arrivals;
use super::mailbox::{Delivery, Post};
use crate::batch::{PRESSING, Room};
use crate::clock;
use crate::ledger::{About, Doubts, Ledger, Links};
use crate::metrics::Connection;
use crate::model::{Aspect, Depth, Look, Stamp, TreePath};
use crate::ship::{
    Access, Backoff, ConnectError, Event, Open, Reached, Session, SessionError, TargetAddress, Terms,
    Transport, connect,
};
use crate::shutdown::Stop;
use crate::tree::{Excludes, Tree};
use debts::Debts;
use elsewhere::Elsewhere;
pub use extraneous::Extraneous;
use flights::Flights;
use guard::Guard;
use healing::Healing;
use holding::Holding;
use inquiries::Inquiries;
use keeper::{Keeper, STORE_EVERY};
use lacking::Lacking;
use lacks::Lacks;
use outlines::Memory;
use retries::Retries;
use surprises::Surprises;
use trust::Trust;

/// How long a replica sleeps at most without looking up.
const NAP: Duration = Duration::from_secs(1);

/// What a replica is made of.
pub(super) struct Setup {
    /// Which of the targets this is, counted from 0.
    pub(super) index: usize,
    pub(super) target: TargetAddress,
    pub(super) access: Access,
    /// How to get there.
    pub(super) transport: Transport,
    /// Whether this is the only target: the run ends with it, and whoever started it tells why.
    pub(super) alone: bool,
    pub(super) receiver: Arc<[u8]>,
    pub(super) tree: Arc<Tree>,
    pub(super) terms: Terms,
    /// What of a batch becomes visible last, where batches do so as a whole.
    pub(super) publish_last: Arc<Excludes>,
    pub(super) extraneous: Extraneous,
    /// Where receivers of the same root are heard, if replication is two-way.
    pub(super) arrivals: Option<Arrivals>,
    /// Where the ledger is kept.
    pub(super) ledger: PathBuf,
    pub(super) open_file_interval: Duration,
    pub(super) gauges: Gauges,
    pub(super) post: Post,
    /// The run shall end, once everything is replicated.
    pub(super) stop: Stop,
    /// The run shall end now.
    pub(super) abandon: Stop,
}

/// One target and what is known of it.
pub(super) struct Replica {
    setup: Setup,
    ledger: Ledger,
    /// What the ledger is about; `None` while it is about nothing yet.
    about: Option<About>,
    /// `None` when the ledger cannot be kept.
    keeper: Option<Keeper>,
    /// For what changes next in large files.
    memory: Memory,
    links: Links,
    flights: Flights,
    retries: Retries,
    /// Removals that are not made at once, or not at all.
    guard: Guard,
    healing: Healing,
    lacks: Lacks,
    surprises: Surprises,
    /// The first path that only the target has and that was to be removed, but was not.
    left: Option<TreePath>,
    /// What only the target had and is being removed. If that is cut short, it is not ours.
    removing: BTreeSet<TreePath>,
    /// Since when a look at a directory waits for the large files in it.
    rescan_put_off: Option<Stamp>,
    /// What the target has and this end has not, or not any more (two-way).
    lacking: Lacking,
    /// What is here, and the target is asked whether it is to stay (two-way).
    holding: Holding,
    /// What came here from another root, and the target may have from there (two-way).
    elsewhere: Elsewhere,
    /// What may have become of what was on its way when the last connection ended (two-way).
    doubts: Doubts,
    /// Files that could not be built from what the target was believed to have: they are sent whole.
    whole: BTreeSet<TreePath>,
    /// What this target is known to be unable to set.
    unable: BTreeSet<Aspect>,
    /// Fifos, sockets and devices that were told of.
    special: BTreeSet<TreePath>,
    debts: Debts,
    inquiries: Inquiries,
    backoff: Backoff,
    /// Whether a connection has ever worked: from then on trouble is temporary.
    acquainted: bool,
    /// Whether the target prescribes its receiver, and with it the directory.
    is_prescribed: bool,
    /// Whether the root of the source was lost, so that it is told once.
    root_lost: bool,
}

/// Why a connection ended.
enum Parting {
    /// All is done, and nothing will follow.
    Done,
    Lost(SessionError),
    /// The run is abandoned.
    Abandoned,
}

impl Replica {
    pub(super) fn new(setup: Setup) -> Self {
        let backoff = Backoff::default();
        let guard = Guard::new(setup.extraneous.percent_max);
        Self {
            setup,
            ledger: Ledger::default(),
            about: None,
            keeper: None,
            memory: Memory::default(),
            links: Links::default(),
            flights: Flights::default(),
            retries: Retries::default(),
            guard,
            healing: Healing::default(),
            lacks: Lacks::default(),
            surprises: Surprises::default(),
            left: None,
            removing: BTreeSet::new(),
            rescan_put_off: None,
            lacking: Lacking::default(),
            holding: Holding::default(),
            elsewhere: Elsewhere::default(),
            doubts: Doubts::default(),
            whole: BTreeSet::new(),
            unable: BTreeSet::new(),
            special: BTreeSet::new(),
            debts: Debts::new(clock::now()),
            inquiries: Inquiries::default(),
            backoff,
            acquainted: false,
            is_prescribed: false,
            root_lost: false,
        }
    }

    /// Replicates, once its ledger is open, until everything is done after a stop; returns how many paths were
    /// left. An error means that this target cannot be reached until a person has done something.
    pub(super) fn run(mut self) -> Result<usize, ConnectError> {
        let result = self.replicate();
        self.close_ledger(matches!(result, Ok(0)));
        result
    }

    fn replicate(&mut self) -> Result<usize, ConnectError> {
        loop {
            self.report();
            self.answer_nobody();
            let Setup { target, access, receiver, transport, terms, .. } = &self.setup;
            match connect(target, access, receiver, (*transport, terms.wish())) {
                Ok(Reached { link, is_prescribed, transport }) => {
                    self.is_prescribed = is_prescribed;
                    let terms = if transport == Transport::Sftp { terms.by_sftp() } else { *terms };
                    let tree = Arc::clone(&self.setup.tree);
                    let session = Session::new(link, self.opens(), tree, terms, clock::now());
                    // What works is kept to: each way has its own knowledge of the target.
                    self.setup.transport = transport;
                    match self.serve(session) {
                        Parting::Done => return Ok(0),
                        Parting::Abandoned => break,
                        Parting::Lost(SessionError::Fatal { what, remedy }) if !self.acquainted => {
                            self.target().failed(Connection::GivenUp, &what, clock::now());
                            return Err(ConnectError::Receiver { what, remedy });
                        }
                        Parting::Lost(cause) => {
                            let on_the_way = self.flights.len();
                            self.target().failed(Connection::Down, &cause.to_string(), clock::now());
                            warn!(target = %self.setup.target, on_the_way, "{cause}; connecting again");
                        }
                    }
                    self.doubt_flights();
                }
                Err(cause) if cause.retry() || (self.acquainted && cause.may_pass()) => {
                    self.target().failed(Connection::Down, &cause.to_string(), clock::now());
                    warn!(target = %self.setup.target, "{cause}; trying again ({})", cause.remedy());
                }
                Err(cause) => {
                    self.target().failed(Connection::GivenUp, &cause.to_string(), clock::now());
                    if !self.setup.alone {
                        error!(target = %self.setup.target, "{cause} ({}); this target is given up", cause.remedy());
                    }
                    return Err(cause);
                }
            }
            self.setup.gauges.counters.reconnects.add(1);
            self.setup.post.offer(Room::Full);
            if self.setup.stop.requested() {
                break;
            }
            self.pause();
        }
        // Without a connection at the end, whether the trees are equal is itself left open.
        Ok((self.flights.len() + self.retries.len()).max(1))
    }

    /// How to get to the target once more.
    fn opens(&self) -> Open {
        let (target, access) = (self.setup.target.clone(), self.setup.access.clone());
        let receiver = Arc::clone(&self.setup.receiver);
        // By SFTP none is ever asked for.
        Arc::new(move || match connect(&target, &access, &receiver, (Transport::Agent, None)) {
            Ok(Reached { link, .. }) => Ok(link),
            Err(cause) => Err(cause.to_string()),
        })
    }

    /// Sleeps before the next attempt, unless the run is to end.
    fn pause(&mut self) {
        let end = clock::now().plus(self.backoff.next(fastrand::f64()));
        while clock::now() < end && !self.setup.stop.requested() {
            self.answer_nobody();
            // What is only heard, and not noted, a killed run forgets.
            self.take_arrivals();
            std::thread::sleep(Duration::from_millis(20).min(end.since(clock::now())));
        }
    }

    fn serve(&mut self, mut session: Session) -> Parting {
        let parting = match self.serve_until_lost(&mut session) {
            Ok(parting) => parting,
            Err(cause) => Parting::Lost(cause),
        };
        self.target().connections.set(0);
        parting
    }

    fn serve_until_lost(&mut self, session: &mut Session) -> Result<Parting, SessionError> {
        if !self.greet(session)? {
            return Ok(Parting::Abandoned);
        }
        let Some(claimed) = session.claimed().cloned() else {
            return Err(SessionError::Silent);
        };
        match self.recognise(claimed) {
            // What only the target has nothing but its listing tells.
            Trust::All if !self.setup.extraneous.remove || self.acquainted => self.resume(session),
            trust => {
                let Some(listing) = self.list(session)? else {
                    return Ok(Parting::Abandoned);
                };
                self.compare(session, listing, trust);
            }
        }
        self.prune_held();
        self.connection(Connection::Up);
        self.acquainted = true;
        self.backoff.reset();
        loop {
            self.pump(session)?;
            self.take_arrivals();
            self.tell_lacking(session);
            self.tell_holding(session);
            self.tell_elsewhere(session);
            self.report();
            if self.setup.abandon.requested() {
                return Ok(Parting::Abandoned);
            }
            let mut closed = false;
            let now = clock::now();
            self.store(now);
            self.take_orders(session);
            self.setup.gauges.counters.gaps_healed.add(self.healing.healed(self.flights.first()));
            if session.takes_more() {
                if let Some(batch) = self.retries.due(now) {
                    self.execute(session, batch);
                    continue;
                }
                if self.judge_flood(session, true) {
                    continue;
                }
                match self.setup.post.take() {
                    Delivery::Batch(batch) => {
                        let number = self.debts.take();
                        self.retries.owe_since(number);
                        self.note_batch(number, &batch);
                        self.execute(session, batch);
                        continue;
                    }
                    Delivery::Nothing => {}
                    Delivery::Closed => closed = true,
                }
                if self.judge_flood(session, false) {
                    continue;
                }
            }
            if session.idle() {
                self.tell_lacks();
                self.tell_surprises();
            }
            if closed && session.idle() && self.retries.is_empty() && self.guard.due().is_none() {
                session.goodbye();
                // The receiver ends by itself; what it had to say is said.
                let _gone = self.pump(session);
                return Ok(Parting::Done);
            }
            self.setup.post.offer(room(session));
            let due = self.retries.first_due().into_iter().chain(self.guard.due()).min();
            let nap = due.map_or(NAP, |due| due.since(clock::now()).min(NAP));
            // What is not stored yet would be unsure after a crash.
            let is_behind = self.keeper.as_ref().is_some_and(|keeper| keeper.is_behind(&self.ledger));
            let nap = if is_behind { nap.min(STORE_EVERY) } else { nap };
            let orders = self.setup.gauges.inquiry.desk(self.setup.index).as_fd();
            let bells = [self.setup.post.as_fd(), self.setup.abandon.as_fd(), orders];
            let arrivals = self.setup.arrivals.as_ref().map(AsFd::as_fd);
            let bells: Vec<BorrowedFd<'_>> = bells.into_iter().chain(arrivals).collect();
            session.wait(&bells, nap)?;
        }
    }

    fn pump(&mut self, session: &mut Session) -> Result<(), SessionError> {
        let mut events = Vec::new();
        let result = session.pump(clock::now(), &mut events, &|content| self.memory.recall(content));
        self.target().bytes_written.add(session.take_written());
        self.target().connections.set(session.connections());
        // Before what came to pass after them: only so at least one end sees what crosses.
        if self.is_two_way() && events.iter().any(|event| matches!(event, Event::Answered { .. })) {
            self.take_arrivals();
        }
        for event in events {
            self.handle(event);
        }
        result
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Sent { ticket, version, content, settled, torn, shipped } => {
                self.sent(ticket, version, content, (settled, torn), shipped);
            }
            Event::Built { ticket, from, old } => self.built(ticket, (from, old)),
            Event::Outlined { content, outline } => self.memory.keep(content, &outline, &self.ledger),
            Event::Unsent { ticket, failure } => self.unsent(ticket, failure),
            Event::Answered { ticket, receipt } => {
                self.note_answer(ticket, &receipt);
                self.answered(ticket, receipt);
            }
            Event::Examined(answer) => self.examined(answer),
            // A listing that was not asked for says nothing new.
            Event::Listing(_) | Event::ListingEnd(_) => {}
        }
    }

    /// Tells of one path that could not be replicated, and looks at it again later.
    fn problem(&mut self, path: &TreePath, what: &str) {
        let (attempt, due) = self.retries.failed(path, clock::now());
        self.setup.gauges.counters.problems.add(1);
        self.target().problem(path, what, clock::now());
        let again = due.since(clock::now()).as_secs();
        if attempt == 1 {
            warn!(target = %self.setup.target, path = %path, "cannot {what}; it is tried again");
        } else {
            debug!(target = %self.setup.target, path = %path, attempt, again, "cannot {what}");
        }
    }

    /// After a lost connection nothing on its way counts as held, and all of it is compared.
    fn doubt_flights(&mut self) {
        self.healing.lost();
        self.forgo_flood();
        self.debts.acknowledged(self.flights.first());
        self.debts.lost(self.retries.oldest());
        self.retries.owe_since(self.debts.carried());
        let flights = if self.is_two_way() {
            self.flights.abandon_in_doubt(&mut self.ledger, &mut self.doubts)
        } else {
            self.flights.abandon(&mut self.ledger)
        };
        self.forgo(&flights);
        self.elsewhere.lost();
        // Nobody answers any more, and the merge of the trees sends what is at one end alone.
        for path in self.holding.take_all() {
            self.ledger.forget(&path);
        }
        for flight in flights {
            if flight.stamps.is_some() {
                let look = Look { depth: Depth::Entry, content: true, stamps: flight.stamps };
                self.retries.put_off(flight.step().path().clone(), look, clock::now());
            }
        }
    }
}

/// How much the target can take now.
fn room(session: &Session) -> Room {
    if !session.takes_more() {
        return Room::Full;
    }
    match session.on_their_way(PRESSING) {
        0 => Room::Idle,
        steps => Room::Busy(steps),
    }
}
