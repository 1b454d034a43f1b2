//! Opens lanes to a target when there is enough to carry, and spreads pieces of large files over them.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{debug, warn};

use super::event::SessionError;
use super::lane::{Lane, Open, State};
use super::link::LinkError;
use super::window::Window;
use crate::bell::Bell;
use crate::clock;
use crate::model::Stamp;
use crate::wire;

/// Content of large files that one connection carries before lanes are worth while: twice what SSH
/// lets be on its way at once.
const WORTH_BYTES: u64 = 4 << 20;

/// Lanes that have had nothing to carry for so long are closed: a target may have many sources.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// The lanes of one connection.
pub(super) struct Lanes {
    open: Open,
    /// How many there may be.
    max: u8,
    opened: Vec<Lane>,
    /// What they have on their way.
    window: Arc<Mutex<Window>>,
    /// Rung by any of them.
    bell: Option<Bell>,
    /// Content of large files that was begun, in bytes.
    begun: u64,
    /// Pieces that were sent by whatever way.
    pieces: u64,
    /// When a large file was on its way last.
    used: Stamp,
}

impl Lanes {
    pub(super) fn new(open: Open, max: u8, now: Stamp) -> Self {
        let bell = if max == 0 { None } else { Bell::new().ok() };
        let max = if bell.is_some() { max } else { 0 };
        let window = Arc::new(Mutex::new(Window::new(now)));
        Self { open, max, opened: Vec::new(), window, bell, begun: 0, pieces: 0, used: now }
    }

    /// A large file is begun, of which so many bytes are stored.
    pub(super) fn begin(&mut self, stored: u64) {
        self.begun = self.begun.saturating_add(stored);
    }

    /// The place of the next piece.
    pub(super) fn place(&mut self) -> u64 {
        self.pieces += 1;
        self.pieces - 1
    }

    /// Opens one lane more, if that is worth while and the last one is open; closes all if they have
    /// not been used for long, which they are while they are `busy`; fails if one was lost.
    pub(super) fn look_after(
        &mut self,
        now: Stamp,
        busy: bool,
        introduction: impl FnOnce(u8) -> Option<wire::Lane>,
    ) -> Result<(), SessionError> {
        let Some(bell) = &self.bell else { return Ok(()) };
        bell.hush();
        if busy {
            self.used = now;
        } else if now.since(self.used) >= IDLE_MAX {
            // What they carried was answered for.
            self.opened.clear();
            self.window = Arc::new(Mutex::new(Window::new(now)));
            self.begun = 0;
            return Ok(());
        }
        for lane in &self.opened {
            if let State::Lost(cause) = lane.state() {
                return Err(LinkError(cause).into());
            }
        }
        match self.opened.last().map(Lane::state) {
            // Servers take amiss many that knock at once.
            Some(State::Opening) => return Ok(()),
            Some(State::Refused(cause)) => {
                self.opened.pop();
                self.max = self.opened.len() as u8;
                warn!(lanes = self.max, "no more lanes can be opened: {cause}");
            }
            Some(State::Lost(_) | State::Ready) | None => {}
        }
        let number = self.opened.len() as u8;
        if number < self.max
            && busy
            && self.begun >= WORTH_BYTES
            && let Some(introduction) = introduction(number)
        {
            debug!(number, "opening a lane");
            match Lane::open(Arc::clone(&self.open), introduction, Arc::clone(&self.window), bell.clone()) {
                Ok(lane) => self.opened.push(lane),
                Err(error) => {
                    self.max = number;
                    warn!(lanes = number, "no more lanes can be opened: {error}");
                }
            }
        }
        Ok(())
    }

    /// Whether pieces go by lanes.
    pub(super) fn are_open(&self) -> bool {
        self.opened.first().is_some_and(|lane| lane.state() == State::Ready)
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.opened.iter().filter(|lane| lane.state() == State::Ready).count()
    }

    /// Whether they take another piece.
    pub(super) fn have_room(&self) -> bool {
        self.opened.iter().any(Lane::has_room)
            && self.window.lock().unwrap_or_else(PoisonError::into_inner).has_room(clock::now())
    }

    /// The lane that has least to carry, if any is open. Once one is, no piece goes by another way: they would
    /// not come in their order.
    pub(super) fn best(&self) -> Option<&Lane> {
        let loads = self.opened.iter().filter_map(|lane| Some((lane.load()?, lane)));
        loads.min_by_key(|(load, _)| *load).map(|(_, lane)| lane)
    }

    /// What rings when a lane has room again.
    pub(super) fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.bell.as_ref().map(AsFd::as_fd)
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::super::link::{Link, Received};
    use super::*;
    use crate::wire::{Decoder, ToReceiver, ToSource, encode};

    /// What came to the far ends, in their order.
    type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

    /// A connection to a receiver that lets us in, and takes whatever comes until it is `broken`.
    struct Fake {
        number: usize,
        heard: Heard,
        says: Vec<u8>,
        broken: Arc<Mutex<bool>>,
    }

