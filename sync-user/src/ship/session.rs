//! Speaks the protocol with one receiver: the state of one connection.
//!
//! The caller submits steps and calls [`Session::pump`] whenever the link may be ready; nothing
//! here waits. Steps are encoded only while little is staged before them, so that content is
//! read late and memory stays bounded (I6).

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use super::event::{Event, SILENCE_MAX, SessionError, Ticket};
use super::introduction::{another_version, name_of};
use super::lane::Open;
use super::lanes::Lanes;
use super::link::{Link, Received};
use super::names::Names;
use super::outbox::Outbox;
use super::questions::Questions;
use super::stream::{self, Recall, Sent, Stream};
use super::throttle::Throttle;
use super::unpublished::Unpublished;
use super::waiting::{Queued, Waiting};
use crate::model::{
    Compression, Durability, OldFile, Owner, Receipt, Sequence, Stamp, Step, TreePath, Xattr,
};
use crate::tree::Tree;
use crate::wire::{
    self, Claimed, FrameError, LANES_MAX, Piece, Question, ReceiverHello, SourceHello, ToReceiver, ToSource,
};

/// After this time without a word from us the receiver is asked for a sign of life.
const QUIET_MAX: Duration = Duration::from_secs(15);

/// Connections to one target: that of its steps, and lanes.
pub const CONNECTIONS_MAX: i64 = LANES_MAX as i64 + 1;

/// What a target is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Owners are told by their numbers alone.
    pub numeric_ids: bool,
    pub durability: Durability,
    /// Other sources may replicate into the same directory.
    pub shared_target: bool,
    /// With two-way replication the name of the source's own root.
    pub two_way: Option<[u8; 16]>,
    /// Whether a batch becomes visible as a whole.
    pub publishes: bool,
    /// For how long the target keeps what is removed there, if it does.
    pub trash: Option<Duration>,
    pub compression: Compression,
    /// What may be written to it in a second, in bytes before encryption.
    pub rate: Option<NonZeroU64>,
    /// How many connections there may be, at least one. With a limit there is one.
    pub lanes: u8,
    /// Whether the target may be told to build files from what it has.
    pub builds: bool,
}

impl Terms {
    /// What of these only a receiver can do.
    pub fn wish(&self) -> Option<&'static str> {
        match self {
            Self { two_way: Some(_), .. } => Some("--two-way"),
            Self { publishes: true, .. } => Some("--publish batch"),
            Self { trash: Some(_), .. } => Some("--trash"),
            _ => None,
        }
    }

    /// The same for a target that is reached by SFTP: one connection, which tells a thread of this
    /// process all that there is.
    #[must_use]
    pub fn by_sftp(self) -> Self {
        Self { lanes: 1, builds: false, compression: Compression::Never, ..self }
    }
}

/// One connection, from the receiver's hello on.
pub struct Session {
    link: Box<dyn Link>,
    pub(super) tree: Arc<Tree>,
    decoder: wire::Decoder,
    pub(super) outbox: Outbox,
    pub(super) throttle: Option<Throttle>,
    pub(super) names: Names,
    questions: Questions,
    pub(super) queue: VecDeque<Queued>,
    pub(super) stream: Option<Stream>,
    /// What must not overtake large files.
    pub(super) waiting: Waiting,
    /// Whether files are built from what the target has.
    pub(super) builds: bool,
    pub(super) lanes: Lanes,
    source: [u8; 16],
    /// What waits to become visible, where batches do so as a whole.
    pub(super) unpublished: Option<Unpublished>,
    /// Bytes of steps that have overtaken the stream since its last piece.
    pub(super) overtaken: usize,
    /// Bytes of large files that were read since [`Session::pump`] was called.
    pub(super) read_bytes: u64,
    pub(super) flying: VecDeque<Flight>,
    pub(super) flying_bytes: usize,
    sequence: Sequence,
    hello: Option<ReceiverHello>,
    claimed: Option<Claimed>,
    /// Bytes that the links took since they were asked for.
    written: u64,
    said: Stamp,
    heard: Stamp,
    /// When a sign of life was asked for that has not come.
    asked: Option<Stamp>,
}

#[derive(Debug)]
pub(super) struct Flight {
    ticket: Ticket,
    sequence: Sequence,
    bytes: usize,
    /// The path of a file whose content comes in pieces.
    pub(super) large: Option<TreePath>,
}

