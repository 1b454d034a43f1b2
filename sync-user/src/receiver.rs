//! Serves one source: reads its frames, applies its steps, answers with receipts.
//!
//! It knows two streams and nothing of SSH. Whatever comes over them, a step is applied whole or
//! not at all, and on any doubt about the stream itself the receiver ends: the source connects
//! again and compares.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::clock;
use crate::model::{Outcome, Receipt, Sequence, Stamp};
use crate::receive::{self, Done, Failure, OpenError, Progress, Root, Whole};
use crate::wire::{
    self, CONTENT_BYTES_MAX, Decoder, FrameError, LANES_MAX, Lane, OPEN_FILES_MAX, PREAMBLE, Piece,
    ReceiverHello, Step, ToReceiver, ToSource, VERSION,
};

mod arriving;
mod examination;
mod input;
mod lanes;
mod pouring;
mod publication;
mod settling;

use arriving::Arriving;
use examination::Examination;
pub use input::{Input, Patient};
use lanes::Lanes;
use publication::Publication;
use settling::Settling;

/// What is read at once: two full frames of content and more.
const READ_BYTES: usize = 1 << 20;

/// What is read at once of a lane: about one piece, so that steps are soon looked for again.
const LANE_READ_BYTES: usize = CONTENT_BYTES_MAX;

/// Receipts that are gathered while more steps wait; about 4 KiB.
const RECEIPTS_MAX: usize = 256;

