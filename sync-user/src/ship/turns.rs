//! Decides what is sent next: steps, large files in their turns, and the pieces of these.
//!
//! Nothing is encoded before there is room for it, so that content is read late and memory stays
//! bounded (I6).

use super::event::{Event, Ticket};
use super::session::Session;
use super::stream::Recall;
use super::waiting::Queued;
use crate::model::{Step, TreePath};
use crate::wire::{self, ToReceiver};

/// Bytes that are encoded ahead of the link. Enough to keep SSH busy, little enough that the
/// next step waits a few milliseconds at most behind them.
const STAGED_BYTES_MAX: usize = 256 << 10;

/// Content of small files that waits for receipts: four times SSH's channel window of 2 MiB.
const FLYING_BYTES_MAX: usize = 8 << 20;

/// Steps that wait for receipts.
const FLYING_STEPS_MAX: usize = 16_384;

/// What is read at most of large files before those who have steps are heard, and the link: neither a link nor
/// lanes need ever be full, where reading is the slowest part. Some 2 ms.
const READ_BYTES_MAX: u64 = 1 << 20;

impl Session {
    /// How much is encoded ahead of the link.
    fn staged_max(&self) -> usize {
        self.throttle.as_ref().map_or(STAGED_BYTES_MAX, |throttle| throttle.burst().min(STAGED_BYTES_MAX))
    }

    /// Whether anything can be sent.
    pub(super) fn can_fill(&self) -> bool {
        self.can_stream() || (self.has_room() && (self.can_take() || self.has_turn()))
    }

    /// Whether a step can be taken out of the queue: to be sent, or to wait.
    fn can_take(&self) -> bool {
        let takes = if self.unpublished.is_some() { self.stream.is_none() } else { !self.waiting.is_full() };
        takes && !self.queue.is_empty()
    }

    /// Whether a piece of the stream may be sent.
    fn can_stream(&self) -> bool {
        self.stream.is_some() && (!self.lanes.are_open() || self.lanes.have_room())
    }

    /// Whether a large file that waits may be begun.
    fn has_turn(&self) -> bool {
        self.waiting.has_turn() && self.may_begin()
    }

    /// Whether the content of another large file may be on its way. Of what is to become visible together
    /// nothing is answered before all of it is there.
    pub(super) fn may_begin(&self) -> bool {
        self.stream.is_none() && (self.unpublished.is_some() || self.waiting.may_begin())
    }

    /// Whether so little waits for receipts that another step may.
    fn has_room(&self) -> bool {
        match &self.unpublished {
            // What is staged at the target waits on its disk, and is answered when it is published.
            Some(unpublished) => self.flying.len() < 2 * FLYING_STEPS_MAX && !unpublished.is_full(),
            None => self.flying.len() < FLYING_STEPS_MAX && self.flying_bytes < FLYING_BYTES_MAX,
        }
    }

    /// Whether so much was read that others have their turn before more is.
    pub(super) fn is_reading(&self) -> bool {
        self.read_bytes >= READ_BYTES_MAX
    }

    /// Encodes what can be sent, until enough is staged.
    pub(super) fn fill(&mut self, events: &mut Vec<Event>, recall: &Recall<'_>) {
        while self.outbox.len() < self.staged_max() && self.can_fill() && !self.is_reading() {
            match self.next() {
                Some(Next::Step(queued)) => self.send(queued, events, recall),
                Some(Next::Large(queued)) => self.send_large(queued, events, recall),
                // All that may go has gone; but a full lane may be the reason why it is not the stream's turn.
                None if !self.can_stream() => {
                    if self.overtaken == 0 {
                        break;
                    }
                    self.overtaken = 0;
                }
                None => {
                    self.overtaken = 0;
                    if let Some(stream) = self.stream.take() {
                        self.continue_stream(stream, events);
                    }
                }
            }
            self.publish_if_due();
        }
    }