impl Session {
    /// Begins on a link that stands behind the receiver's preamble. `open` opens another one to the same
    /// target.
    pub fn new(link: Box<dyn Link>, open: Open, tree: Arc<Tree>, terms: Terms, now: Stamp) -> Self {
        let Terms { numeric_ids, durability, shared_target: shares, .. } = terms;
        let Terms { two_way, publishes, trash, compression, rate, .. } = terms;
        let (source, name) = name_of(&tree);
        // What all of them may carry together one carries alone, and no sum has to be kept.
        let lanes = if rate.is_some() { 0 } else { terms.lanes.saturating_sub(1).min(LANES_MAX) };
        let mut outbox = Outbox::new(compression);
        outbox.push(&ToReceiver::Hello(SourceHello {
            version: wire::VERSION,
            source,
            name,
            shares,
            preserve: tree.preserve(),
            durability,
            publishes,
            two_way,
            trash,
            lanes,
        }));
        Self {
            link,
            tree,
            decoder: wire::Decoder::default(),
            outbox,
            throttle: rate.map(|rate| Throttle::new(rate, now)),
            names: Names::new(numeric_ids),
            questions: Questions::default(),
            queue: VecDeque::new(),
            stream: None,
            waiting: Waiting::default(),
            builds: terms.builds,
            lanes: Lanes::new(open, lanes, now),
            source,
            unpublished: publishes.then(Unpublished::default),
            overtaken: 0,
            read_bytes: 0,
            flying: VecDeque::new(),
            flying_bytes: 0,
            sequence: Sequence(0),
            hello: None,
            claimed: None,
            written: 0,
            said: now,
            heard: now,
            asked: None,
        }
    }

    /// The receiver's hello, once it has come.
    pub fn hello(&self) -> Option<&ReceiverHello> {
        self.hello.as_ref()
    }

    /// Which root the receiver has claimed, once it has said so.
    pub fn claimed(&self) -> Option<&Claimed> {
        self.claimed.as_ref()
    }

    /// Asks for the listing of the whole target. Of `owners` the listing tells by the source's
    /// numbers.
    pub fn list(&mut self, owners: impl IntoIterator<Item = Owner>) {
        let names = self.names.of_owners(owners);
        self.push_all(names);
        self.outbox.push(&ToReceiver::List);
    }

    /// Whether another question may be asked.
    pub fn takes_question(&self) -> bool {
        self.questions.have_room()
    }

    /// Asks what a directory of the target holds. The answer tells by the source's numbers of the
    /// owners that `owners` has, and of those in the access control lists there.
    pub fn examine(&mut self, question: Question, owners: &[(Owner, Vec<Xattr>)]) {
        for (owner, xattrs) in owners {
            let names = self.names.of(*owner, xattrs);
            self.push_all(names);
        }
        self.outbox.push(&ToReceiver::Examine(question.clone()));
        self.questions.ask(question);
    }

    /// Adds a step behind all others. The target may build a file from one of the `old_files`, if
    /// it has them when the steps before are done. `twins` are other names of what the step changes.
    pub fn submit(&mut self, ticket: Ticket, step: Step, old_files: Vec<OldFile>, twins: Vec<TreePath>) {
        self.queue.push_back(Queued { ticket, step, old_files, twins });
    }

    /// Says that nothing follows.
    pub fn goodbye(&mut self) {
        self.outbox.push(&ToReceiver::Goodbye);
    }

    /// Steps that were submitted and are not encoded yet.
    pub fn unsent(&self) -> usize {
        self.queue.len() + self.waiting.len() + usize::from(self.stream.is_some())
    }

