//! Serves one source: reads its frames, applies its steps, answers with receipts.
//!
//! It knows two streams and nothing of SSH. Whatever comes over them, a step is applied whole or
//! not at all, and on any doubt about the stream itself the receiver ends: the source connects
//! again and compares.

use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::clock;
use crate::model::{Content, Outcome, Receipt, Refusal, Sequence, Stamp};
use crate::receive::{self, Disk, Done, Failure, Incoming, OpenError, Progress, Root, Whole};
use crate::wire::{
    self, COPY_BYTES_MAX, Decoder, FrameError, HOLE_BYTES_MAX, PREAMBLE, ReceiverHello, Step, ToReceiver,
    ToSource, VERSION,
};

mod examination;
mod publication;

use examination::Examination;
use publication::Publication;

/// What is read at once: two full frames of content and more.
const READ_BYTES: usize = 1 << 20;

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
pub fn serve(config: Config<'_>, reader: impl Read, writer: impl Write + Send) -> Result<(), Error> {
    let (writer, over) = (Mutex::new(writer), AtomicBool::new(false));
    // Here, so that who examines can never outlive the connection.
    thread::scope(|scope| {
        let examination = Examination::new(scope, &writer, &over);
        let result = serve_with(config, reader, &writer, examination);
        over.store(true, Ordering::Relaxed);
        result
    })
}