/// Why a receiver ended before its source was done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("read from the source: {0}")]
    Read(#[source] io::Error),
    #[error("write to the source: {0}")]
    Write(#[source] io::Error),
    #[error("examine the target beside other work: {0}")]
    Examine(#[source] io::Error),
    #[error("write to the target's disk: {0}")]
    Disk(#[source] io::Error),
    #[error("the source does not keep to the protocol: {0}")]
    Frame(#[from] FrameError),
    #[error("the source does not keep to the protocol: {0}")]
    Protocol(String),
    #[error("the connection ended within {0}")]
    Cut(&'static str),
}

/// What a receiver is to do.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    pub root: &'a Path,
    /// Whether the calling thread may be locked into the root, for good.
    pub lock_in: bool,
}

/// Receives into the root until the source says goodbye, or its stream ends between two steps.
///
/// An error is told to the source as well, as far as it still listens. Nothing that was not
/// complete becomes visible.
pub fn serve(config: Config<'_>, reader: impl Input, writer: impl Write + Send) -> Result<(), Error> {
    let (writer, over) = (Mutex::new(writer), AtomicBool::new(false));
    // Here, so that who examines can never outlive the connection.
    thread::scope(|scope| {
        let examination = Examination::new(scope, &writer, &over);
        let settling = Settling::new(scope, &writer);
        let result = serve_with(config, reader, &writer, (examination, settling));
        over.store(true, Ordering::Relaxed);
        result
    })
}

fn serve_with<'scope, 'env, W: Write + Send>(
    config: Config<'_>,
    reader: impl Input,
    writer: &'env Mutex<W>,
    (examination, settling): (Examination<'scope, 'env, W>, Settling<'scope, 'env, W>),
) -> Result<(), Error> {
    let mut receiver = Receiver {
        reader,
        writer,
        examination,
        settling,
        decoder: Decoder::default(),
        lanes: Lanes::new(Vec::new()),
        is_turn_of_lanes: false,
        arriving: BTreeMap::new(),
        deferred: None,
        receipts: Vec::new(),
        disturbed: false,
        buffer: vec![0; READ_BYTES],
        next: 1,
        unpublished: None,
    };
    lock(writer).write_all(PREAMBLE).map_err(Error::Write)?;
    let result = receiver.run(config).and_then(|()| receiver.settle());
    if let Err(error) = &result {
        // What was applied is told all the same, if that is possible.
        let _also = receiver.settling.finish();
        let remedy = match error {
            Error::Open(OpenError { remedy, .. }) => remedy.clone(),
            _ => "see the log of the source".to_owned(),
        };
        // The source may be gone, which is then the reason for ending.
        let _gone = receiver.say(&ToSource::Fatal { what: error.to_string(), remedy });
    }
    result
}

struct Receiver<'scope, 'env, R, W> {
    reader: R,
    writer: &'env Mutex<W>,
    examination: Examination<'scope, 'env, W>,
    settling: Settling<'scope, 'env, W>,
    decoder: Decoder,
    lanes: Lanes,
    is_turn_of_lanes: bool,
    /// Files whose content comes in pieces, by their steps.
    arriving: BTreeMap<Sequence, Arriving>,
    /// What has to wait for all of them.
    deferred: Option<ToReceiver>,
    receipts: Vec<Receipt>,
    /// Whether one of them is about something that was applied.
    disturbed: bool,
    buffer: Vec<u8>,
    /// The number that the next step has.
    next: u64,
    /// What is not visible yet, where steps wait for the rest of their batch.
    unpublished: Option<Publication>,
}

impl<R: Input, W: Write + Send> Receiver<'_, '_, R, W> {
    fn run(&mut self, config: Config<'_>) -> Result<(), Error> {
        let mut root = Root::open(config.root)?;
        let locked = if config.lock_in { root.lock_in() } else { Err("it was not asked to".to_owned()) };
        self.say(&ToSource::Hello(ReceiverHello {
            version: VERSION,
            program: concat!("ksyncd ", env!("CARGO_PKG_VERSION")).to_owned(),
            process: std::process::id(),
            user: nix::unistd::geteuid().as_raw(),
            root: config.root.as_os_str().as_bytes().to_vec(),
            place: root.place().into_os_string().into_vec(),
            unlocked: locked.err(),
        }))?;
        match self.listen()? {
            Some(ToReceiver::Hello(hello)) if hello.version == VERSION => {
                let claimed = root.claim(&hello)?;
                self.lanes = Lanes::new(root.lanes(hello.lanes.min(LANES_MAX)));
                self.unpublished = hello.publishes.then(Publication::default);
                self.settling.wait_for(root.disk().map_err(Error::Disk)?);
                self.say(&ToSource::Claimed(claimed))?;
            }
            Some(ToReceiver::Lane(lane)) if lane.version == VERSION => return self.pour(&root, &lane),
            Some(
                ToReceiver::Hello(wire::SourceHello { version, .. }) | ToReceiver::Lane(Lane { version, .. }),
            ) => {
                return Err(Error::Protocol(format!(
                    "it speaks version {version}, this is version {VERSION}"
                )));
            }
            Some(_) => return Err(Error::Protocol("it did not begin with a hello".to_owned())),
            None => return Ok(()),
        }
        while let Some(message) = self.listen()? {
            match message {
                ToReceiver::Step { sequence, step } => self.step(&mut root, sequence, step)?,
                ToReceiver::Piece { place: _, sequence, piece } => self.piece(&mut root, sequence, piece)?,
                ToReceiver::Ping { token } => {
                    root.reach_resident();
                    root.purge();
                    self.say(&ToSource::Pong { token })?;
                }
                ToReceiver::Named { users, groups } => root.learn(&users, &groups),
                ToReceiver::Holds { entries } => {
                    root.reach_resident();
                    root.source_holds(entries);
                }
                ToReceiver::HoldsToo { entries } => {
                    root.reach_resident();
                    root.source_holds_too(entries);
                }
                ToReceiver::Examine(question) => self.examination.examine(question, &root)?,
                ToReceiver::Publish => self.publish(&mut root)?,
                ToReceiver::List => self.list(&root)?,
                ToReceiver::Goodbye => return Ok(()),
                ToReceiver::Hello(_) | ToReceiver::Lane(_) => {
                    return Err(Error::Protocol("it said hello twice".to_owned()));
                }
            }
        }
        if self.arriving.is_empty() { Ok(()) } else { Err(Error::Cut("a file")) }
    }

    fn step(&mut self, root: &mut Root, sequence: Sequence, step: Step) -> Result<(), Error> {
        if sequence.0 != self.next {
            return Err(Error::Protocol(format!("step {} came where {} was due", sequence.0, self.next)));
        }
        self.next += 1;
        let since = clock::now();
        let is_streamed =
            matches!(step, Step::PutFile { body: wire::Body::Streamed | wire::Body::Built { .. }, .. });
        if let Some(unpublished) = &mut self.unpublished
            && !matches!(step, Step::PutFile { .. })
        {
            unpublished.step(sequence, step);
            return unpublished.check();
        }
        match root.apply(step) {
            Ok(Progress::Done(done)) => self.over(sequence, since, Ok(done)),
            Ok(Progress::Whole(whole)) => self.whole(root, sequence, since, whole),
            Ok(Progress::Wants(incoming)) => self.await_pieces(sequence, Arriving::new(since, Ok(incoming))),
            Err(failure) if is_streamed => self.await_pieces(sequence, Arriving::new(since, Err(failure))),
            Err(failure) => self.over(sequence, since, Err(failure)),
        }
    }

    fn await_pieces(&mut self, sequence: Sequence, file: Arriving) -> Result<(), Error> {
        self.arriving.insert(sequence, file);
        // Where there are lanes, the connection is not read until there are fewer.
        if self.arriving.len() > OPEN_FILES_MAX {
            return Err(Error::Protocol(format!("more than {OPEN_FILES_MAX} files came at once")));
        }
        Ok(())
    }

    fn piece(&mut self, root: &mut Root, sequence: Sequence, piece: Piece) -> Result<(), Error> {
        let Some(file) = self.arriving.get_mut(&sequence) else {
            return Err(Error::Protocol(format!("content came for step {}, which has none", sequence.0)));
        };
        let Some(result) = file.add(piece, root)? else { return Ok(()) };
        let since = file.since;
        self.arriving.remove(&sequence);
        match result {
            Ok(whole) => self.whole(root, sequence, since, Box::new(whole)),
            Err(failure) => self.over(sequence, since, Err(failure)),
        }
    }

    /// A file is whole: it becomes visible, now or with its batch.
    fn whole(
        &mut self,
        root: &mut Root,
        sequence: Sequence,
        since: Stamp,
        whole: Box<Whole>,
    ) -> Result<(), Error> {
        if let Some(unpublished) = &mut self.unpublished {
            unpublished.whole(sequence, whole);
            return unpublished.check();
        }
        let result = root.publish(*whole);
        self.answer(sequence, since, result)
    }

    /// Nothing is left to do of a step. Where others wait for the rest of their batch its answer waits
    /// with them, since answers come in the order of the steps.
    fn over(&mut self, sequence: Sequence, since: Stamp, result: Result<Done, Failure>) -> Result<(), Error> {
        if let Some(unpublished) = &mut self.unpublished {
            unpublished.over(sequence, result);
            return unpublished.check();
        }
        self.answer(sequence, since, result)
    }

    fn publish(&mut self, root: &mut Root) -> Result<(), Error> {
        let Some(unpublished) = &mut self.unpublished else {
            return Err(Error::Protocol("it had nothing to publish".to_owned()));
        };
        for (sequence, since, result) in std::mem::take(unpublished).publish(root) {
            self.answer(sequence, since, result)?;
        }
        Ok(())
    }

    fn list(&mut self, root: &Root) -> Result<(), Error> {
        self.settle()?;
        let unreadable = receive::list(root, |part| self.say(&ToSource::Listing(part)))?;
        self.say(&ToSource::ListingEnd { unreadable: bounded(unreadable) })
    }

    fn answer(
        &mut self,
        sequence: Sequence,
        since: Stamp,
        result: Result<Done, Failure>,
    ) -> Result<(), Error> {
        self.disturbed |= result.is_ok();
        let outcome = match result {
            Ok(Done { lacks, met }) => Outcome::Applied { lacks, met },
            Err(Failure { refusal, detail, found }) => Outcome::Refused { refusal, detail, found },
        };
        self.receipts.push(Receipt { sequence, outcome, took: clock::now().since(since) });
        if self.receipts.len() >= RECEIPTS_MAX { self.flush() } else { Ok(()) }
    }

    /// The next message; `None` at the end of the stream. Receipts leave before a wait.
    fn listen(&mut self) -> Result<Option<ToReceiver>, Error> {
        loop {
            if self.arriving.is_empty()
                && let Some(message) = self.deferred.take()
            {
                return Ok(Some(message));
            }
            // In turn with pieces, so that neither has to wait for many of the other.
            if std::mem::take(&mut self.is_turn_of_lanes)
                && let Some(piece) = self.lanes.take(self.next - 1)?
            {
                return Ok(Some(piece));
            }
            let takes_more =
                self.lanes.is_empty() || (self.deferred.is_none() && self.arriving.len() < OPEN_FILES_MAX);
            if takes_more && let Some(message) = self.decoder.take()? {
                self.is_turn_of_lanes = true;
                if self.may_come(&message)? {
                    return Ok(Some(message));
                }
                self.deferred = Some(message);
                continue;
            }
            if let Some(piece) = self.lanes.take(self.next - 1)? {
                return Ok(Some(piece));
            }
            self.flush()?;
            let is_here = self.reader.wait(takes_more, &self.lanes.awaited()).map_err(Error::Read)?;
            self.lanes.read(&mut self.buffer[..LANE_READ_BYTES])?;
            if !is_here {
                continue;
            }
            match self.reader.read(&mut self.buffer) {
                Ok(0) if self.decoder.is_empty() => return Ok(None),
                Ok(0) => return Err(Error::Cut("a frame")),
                Ok(count) => self.decoder.extend(&self.buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
    }

    /// Whether a message may be followed now, and not only after the files whose content is on its way.
    fn may_come(&mut self, message: &ToReceiver) -> Result<bool, Error> {
        match message {
            ToReceiver::Piece { place, .. } => self.lanes.passed(*place).map(|()| true),
            ToReceiver::Publish | ToReceiver::List | ToReceiver::Goodbye if !self.arriving.is_empty() => {
                // Without lanes all content has come that was sent before.
                if self.lanes.is_empty() {
                    return Err(Error::Protocol("something else came within a file".to_owned()));
                }
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.receipts.is_empty() {
            return Ok(());
        }
        let receipts = std::mem::take(&mut self.receipts);
        self.settling.answer(receipts, std::mem::take(&mut self.disturbed))
    }

    /// Waits until all receipts have left.
    fn settle(&mut self) -> Result<(), Error> {
        self.flush()?;
        self.settling.finish()
    }

    fn say(&mut self, message: &ToSource) -> Result<(), Error> {
        say(self.writer, message)
    }
}

/// Writes one message as a whole, whoever else has something to say.
fn say<W: Write>(writer: &Mutex<W>, message: &ToSource) -> Result<(), Error> {
    let mut bytes = Vec::new();
    wire::encode(message, &mut bytes);
    let mut writer = lock(writer);
    writer.write_all(&bytes).and_then(|()| writer.flush()).map_err(Error::Write)
}

fn lock<W>(writer: &Mutex<W>) -> MutexGuard<'_, W> {
    writer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What fits into one frame: past it the rest is told as one place, the root.
fn bounded(mut unreadable: Vec<wire::Unreadable>) -> Vec<wire::Unreadable> {
    const PLACES_MAX: usize = 100;
    if unreadable.len() > PLACES_MAX {
        let rest = unreadable.len() - PLACES_MAX;
        unreadable.truncate(PLACES_MAX);
        unreadable.push(wire::Unreadable { path: Vec::new(), cause: format!("{rest} more places") });
    }
    unreadable
}