    /// The next step to send, if it has a turn before the next piece of the stream: as long as that
    /// gets half of the link.
    fn next(&mut self) -> Option<Next> {
        // What becomes visible together comes in its order.
        if self.unpublished.is_some() {
            if self.stream.is_some() || !self.has_room() {
                return None;
            }
            let queued = self.queue.pop_front()?;
            return Some(if is_large(&queued.step) { Next::Large(queued) } else { Next::Step(queued) });
        }
        if !self.has_room() || (self.stream.is_some() && self.overtaken >= wire::CONTENT_BYTES_MAX) {
            return None;
        }
        if self.has_turn() {
            return self.waiting.next_turn().map(Next::Large);
        }
        while !self.waiting.is_full()
            && let Some(queued) = self.queue.pop_front()
        {
            if self.waiting.holds_back(&queued) {
                self.waiting.push(queued);
            } else if !is_large(&queued.step) {
                return Some(Next::Step(queued));
            } else {
                self.waiting.push_large(queued);
                if self.has_turn() {
                    return self.waiting.next_turn().map(Next::Large);
                }
            }
        }
        None
    }

    /// What had to wait for a large file is judged anew.
    pub(super) fn resume(&mut self, path: &TreePath, ticket: Ticket, begun: bool) {
        for queued in self.waiting.end(path, ticket, begun).into_iter().rev() {
            self.queue.push_front(queued);
        }
    }

    /// Has the target publish what came, once all of a batch is there, or as much as may wait.
    fn publish_if_due(&mut self) {
        let is_batch = self.unsent() == 0;
        if let Some(unpublished) = &mut self.unpublished
            && self.stream.is_none()
            && (is_batch || unpublished.is_full())
            && unpublished.take()
        {
            self.outbox.push(&ToReceiver::Publish);
        }
    }
}

/// What is to be sent next.
enum Next {
    Step(Queued),
    /// A file whose content comes in pieces, unless it has shrunk.
    Large(Queued),
}

/// Whether the step sends content in pieces, unless the file has shrunk.
fn is_large(step: &Step) -> bool {
    matches!(step, Step::PutFile { entry, .. } if entry.version.size > wire::INLINE_BYTES_MAX as u64)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::BorrowedFd;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::link::{Link, LinkError, Received};
    use super::super::session::Terms;
    use super::*;
    use crate::clock;
    use crate::model::{Compression, Durability, Expected, Preserve};
    use crate::tree::{Excludes, Rules, Tree};

    /// Takes whatever it is given.
    struct NeverFull;

    impl Link for NeverFull {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
            Ok(bytes.len())
        }

        fn read(&mut self, _buffer: &mut [u8]) -> Result<Received, LinkError> {
            Ok(Received::Nothing)
        }

        fn wait(
            &mut self,
            _writing: bool,
            _bells: &[BorrowedFd<'_>],
            _timeout: Option<Duration>,
        ) -> Result<(), LinkError> {
            Ok(())
        }

        fn complaints(&mut self) -> String {
            String::new()
        }
    }

    #[test]
    fn whoever_has_a_page_is_heard_within_a_large_file_even_if_the_link_is_faster_than_reading() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("large"), vec![7; 8 * READ_BYTES_MAX as usize]).unwrap();
        fs::write(root.path().join("page"), "page").unwrap();
        let tree = Tree::open(root.path(), Excludes::new(Rules::default()).unwrap(), Preserve::ALL).unwrap();
        let put = |name: &str| {
            let path = TreePath::new(name.as_bytes()).unwrap();
            let entry = tree.scan(&path).entries.remove(&path).unwrap();
            Step::PutFile { path, entry, expects: Expected::Anything }
        };
        let (large, page) = (put("large"), put("page"));
        let terms = Terms {
            numeric_ids: true,
            durability: Durability::None,
            shared_target: false,
            two_way: None,
            publishes: false,
            trash: None,
            compression: Compression::Never,
            rate: None,
            lanes: 1,
            builds: false,
        };
        let none = Arc::new(|| Err("there are no lanes".to_owned()));
        let mut session = Session::new(Box::new(NeverFull), none, Arc::new(tree), terms, clock::now());
        let mut events = Vec::new();
        session.submit(Ticket(1), large, Vec::new(), Vec::new());
        let mut pump = |session: &mut Session| {
            session.pump(clock::now(), &mut events, &|_| None).unwrap();
            let sent = events.drain(..).filter_map(|event| match event {
                Event::Sent { ticket, .. } => Some(ticket),
                _ => None,
            });
            sent.collect::<Vec<_>>()
        };
        assert_eq!(pump(&mut session), []);
        session.submit(Ticket(2), page, Vec::new(), Vec::new());
        assert_eq!(pump(&mut session), [Ticket(2)], "the page goes before the rest");
        let rest: Vec<Ticket> = (0..8).flat_map(|_| pump(&mut session)).collect();
        assert_eq!(rest, [Ticket(1)]);
    }
}
