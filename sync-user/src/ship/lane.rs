//! Carries frames to a target over a connection of its own, in a thread of its own.
//!
//! What it carries is pieces of large files, so that they neither keep small changes waiting on the
//! connection that these take, nor have to fit into the window of one SSH channel: 2 MiB for each
//! round trip, set by the far end's `sshd`.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::event::SILENCE_MAX;
use super::link::{Link, LinkError, Received};
use crate::bell::Bell;
use crate::clock;
use crate::wire::{self, Decoder, ToReceiver, ToSource};

/// Frames wait for a lane while there are fewer bytes than this: enough to keep SSH busy meanwhile.
const QUEUED_BYTES_MAX: usize = 256 << 10;

/// After this time without anything to carry, the far end is shown that we live.
const QUIET_MAX: Duration = Duration::from_secs(15);

/// Opens a connection whose far end speaks, or says why that cannot be. Several threads call it.
pub type Open = Arc<dyn Fn() -> Result<Box<dyn Link>, String> + Send + Sync>;

/// How far a lane is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Opening,
    Ready,
    /// It could not be opened.
    Refused(String),
    /// It was lost with what it carried.
    Lost(String),
}

/// A lane; it closes when this is dropped, whatever it carries.
#[derive(Debug)]
pub(super) struct Lane {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cargo: Mutex<Cargo>,
    /// Wakes the lane.
    bell: Bell,
}

#[derive(Debug)]
struct Cargo {
    state: State,
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    is_closed: bool,
}

impl Lane {
    /// Begins to open a lane. `session_bell` is rung whenever its state changes, or it has room again.
    pub(super) fn open(open: Open, introduction: wire::Lane, session_bell: Bell) -> nix::Result<Self> {
        let cargo = Cargo { state: State::Opening, frames: VecDeque::new(), bytes: 0, is_closed: false };
        let shared = Arc::new(Shared { cargo: Mutex::new(cargo), bell: Bell::new()? });
        let carrier = Carrier { shared: Arc::clone(&shared), session_bell };
        let name = format!("lane {}", introduction.number);
        thread::Builder::new()
            .name(name)
            .spawn(move || carrier.run(&open, introduction))
            .map_err(|error| nix::Error::from_raw(error.raw_os_error().unwrap_or(libc::EAGAIN)))?;
        Ok(Self { shared })
    }

    pub(super) fn state(&self) -> State {
        self.shared.cargo().state.clone()
    }

    /// What waits to be carried, in bytes; `None` while it takes nothing more.
    pub(super) fn load(&self) -> Option<usize> {
        let cargo = self.shared.cargo();
        (cargo.state == State::Ready && cargo.bytes < QUEUED_BYTES_MAX).then_some(cargo.bytes)
    }

    /// Has a frame carried.
    pub(super) fn carry(&self, frame: Vec<u8>) {
        let mut cargo = self.shared.cargo();
        cargo.bytes += frame.len();
        cargo.frames.push_back(frame);
        self.shared.bell.ring();
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.shared.cargo().is_closed = true;
        self.shared.bell.ring();
    }
}

impl Shared {
    fn cargo(&self) -> MutexGuard<'_, Cargo> {
        self.cargo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of a lane.
struct Carrier {
    shared: Arc<Shared>,
    session_bell: Bell,
}

impl Carrier {
    fn run(&self, open: &Open, introduction: wire::Lane) {
        let mut link = match open().and_then(|link| join(link, introduction)) {
            Ok(link) => link,
            Err(cause) => return self.turns(State::Refused(cause)),
        };
        self.turns(State::Ready);
        if let Err(error) = self.carry(link.as_mut()) {
            let complaints = link.complaints();
            self.turns(State::Lost(format!(
                "{error}{}{complaints}",
                if complaints.is_empty() { "" } else { ": " }
            )));
        }
    }

    fn turns(&self, state: State) {
        self.shared.cargo().state = state;
        self.session_bell.ring();
    }

    /// Carries until it is closed.
    fn carry(&self, link: &mut dyn Link) -> Result<(), LinkError> {
        let mut ping = Vec::new();
        wire::encode(&ToReceiver::Ping { token: 0 }, &mut ping);
        let (mut frame, mut taken) = (Vec::new(), 0);
        let mut said = clock::now();
        loop {
            self.shared.bell.hush();
            if taken == frame.len() {
                let mut cargo = self.shared.cargo();
                if cargo.is_closed {
                    return Ok(());
                }
                (frame, taken) = (cargo.frames.pop_front().unwrap_or_default(), 0);
                let was_full = cargo.bytes >= QUEUED_BYTES_MAX;
                cargo.bytes -= frame.len();
                if was_full && cargo.bytes < QUEUED_BYTES_MAX {
                    self.session_bell.ring();
                }
            }
            let now = clock::now();
            if frame.is_empty() && now.since(said) >= QUIET_MAX {
                frame.clone_from(&ping);
            }
            while taken < frame.len() {
                match link.write(&frame[taken..])? {
                    0 => break,
                    count => {
                        (taken, said) = (taken + count, now);
                    }
                }
            }
            hear(link)?;
            if taken < frame.len() || self.shared.cargo().frames.is_empty() {
                link.wait(taken < frame.len(), &[self.shared.bell.as_fd()], Some(QUIET_MAX))?;
            }
            if self.shared.cargo().is_closed {
                return Ok(());
            }
        }
    }
}

/// Nothing is said on a lane, but its windows are part of what is read.
fn hear(link: &mut dyn Link) -> Result<(), LinkError> {
    let mut buffer = [0; 4096];
    loop {
        match link.read(&mut buffer)? {
            Received::Bytes(_) => {}
            Received::Nothing => return Ok(()),
            Received::Ended => return Err(LinkError("a lane was closed by the target".to_owned())),
        }
    }
}

/// Has the far end join the receiver that it is to bring pieces to.
fn join(mut link: Box<dyn Link>, introduction: wire::Lane) -> Result<Box<dyn Link>, String> {
    let mut unsent = Vec::new();
    wire::encode(&ToReceiver::Lane(introduction), &mut unsent);
    let (mut decoder, mut buffer) = (Decoder::default(), [0; 4096]);
    let end = clock::now().plus(SILENCE_MAX);
    let none: &[BorrowedFd<'_>] = &[];
    loop {
        match link.read(&mut buffer).map_err(|error| error.to_string())? {
            Received::Bytes(count) => decoder.extend(&buffer[..count]),
            Received::Nothing => {
                if clock::now() > end {
                    return Err(format!("it was silent for {} s", SILENCE_MAX.as_secs()));
                }
                link.wait(!unsent.is_empty(), none, Some(Duration::from_secs(1)))
                    .map_err(|error| error.to_string())?;
            }
            Received::Ended => return Err(format!("its receiver ended: {}", link.complaints())),
        }
        if !unsent.is_empty() {
            let count = link.write(&unsent).map_err(|error| error.to_string())?;
            unsent.drain(..count);
        }
        while let Some(message) = decoder.take::<ToSource>().map_err(|error| error.to_string())? {
            match message {
                ToSource::Hello(_) => {}
                ToSource::Joined => return Ok(link),
                ToSource::Fatal { what, .. } => return Err(what),
                _ => return Err("it answered something else".to_owned()),
            }
        }
    }
}