    impl Link for Fake {
        fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
            self.heard.lock().unwrap()[self.number].extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn read(&mut self, buffer: &mut [u8]) -> Result<Received, LinkError> {
            if *self.broken.lock().unwrap() {
                return Ok(Received::Ended);
            }
            let count = self.says.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.says[..count]);
            self.says.drain(..count);
            Ok(if count == 0 { Received::Nothing } else { Received::Bytes(count) })
        }

        fn wait(
            &mut self,
            _writing: bool,
            bells: &[BorrowedFd<'_>],
            _timeout: Option<Duration>,
        ) -> Result<(), LinkError> {
            let mut bells: Vec<_> = bells.iter().map(|bell| PollFd::new(*bell, PollFlags::POLLIN)).collect();
            poll(&mut bells, PollTimeout::from(10_u8)).map(drop).map_err(|error| LinkError(error.to_string()))
        }

        fn complaints(&mut self) -> String {
            String::new()
        }
    }

    struct Far {
        heard: Heard,
        broken: Arc<Mutex<bool>>,
    }

    /// A target that takes no more than `allowed` lanes.
    fn far(allowed: usize) -> (Far, Open) {
        let far = Far { heard: Heard::default(), broken: Arc::default() };
        let (heard, broken) = (Arc::clone(&far.heard), Arc::clone(&far.broken));
        let open: Open = Arc::new(move || {
            let mut all = heard.lock().unwrap();
            if all.len() == allowed {
                return Err("too many".to_owned());
            }
            all.push(Vec::new());
            let mut says = Vec::new();
            encode(&ToSource::Joined, &mut says);
            let (heard, broken) = (Arc::clone(&heard), Arc::clone(&broken));
            Ok(Box::new(Fake { number: all.len() - 1, heard, says, broken }))
        });
        (far, open)
    }

    fn introduction(number: u8) -> wire::Lane {
        wire::Lane { version: wire::VERSION, source: [1; 16], process: 1, number }
    }

    const START: Stamp = Stamp(1);

    /// Looks after the lanes until `condition` holds.
    fn until(lanes: &mut Lanes, condition: impl Fn(&Lanes) -> bool) -> Result<(), SessionError> {
        for _ in 0..10_000 {
            lanes.look_after(START, true, |number| Some(introduction(number)))?;
            if condition(lanes) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("waited in vain");
    }

    #[test]
    fn lanes_are_opened_once_they_are_worth_while_and_share_what_is_carried() {
        let (far, open) = far(9);
        let mut lanes = Lanes::new(open, 3, START);
        lanes.begin(WORTH_BYTES - 1);
        lanes.look_after(START, true, |number| Some(introduction(number))).unwrap();
        assert!(lanes.opened.is_empty());
        lanes.begin(1);
        until(&mut lanes, |lanes| lanes.open() == 3).unwrap();
        for place in 0..300 {
            until(&mut lanes, Lanes::have_room).unwrap();
            let mut frame = Vec::new();
            encode(&ToReceiver::Ping { token: place }, &mut frame);
            lanes.best().unwrap().carry(frame);
        }
        let tokens = || -> Vec<Vec<u64>> {
            let all = far.heard.lock().unwrap();
            all.iter()
                .map(|heard| {
                    let mut decoder = Decoder::default();
                    decoder.extend(heard);
                    let messages = std::iter::from_fn(|| decoder.take::<ToReceiver>().unwrap());
                    messages
                        .filter_map(|message| match message {
                            ToReceiver::Ping { token } => Some(token),
                            _ => None,
                        })
                        .collect()
                })
                .collect()
        };
        until(&mut lanes, |_| tokens().concat().len() == 300).unwrap();
        let tokens = tokens();
        assert!(tokens.iter().all(|lane| lane.is_sorted() && !lane.is_empty()), "{tokens:?}");
    }

    #[test]
    fn a_target_that_takes_few_lanes_is_not_asked_again() {
        let (_far, open) = far(1);
        let mut lanes = Lanes::new(open, 3, START);
        lanes.begin(WORTH_BYTES);
        until(&mut lanes, |lanes| lanes.max == 1).unwrap();
        assert_eq!((lanes.open(), lanes.are_open()), (1, true));
    }

    #[test]
    fn a_lost_lane_is_a_lost_connection() {
        let (far, open) = far(2);
        let mut lanes = Lanes::new(open, 2, START);
        lanes.begin(WORTH_BYTES);
        until(&mut lanes, |lanes| lanes.open() == 2).unwrap();
        *far.broken.lock().unwrap() = true;
        assert!(matches!(until(&mut lanes, |_| false), Err(SessionError::Link(_))));
    }

    #[test]
    fn lanes_that_carry_nothing_for_long_are_closed_and_opened_again() {
        let (_far, open) = far(9);
        let mut lanes = Lanes::new(open, 2, START);
        lanes.begin(WORTH_BYTES);
        until(&mut lanes, |lanes| lanes.open() == 2).unwrap();
        lanes.look_after(START.plus(IDLE_MAX / 2), false, |number| Some(introduction(number))).unwrap();
        assert_eq!(lanes.open(), 2);
        lanes.look_after(START.plus(IDLE_MAX), false, |number| Some(introduction(number))).unwrap();
        assert_eq!(lanes.open(), 0);
        lanes.begin(WORTH_BYTES);
        until(&mut lanes, |lanes| lanes.open() == 2).unwrap();
    }
}
