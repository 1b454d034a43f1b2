//! Tells the daemon of this root, if one runs here, what arrives for it from elsewhere.
//!
//! If none runs, it is left for the next one. What nobody was told all the same is sent back, and meets
//! what it is.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::home::{arrivals, spool};
use crate::wire::{self, Arrival, Arrived, Holding};

/// How long the daemon may let its socket run full before it is left alone.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to the daemon, as long as there is one.
#[derive(Debug)]
pub(super) struct Resident {
    /// Whose steps it is told of.
    root: [u8; 16],
    stream: Option<UnixStream>,
}

impl Resident {
    pub(super) fn new(root: [u8; 16]) -> Self {
        Self { root, stream: None }
    }

    /// Looks for the daemon, if it is not known yet.
    pub(super) fn reach(&mut self, home: &OwnedFd) {
        if self.stream.is_some() {
            return;
        }
        if let Ok(stream) = arrivals::reach(home)
            && stream.set_write_timeout(Some(PATIENCE)).is_ok()
        {
            self.stream = Some(stream);
            self.tell(&Arrival::From { root: self.root });
        }
    }

    /// Has to be said before anything of it can be seen.
    pub(super) fn begins(&mut self, home: &OwnedFd, paths: &[&[u8]]) {
        // It may have been started since: to ask costs some microseconds.
        self.reach(home);
        if self.stream.is_some() {
            let paths = paths.iter().map(|path| path.to_vec()).collect();
            self.tell_whoever(home, &Arrival::Begins { paths });
        }
    }

    pub(super) fn ends(&mut self, home: &OwnedFd, arrived: Option<Arrived>) {
        let Some(arrived) = arrived else { return self.tell(&Arrival::Failed) };
        let arrival = Arrival::Done(arrived);
        self.tell(&arrival);
        if self.stream.is_none() && !self.leave(home, &arrival).unwrap_or(true) {
            self.reach(home);
            self.tell(&arrival);
        }
    }

    /// Leaves it for the next daemon; `false` if that has started just now.
    fn leave(&self, home: &OwnedFd, arrival: &Arrival) -> io::Result<bool> {
        let mut bytes = Vec::new();
        wire::encode(arrival, &mut bytes);
        spool::add(home, self.root, &bytes)
    }

    pub(super) fn source_holds(&mut self, home: &OwnedFd, entries: Vec<Holding>) {
        self.reach(home);
        let arrival = Arrival::Holds { entries };
        self.tell_whoever(home, &arrival);
        if self.stream.is_none() {
            // What cannot be left either is asked for again when the trees are merged.
            let _left = self.leave(home, &arrival);
        }
    }

    /// A daemon that does not run needs not know: it is sent what it has.
    pub(super) fn source_holds_too(&mut self, home: &OwnedFd, entries: Vec<Holding>) {
        self.reach(home);
        self.tell_whoever(home, &Arrival::HoldsToo { entries });
    }

    /// Tells the daemon that runs now: that the one before has ended shows only when it is told.
    fn tell_whoever(&mut self, home: &OwnedFd, arrival: &Arrival) {
        self.tell(arrival);
        if self.stream.is_none() {
            self.reach(home);
            self.tell(arrival);
        }
    }

    fn tell(&mut self, arrival: &Arrival) {
        let Some(stream) = &mut self.stream else { return };
        let mut bytes = Vec::new();
        wire::encode(arrival, &mut bytes);
        if stream.write_all(&bytes).is_err() {
            self.stream = None;
        }
    }
}
