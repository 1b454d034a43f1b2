//! Hears from receivers of the same root what they do there, where replication is two-way.
//!
//! Capture sees what a receiver does like all changes. Before a replica looks at the tree it takes
//! what receivers have said: a receiver says first what it is about to change, so whoever has seen the
//! change finds that here. A path that is just being changed is looked at a moment later, and what
//! was changed goes into the ledger of the target that it came from, as agreed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tracing::{debug, warn};

use crate::home;
use crate::model::{TreePath, Version};
use crate::wire::{Arrival, Arrived, Decoder, Holding};

/// What waits for one replica at most; beyond, the oldest is forgotten, and what it was about is
/// sent back and met (I6).
const WAITING_MAX: usize = 200_000;

/// Receivers that are heard at the same time.
const RECEIVERS_MAX: usize = 64;

/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// The listener among what is waited for.
const LISTENER: u64 = 0;

/// What a replica has to know of its target.
#[derive(Debug, Clone)]
pub(super) enum Notice {
    Arrived(Arrived),
    /// What the target says that it holds; `None` where it has nothing, or wants what is here.
    Holds(Vec<(TreePath, Option<Version>)>),
    /// Another root has sent this here, and may have sent it to the target as well.
    Elsewhere(Arrived),
    /// What the target has got from another root than this.
    HoldsToo(Vec<(TreePath, Option<Version>)>),
    /// A receiver is gone, and nobody knows what became of these.
    Interrupted(Vec<TreePath>),
}

/// The ear of one root. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Arrivals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The root's own name.
    root: [u8; 16],
    home: OwnedFd,
    epoll: Epoll,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until somebody takes what is heard: till then receivers leave it where it outlasts us.
    listener: Option<UnixListener>,
    /// It was told that nobody can be heard.
    is_deaf: bool,
    receivers: HashMap<u64, Receiver>,
    next: u64,
    /// Paths that are being changed, and by how many steps.
    changing: BTreeMap<TreePath, usize>,
    waiting: HashMap<[u8; 16], VecDeque<Notice>>,
    /// Roots of which something was left from before.
    left: HashSet<[u8; 16]>,
}

#[derive(Debug)]
struct Receiver {
    stream: UnixStream,
    decoder: Decoder,
    /// Where its steps come from.
    from: Option<[u8; 16]>,
    /// What its current step is about to change.
    begun: Vec<TreePath>,
}

impl Arrivals {
    /// Prepares to listen in the root's own folder.
    pub(super) fn open(root: impl AsFd) -> io::Result<Self> {
        let home: OwnedFd = home::open(root)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let state = State { next: LISTENER + 1, ..State::default() };
        let (root, state) = (home::id::of(&home)?, Mutex::new(state));
        Ok(Self(Arc::new(Inner { root, home, epoll, state })))
    }

    /// The name of the root.
    pub(super) fn root(&self) -> [u8; 16] {
        self.0.root
    }

    /// Keeps from now on what comes from the root of this name.
    pub(super) fn expect(&self, root: [u8; 16]) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).waiting.entry(root).or_default();
    }

    /// Hears all that was said until now, and takes what is about the root of this name.
    pub(super) fn take(&self, root: [u8; 16]) -> Vec<Notice> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.listener.is_none()
            && let Err(error) = state.listen(&self.0)
            && !std::mem::replace(&mut state.is_deaf, true)
        {
            warn!(
                "cannot listen to receivers of this root: {error}; what they put here is sent back, and met"
            );
        }
        let mut events = [EpollEvent::empty(); RECEIVERS_MAX + 1];
        let count = self.0.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..count] {
            match event.data() {
                LISTENER => state.admit(&self.0),
                number => state.hear(number, &self.0.epoll),
            }
        }
        state.waiting.get_mut(&root).map(std::mem::take).into_iter().flatten().collect()
    }

    /// What was taken of the root of this name is noted elsewhere, so that nobody has to tell it again.
    pub(super) fn noted(&self, root: [u8; 16]) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.left.remove(&root) {
            home::spool::forget(&self.0.home, root);
        }
    }

    /// Whether what is at `path`, or below if that counts, is being changed, as far as who takes what is
    /// about the root of this name knows: another replica may have heard meanwhile that it was done.
    pub(super) fn is_changing(&self, root: [u8; 16], path: &TreePath, below: bool) -> bool {
        let state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.changing.contains_key(path)
            || (below && path.below(&state.changing).next().is_some())
            || state.waiting.get(&root).is_some_and(|waiting| !waiting.is_empty())
    }
}

/// Readable when a receiver has said something.
impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.epoll.0.as_fd()
    }
}