fn serve_with<'env, W: Write + Send>(
    config: Config<'_>,
    reader: impl Read,
    writer: &'env Mutex<W>,
    examination: Examination<'_, 'env, W>,
) -> Result<(), Error> {
    let mut receiver = Receiver {
        reader,
        writer,
        examination,
        decoder: Decoder::default(),
        receipts: Vec::new(),
        disk: None,
        buffer: vec![0; READ_BYTES],
        next: 1,
        unpublished: None,
    };
    lock(writer).write_all(PREAMBLE).map_err(Error::Write)?;
    let result = receiver.run(config);
    if let Err(error) = &result {
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
    decoder: Decoder,
    receipts: Vec<Receipt>,
    disk: Option<Disk>,
    buffer: Vec<u8>,
    /// The number that the next step has.
    next: u64,
    /// What is not visible yet, where steps wait for the rest of their batch.
    unpublished: Option<Publication>,
}

/// A file that comes in pieces.
struct Stream {
    sequence: Sequence,
    since: Stamp,
    /// What came so far; or why the file was given up, while the rest of it is passed over.
    incoming: Result<Incoming, Failure>,
}

impl<R: Read, W: Write + Send> Receiver<'_, '_, R, W> {
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
                self.unpublished = hello.publishes.then(Publication::default);
                self.disk = Some(root.disk().map_err(Error::Disk)?);
                self.say(&ToSource::Claimed(claimed))?;
            }
            Some(ToReceiver::Hello(hello)) => {
                return Err(Error::Protocol(format!(
                    "it speaks version {}, this is version {VERSION}",
                    hello.version
                )));
            }
            Some(_) => return Err(Error::Protocol("it did not begin with a hello".to_owned())),
            None => return Ok(()),
        }
        let mut stream = None;
        while let Some(message) = self.listen()? {
            match (message, stream.take()) {
                // Small steps may come within a large file, and another large one may not.
                (ToReceiver::Step { sequence, step }, open) => {
                    let begun = self.step(&mut root, sequence, step)?;
                    if begun.is_some() && open.is_some() {
                        return Err(Error::Protocol("a file came within another".to_owned()));
                    }
                    stream = begun.or(open);
                }
                (ToReceiver::Content { sequence, bytes }, Some(open)) => {
                    stream = Some(Self::content(open, sequence, &bytes)?);
                }
                (ToReceiver::Hole { sequence, length }, Some(open)) => {
                    stream = Some(Self::hole(open, sequence, length)?);
                }
                (ToReceiver::Copy { sequence, from, length }, Some(open)) => {
                    stream = Some(Self::copy(open, sequence, (from, length))?);
                }
                (ToReceiver::ContentEnd { sequence, content }, Some(open)) => {
                    self.content_end(&mut root, open, sequence, content)?;
                }
                (ToReceiver::ContentAbort { sequence }, Some(open)) => self.content_abort(open, sequence)?,
                (ToReceiver::Ping { token }, open) => {
                    root.reach_resident();
                    root.purge();
                    self.say(&ToSource::Pong { token })?;
                    stream = open;
                }
                (ToReceiver::Named { users, groups }, open) => {
                    root.learn(&users, &groups);
                    stream = open;
                }
                (ToReceiver::Holds { entries }, open) => {
                    root.reach_resident();
                    root.source_holds(entries);
                    stream = open;
                }
                (ToReceiver::Examine(question), open) => {
                    self.examination.examine(question, &root)?;
                    stream = open;
                }
                (ToReceiver::Publish, None) => self.publish(&mut root)?,
                (ToReceiver::List, None) => self.list(&root)?,
                (ToReceiver::Goodbye, None) => return self.flush(),
                (ToReceiver::Hello(_), _) => return Err(Error::Protocol("it said hello twice".to_owned())),
                (_, None) => return Err(Error::Protocol("content came for no file".to_owned())),
                (_, Some(_)) => return Err(Error::Protocol("something else came within a file".to_owned())),
            }
        }
        if stream.is_some() { Err(Error::Cut("a file")) } else { Ok(()) }
    }

    fn step(&mut self, root: &mut Root, sequence: Sequence, step: Step) -> Result<Option<Stream>, Error> {
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
            return unpublished.check().map(|()| None);
        }
        match root.apply(step) {
            Ok(Progress::Done(done)) => self.over(sequence, since, Ok(done))?,
            Ok(Progress::Whole(whole)) => self.whole(root, sequence, since, whole)?,
            Ok(Progress::Wants(incoming)) => {
                return Ok(Some(Stream { sequence, since, incoming: Ok(incoming) }));
            }
            Err(failure) if is_streamed => {
                return Ok(Some(Stream { sequence, since, incoming: Err(failure) }));
            }
            Err(failure) => self.over(sequence, since, Err(failure))?,
        }
        Ok(None)
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

    fn content(mut stream: Stream, sequence: Sequence, bytes: &[u8]) -> Result<Stream, Error> {
        check_turn(&stream, sequence)?;
        if let Ok(incoming) = &mut stream.incoming
            && let Err(failure) = incoming.write(bytes)
        {
            // Its space is free again from here on.
            stream.incoming = Err(failure);
        }
        Ok(stream)
    }

    fn hole(mut stream: Stream, sequence: Sequence, length: u64) -> Result<Stream, Error> {
        check_turn(&stream, sequence)?;
        if length > HOLE_BYTES_MAX {
            return Err(Error::Protocol(format!("a hole of {length} bytes came at once")));
        }
        if let Ok(incoming) = &mut stream.incoming
            && let Err(failure) = incoming.hole(length)
        {
            stream.incoming = Err(failure);
        }
        Ok(stream)
    }

    fn copy(mut stream: Stream, sequence: Sequence, (from, length): (u64, u64)) -> Result<Stream, Error> {
        check_turn(&stream, sequence)?;
        // Without content a message would cost its sender little and this side no end.
        if length == 0 || length > COPY_BYTES_MAX {
            return Err(Error::Protocol(format!("a range of {length} bytes was to be copied at once")));
        }
        if let Ok(incoming) = &mut stream.incoming
            && let Err(failure) = incoming.copy(from, length)
        {
            stream.incoming = Err(failure);
        }
        Ok(stream)
    }

    fn content_end(
        &mut self,
        root: &mut Root,
        stream: Stream,
        sequence: Sequence,
        content: Content,
    ) -> Result<(), Error> {
        check_turn(&stream, sequence)?;
        let Stream { sequence, since, incoming } = stream;
        match incoming.and_then(|incoming| root.complete(incoming, content)) {
            Ok(whole) => self.whole(root, sequence, since, Box::new(whole)),
            Err(failure) => self.over(sequence, since, Err(failure)),
        }
    }

    fn content_abort(&mut self, stream: Stream, sequence: Sequence) -> Result<(), Error> {
        check_turn(&stream, sequence)?;
        let Stream { sequence, since, incoming } = stream;
        let withdrawn = Failure::new(Refusal::Withdrawn, "the source took it back");
        self.over(sequence, since, Err(incoming.err().unwrap_or(withdrawn)))
    }

    fn list(&mut self, root: &Root) -> Result<(), Error> {
        self.flush()?;
        let unreadable = receive::list(root, |part| self.say(&ToSource::Listing(part)))?;
        self.say(&ToSource::ListingEnd { unreadable: bounded(unreadable) })
    }

    fn answer(
        &mut self,
        sequence: Sequence,
        since: Stamp,
        result: Result<Done, Failure>,
    ) -> Result<(), Error> {
        if let (Ok(_), Some(disk)) = (&result, &mut self.disk) {
            disk.disturb();
        }
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
            if let Some(message) = self.decoder.take()? {
                return Ok(Some(message));
            }
            self.flush()?;
            match self.reader.read(&mut self.buffer) {
                Ok(0) if self.decoder.is_empty() => return Ok(None),
                Ok(0) => return Err(Error::Cut("a frame")),
                Ok(count) => self.decoder.extend(&self.buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if self.receipts.is_empty() {
            return Ok(());
        }
        if let Some(disk) = &mut self.disk {
            disk.settle().map_err(Error::Disk)?;
        }
        let receipts = std::mem::take(&mut self.receipts);
        self.say(&ToSource::Receipts(receipts))
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

fn check_turn(stream: &Stream, sequence: Sequence) -> Result<(), Error> {
    if stream.sequence == sequence {
        return Ok(());
    }
    Err(Error::Protocol(format!("content for step {} came within step {}", sequence.0, stream.sequence.0)))
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