    /// Whether more may be submitted: all has gone but large files, and what has to wait for them.
    pub fn takes_more(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the content of a large file at `path`, or below if that counts, is on its way or waits.
    pub fn is_sending(&self, path: &TreePath, below: bool) -> bool {
        self.waiting.has_content(path, below)
    }

    /// How many steps are on their way, counted up to `most`. Large files and what waits for them do not count:
    /// others overtake these, so that they are no reason to gather company.
    pub fn on_their_way(&self, most: u8) -> u8 {
        let small = self.flying.iter().filter(|flight| flight.large.is_none());
        small.take(most.into()).fold(0, |count, _| count + 1)
    }

    /// Whether all that was submitted was answered.
    pub fn idle(&self) -> bool {
        self.unsent() == 0 && self.flying.is_empty() && self.outbox.is_empty()
    }

    /// How many connections it has by now: lanes are opened when there are large files.
    pub fn connections(&self) -> usize {
        1 + self.lanes.open()
    }

    /// How many bytes were written to the links since this was asked last, before encryption.
    pub fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    /// Sleeps until there may be something to do; see [`Link::wait`].
    pub fn wait(&mut self, bells: &[BorrowedFd<'_>], timeout: Duration) -> Result<(), SessionError> {
        let pause = self.throttle.as_ref().map_or(Duration::ZERO, Throttle::wait);
        // A link that could be written to must not wake us before it may be.
        let writing = !self.outbox.is_empty() && pause.is_zero();
        let timeout = if self.outbox.is_empty() || writing { timeout } else { timeout.min(pause) };
        // More is to be read, whatever the link does.
        let timeout = if self.is_reading() { Duration::ZERO } else { timeout.min(QUIET_MAX) };
        let bells: Vec<BorrowedFd<'_>> = bells.iter().copied().chain(self.lanes.bell()).collect();
        Ok(self.link.wait(writing, &bells, Some(timeout))?)
    }

    /// Writes and reads what can be, and adds what happened to `events`.
    pub fn pump(
        &mut self,
        now: Stamp,
        events: &mut Vec<Event>,
        recall: &Recall<'_>,
    ) -> Result<(), SessionError> {
        self.look_after_lanes(now)?;
        self.read_bytes = 0;
        loop {
            self.fill(events, recall);
            if self.write(now)? > 0 {
                self.said = now;
            }
            // A full link takes no more, an empty outbox has no more. Reading takes time in which others wait.
            if self.goes_on() {
                continue;
            }
            self.read(now, events)?;
            // What had to wait for an answer may go now, and nothing else might wake us for it.
            if !self.goes_on() {
                break;
            }
        }
        self.keep_alive(now)
    }

    /// Whether more can be sent at once.
    fn goes_on(&self) -> bool {
        self.outbox.is_empty() && self.can_fill() && !self.is_reading()
    }

    /// Writes what the link takes and the rate allows; says how much that was.
    fn write(&mut self, now: Stamp) -> Result<usize, SessionError> {
        let limit = self.throttle.as_mut().map_or(usize::MAX, |throttle| throttle.fill(now));
        let written = self.outbox.write_to(self.link.as_mut(), limit)?;
        if let Some(throttle) = &mut self.throttle {
            throttle.spend(written);
        }
        self.written += written as u64;
        Ok(written)
    }

    fn look_after_lanes(&mut self, now: Stamp) -> Result<(), SessionError> {
        let (hello, claimed, source) = (&self.hello, &self.claimed, self.source);
        let busy = self.stream.is_some() || self.waiting.is_open();
        self.lanes.look_after(now, busy, |number| {
            // Its pipes are there once it has claimed its root.
            let process = hello.as_ref().filter(|_| claimed.is_some())?.process;
            Some(wire::Lane { version: wire::VERSION, source, process, number })
        })
    }

    pub(super) fn fly(&mut self, ticket: Ticket, step: wire::Step) -> Sequence {
        self.sequence.0 += 1;
        let sequence = self.sequence;
        if let Some(unpublished) = &mut self.unpublished {
            unpublished.add(step.kept_bytes());
        }
        let bytes = self.outbox.push(&ToReceiver::Step { sequence, step });
        self.flying.push_back(Flight { ticket, sequence, bytes, large: None });
        self.flying_bytes += bytes;
        self.overtaken += bytes;
        sequence
    }

    /// Reads on in a large file, and sends the next piece of it. A file that changes meanwhile, or cannot be
    /// read, is taken back: the receiver answers so, and nothing of it becomes visible (I2).
    pub(super) fn continue_stream(&mut self, mut stream: Stream, events: &mut Vec<Event>) {
        let (sequence, before) = (stream.sequence, stream.reading.position());
        let next = stream.next();
        self.read_bytes += stream.reading.position() - before;
        match next {
            Ok(stream::Next::Piece(piece)) => {
                self.send_piece(sequence, piece);
                self.stream = Some(stream);
            }
            Ok(stream::Next::Read) => self.stream = Some(stream),
            Ok(stream::Next::End) => {
                let Stream { ticket, shipped, .. } = stream;
                let (version, settled) = (stream.reading.version, stream.reading.settled);
                let (end, sent) = stream.finish(&self.tree);
                self.send_piece(sequence, end);
                if let Some(Sent { content, outline, torn }) = sent {
                    let settled = settled && !torn;
                    events.push(Event::Sent { ticket, version, content, settled, torn, shipped });
                    events.extend(outline.map(|outline| Event::Outlined { content, outline }));
                }
            }
            Err(_) => self.send_piece(sequence, Piece::Abort),
        }
    }

    /// Sends a piece by a lane, or behind its step while there is none.
    fn send_piece(&mut self, sequence: Sequence, piece: Piece) {
        let message = ToReceiver::Piece { place: self.lanes.place(), sequence, piece };
        match self.lanes.best() {
            Some(lane) => {
                let frame = self.outbox.encode(&message);
                self.written += frame.len() as u64;
                lane.carry(frame);
            }
            None => drop(self.outbox.push(&message)),
        }
    }

    fn read(&mut self, now: Stamp, events: &mut Vec<Event>) -> Result<(), SessionError> {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.link.read(&mut buffer)? {
                Received::Nothing => return Ok(()),
                Received::Bytes(count) => {
                    self.heard = now;
                    self.asked = None;
                    self.decoder.extend(&buffer[..count]);
                    while let Some(message) = self.decoder.take().map_err(|error| match error {
                        FrameError::Payload if self.hello.is_none() => another_version("another version"),
                        error => SessionError::Protocol(error.to_string()),
                    })? {
                        self.receive(message, events)?;
                    }
                }
                Received::Ended => {
                    return Err(SessionError::Ended { complaints: self.link.complaints() });
                }
            }
        }
    }

    fn receive(&mut self, message: ToSource, events: &mut Vec<Event>) -> Result<(), SessionError> {
        match message {
            ToSource::Hello(hello) if self.hello.is_some() => {
                return Err(SessionError::Protocol(format!("a second hello from {}", hello.program)));
            }
            ToSource::Hello(hello) if hello.version != wire::VERSION => {
                return Err(another_version(&format!("{}, protocol {}", hello.program, hello.version)));
            }
            ToSource::Hello(hello) => self.hello = Some(hello),
            ToSource::Claimed(claimed) => self.claimed = Some(claimed),
            ToSource::Listing(entries) => events.push(Event::Listing(entries)),
            ToSource::ListingEnd { unreadable } => events.push(Event::ListingEnd(unreadable)),
            ToSource::Examined(answer) => {
                self.questions.answered(&answer).map_err(SessionError::Protocol)?;
                events.push(Event::Examined(answer));
            }
            ToSource::Receipts(receipts) => {
                for receipt in receipts {
                    events.push(self.answered(receipt)?);
                }
            }
            ToSource::Pong { token: _ } => {}
            ToSource::Joined | ToSource::Came { .. } => {
                return Err(SessionError::Protocol("it joined another".to_owned()));
            }
            ToSource::Fatal { what, remedy } => return Err(SessionError::Fatal { what, remedy }),
        }
        Ok(())
    }

    /// Receipts come in the order of the steps, but for those of large files, which others overtake.
    fn answered(&mut self, receipt: Receipt) -> Result<Event, SessionError> {
        let is_it = |flight: &Flight| flight.sequence == receipt.sequence;
        let last = self.flying.iter().position(|flight| is_it(flight) || flight.large.is_none());
        let index = last.filter(|index| self.flying.get(*index).is_some_and(is_it));
        match index.and_then(|index| self.flying.remove(index)) {
            Some(Flight { ticket, sequence: _, bytes, large }) => {
                self.flying_bytes -= bytes;
                if let Some(path) = large {
                    self.resume(&path, ticket, true);
                }
                Ok(Event::Answered { ticket, receipt })
            }
            None => Err(SessionError::Protocol(format!(
                "an answer to step {} came out of turn",
                receipt.sequence.0
            ))),
        }
    }

    fn keep_alive(&mut self, now: Stamp) -> Result<(), SessionError> {
        if self.asked.is_some_and(|asked| now.since(asked) > SILENCE_MAX) {
            return Err(SessionError::Silent);
        }
        let is_quiet = now.since(self.said) >= QUIET_MAX || now.since(self.heard) >= QUIET_MAX;
        // Behind what a slow rate holds back it would not be answered in time.
        let is_held_back = self.throttle.is_some() && !self.outbox.is_empty();
        let waiting = self.asked.is_none() && is_quiet && !is_held_back;
        if waiting && (self.stream.is_none() || self.lanes.are_open()) {
            self.outbox.push(&ToReceiver::Ping { token: now.0 });
            self.write(now)?;
            self.asked = Some(now);
            self.said = now;
        }
        Ok(())
    }
}