impl State {
    /// Begins to listen, and then takes what was left before: so nothing falls in between.
    fn listen(&mut self, inner: &Inner) -> io::Result<()> {
        let listener = home::arrivals::listen(&inner.home)?;
        inner.epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        self.listener = Some(listener);
        for (root, bytes) in home::spool::take(&inner.home)? {
            self.left(root, &bytes);
        }
        Ok(())
    }

    /// Keeps what has come from the root of this name while no daemon ran.
    fn left(&mut self, root: [u8; 16], bytes: &[u8]) {
        self.left.insert(root);
        self.waiting.entry(root).or_default();
        let mut decoder = Decoder::default();
        decoder.extend(bytes);
        // What was cut short was not done, or is sent back and met.
        while let Ok(Some(arrival)) = decoder.take::<Arrival>() {
            match arrival {
                Arrival::Done(arrived) => self.arrived(Some(root), arrived),
                Arrival::Holds { entries } => self.tell(Some(root), Notice::Holds(holdings(entries))),
                Arrival::From { .. }
                | Arrival::Begins { .. }
                | Arrival::Failed
                | Arrival::HoldsToo { .. } => {}
            }
        }
    }

    fn admit(&mut self, inner: &Inner) {
        while let Some(Ok((stream, _))) = self.listener.as_ref().map(UnixListener::accept) {
            let number = self.next;
            self.next += 1;
            let is_ready = self.receivers.len() < RECEIVERS_MAX
                && stream.set_nonblocking(true).is_ok()
                && inner.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, number)).is_ok();
            if is_ready {
                let receiver =
                    Receiver { stream, decoder: Decoder::default(), from: None, begun: Vec::new() };
                self.receivers.insert(number, receiver);
                // What it has said already does not ring again for whoever waits now.
                self.hear(number, &inner.epoll);
            }
        }
    }

    fn hear(&mut self, number: u64, epoll: &Epoll) {
        let Some(mut receiver) = self.receivers.remove(&number) else { return };
        match self.read(&mut receiver) {
            Ok(()) => {
                self.receivers.insert(number, receiver);
            }
            Err(cause) => {
                debug!("a receiver of this root is gone: {cause}");
                let _removed = epoll.delete(&receiver.stream);
                let begun = std::mem::take(&mut receiver.begun);
                self.end(&begun);
                if !begun.is_empty() {
                    self.tell(receiver.from, Notice::Interrupted(begun));
                }
            }
        }
    }

    fn read(&mut self, receiver: &mut Receiver) -> io::Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match receiver.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => receiver.decoder.extend(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            while let Some(arrival) = receiver.decoder.take::<Arrival>().map_err(io::Error::other)? {
                self.understand(receiver, arrival);
            }
        }
    }

    fn understand(&mut self, receiver: &mut Receiver, arrival: Arrival) {
        match arrival {
            Arrival::From { root } => receiver.from = Some(root),
            Arrival::Begins { paths } => {
                receiver.begun = valid(&paths);
                for path in &receiver.begun {
                    *self.changing.entry(path.clone()).or_default() += 1;
                }
            }
            Arrival::Done(arrived) => {
                self.end(&std::mem::take(&mut receiver.begun));
                self.arrived(receiver.from, arrived);
            }
            Arrival::Failed => {
                let begun = std::mem::take(&mut receiver.begun);
                self.end(&begun);
                self.tell(receiver.from, Notice::Interrupted(begun));
            }
            Arrival::Holds { entries } => self.tell(receiver.from, Notice::Holds(holdings(entries))),
            Arrival::HoldsToo { entries } => self.tell(receiver.from, Notice::HoldsToo(holdings(entries))),
        }
    }

    fn end(&mut self, begun: &[TreePath]) {
        for path in begun {
            if let Some(count) = self.changing.get_mut(path) {
                *count -= 1;
                if *count == 0 {
                    self.changing.remove(path);
                }
            }
        }
    }

    /// It concerns the root that it came from, and in another way all others.
    fn arrived(&mut self, from: Option<[u8; 16]>, arrived: Arrived) {
        let others: Vec<[u8; 16]> =
            self.waiting.keys().copied().filter(|root| from.is_some() && Some(*root) != from).collect();
        for other in others {
            self.tell(Some(other), Notice::Elsewhere(arrived.clone()));
        }
        self.tell(from, Notice::Arrived(arrived));
    }

    fn tell(&mut self, from: Option<[u8; 16]>, notice: Notice) {
        let Some(waiting) = from.and_then(|from| self.waiting.get_mut(&from)) else { return };
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(notice);
    }
}

fn valid(paths: &[Vec<u8>]) -> Vec<TreePath> {
    paths.iter().filter_map(|path| TreePath::new(path).ok()).collect()
}

fn holdings(entries: Vec<Holding>) -> Vec<(TreePath, Option<Version>)> {
    let entry = |Holding { path, version }| Some((TreePath::new(&path).ok()?, version));
    entries.into_iter().filter_map(entry).collect()
}
