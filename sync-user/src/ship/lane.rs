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
use super::window::{Deliveries, Window};
use crate::bell::Bell;
use crate::clock;
use crate::model::Stamp;
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
    /// What all lanes to the target have on their way.
    window: Arc<Mutex<Window>>,
    /// Wakes the lane.
    bell: Bell,
}

#[derive(Debug)]
struct Cargo {
    state: State,
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Also of what waits here.
    deliveries: Deliveries,
    is_closed: bool,
}

impl Lane {
    /// Begins to open a lane. `session_bell` is rung whenever its state changes, or it has room again.
    pub(super) fn open(
        open: Open,
        introduction: wire::Lane,
        window: Arc<Mutex<Window>>,
        session_bell: Bell,
    ) -> nix::Result<Self> {
        let cargo = Cargo {
            state: State::Opening,
            frames: VecDeque::new(),
            bytes: 0,
            deliveries: Deliveries::default(),
            is_closed: false,
        };
        let shared = Arc::new(Shared { cargo: Mutex::new(cargo), window, bell: Bell::new()? });
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

    /// What waits to be carried, in bytes; `None` where it is not open.
    pub(super) fn load(&self) -> Option<usize> {
        let cargo = self.shared.cargo();
        (cargo.state == State::Ready).then_some(cargo.bytes)
    }

    /// Whether it is open, and so little waits that more may.
    pub(super) fn has_room(&self) -> bool {
        self.load().is_some_and(|load| load < QUEUED_BYTES_MAX)
    }

    /// Has a frame carried.
    pub(super) fn carry(&self, frame: Vec<u8>) {
        let mut cargo = self.shared.cargo();
        cargo.bytes += frame.len();
        self.shared.sends(&mut cargo, frame.len(), clock::now());
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

    /// Counts what is to be sent, for this lane and for all.
    fn sends(&self, cargo: &mut Cargo, bytes: usize, now: Stamp) {
        cargo.deliveries.sent(bytes, now);
        self.window().sent(bytes);
    }

    /// Taken after the cargo, where both are.
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread of a lane.
struct Carrier {
    shared: Arc<Shared>,
    session_bell: Bell,
}

impl Carrier {
    fn run(&self, open: &Open, introduction: wire::Lane) {
        let (mut link, decoder) = match open().and_then(|link| join(link, introduction)) {
            Ok(joined) => joined,
            Err(cause) => return self.turns(State::Refused(cause)),
        };
        self.turns(State::Ready);
        if let Err(error) = self.carry(link.as_mut(), decoder) {
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
    fn carry(&self, link: &mut dyn Link, mut decoder: Decoder) -> Result<(), LinkError> {
        let mut ping = Vec::new();
        wire::encode(&ToReceiver::Ping { token: 0 }, &mut ping);
        let (mut frame, mut taken) = (Vec::new(), 0);
        let mut said = clock::now();
        loop {
            self.shared.bell.hush();
            let now = clock::now();
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
                if frame.is_empty() && now.since(said) >= QUIET_MAX {
                    frame.clone_from(&ping);
                    self.shared.sends(&mut cargo, frame.len(), now);
                }
            }
            while taken < frame.len() {
                match link.write(&frame[taken..])? {
                    0 => break,
                    count => {
                        (taken, said) = (taken + count, now);
                    }
                }
            }
            self.hear(link, &mut decoder)?;
            if taken < frame.len() || self.shared.cargo().frames.is_empty() {
                link.wait(taken < frame.len(), &[self.shared.bell.as_fd()], Some(QUIET_MAX))?;
            }
            if self.shared.cargo().is_closed {
                return Ok(());
            }
        }
    }

    /// Hears how much has come. The windows of SSH are part of what is read, too.
    fn hear(&self, link: &mut dyn Link, decoder: &mut Decoder) -> Result<(), LinkError> {
        let mut buffer = [0; 4096];
        loop {
            match link.read(&mut buffer)? {
                Received::Bytes(count) => decoder.extend(&buffer[..count]),
                Received::Nothing => return Ok(()),
                Received::Ended => return Err(LinkError("a lane was closed by the target".to_owned())),
            }
            while let Some(message) = decoder.take().map_err(|error| LinkError(error.to_string()))? {
                match message {
                    ToSource::Came { bytes } => self.came(bytes)?,
                    ToSource::Fatal { what, .. } => return Err(LinkError(what)),
                    _ => return Err(LinkError("a lane was answered what was not asked".to_owned())),
                }
            }
        }
    }

    fn came(&self, bytes: u64) -> Result<(), LinkError> {
        let now = clock::now();
        let came = self.shared.cargo().deliveries.came(bytes, now);
        let (count, taken) = came.ok_or_else(|| LinkError("more has come than was sent".to_owned()))?;
        if self.shared.window().came(count, taken, now) {
            self.session_bell.ring();
        }
        Ok(())
    }
}

/// Has the far end join the receiver that it is to bring pieces to.
fn join(mut link: Box<dyn Link>, introduction: wire::Lane) -> Result<(Box<dyn Link>, Decoder), String> {
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
                ToSource::Joined => return Ok((link, decoder)),
                ToSource::Fatal { what, .. } => return Err(what),
                _ => return Err("it answered something else".to_owned()),
            }
        }
    }
}
