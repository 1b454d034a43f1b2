//! Speaks with both sides: the protocol of a receiver with the session, SFTP with the target.

use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::super::link::{Link, LinkError, Received};
use super::client::{Client, Tasks};
use super::local::is_passing;
use super::opening::{self, Opened};
use super::packet::Decoder;
use super::site::Abilities;
use super::voice::Voice;
use super::work::Work;
use crate::clock;
use crate::wire::{self, SourceHello, ToReceiver, ToSource, VERSION};

/// How long it sleeps at most; and while the session does not take what it is told.
const NAP: Duration = Duration::from_millis(500);
const SHORT_NAP: Duration = Duration::from_millis(5);

/// What is told, and not taken by the session: beyond, the target is not listened to.
const TOLD_BYTES_MAX: usize = 4 << 20;

/// How long the session may take to hear why a conversation ends.
const PARTING_MAX: Duration = Duration::from_secs(5);

/// How long cleaning up may take in the end.
const CLEANING_MAX: Duration = Duration::from_secs(10);

/// The number of a task that is no step.
const OPENING: u64 = u64::MAX;

pub(super) struct Conversation {
    link: Box<dyn Link>,
    decoder: Decoder,
    client: Client,
    socket: UnixStream,
    messages: wire::Decoder,
    voice: Voice,
    buffer: Vec<u8>,
}

/// What has come.
#[derive(Debug, Default)]
struct Heard {
    /// Tasks for which answers have come.
    tasks: Vec<u64>,
    /// The session has closed its end.
    is_over: bool,
    anything: bool,
}

impl Conversation {
    /// Begins on a link on which a server has said hello already; `decoder` has what came behind.
    pub(super) fn new(link: Box<dyn Link>, decoder: Decoder, socket: UnixStream) -> Self {
        Self {
            link,
            decoder,
            client: Client::default(),
            socket,
            messages: wire::Decoder::default(),
            voice: Voice::default(),
            buffer: vec![0; 64 << 10],
        }
    }

    /// Leads it until the session says goodbye, or leaves; an error says why it cannot go on.
    pub(super) fn lead(mut self, root: Vec<u8>, can: Abilities) -> Result<(), String> {
        let Some(hello) = self.hello()? else { return Ok(()) };
        let opening = opening::open(self.client.clone(), can, root, hello);
        let Some(opened) = self.finish(opening, None)? else { return Ok(()) };
        let Opened { site, hello, claimed } = match opened {
            Ok(opened) => opened,
            Err(opening::Fatal { what, remedy }) => {
                self.voice.say(&ToSource::Fatal { what, remedy });
                self.part();
                return Ok(());
            }
        };
        self.voice.say(&ToSource::Hello(hello));
        self.voice.say(&ToSource::Claimed(claimed));
        let mut work = Work::new(site, self.client.clone(), self.voice.clone());
        while !work.is_over() {
            let heard = self.exchange(work.takes_more())?;
            if heard.is_over {
                return Ok(());
            }
            for task in heard.tasks {
                work.go_on(task)?;
            }
            let mut anything = heard.anything;
            while work.takes_more()
                && let Some(message) = self.messages.take().map_err(|error| error.to_string())?
            {
                work.take(message)?;
                anything = true;
            }
            work.begin_what_may()?;
            if !anything {
                self.wait(work.takes_more())?;
            }
        }
        let client = self.client.clone();
        let stage = work.stage();
        let cleaning = async move { opening::empty(&client, &stage).await };
        self.finish(cleaning, Some(CLEANING_MAX)).map(drop)
    }

    /// The session's first message; `None` if it leaves.
    fn hello(&mut self) -> Result<Option<SourceHello>, String> {
        loop {
            if let Some(message) = self.messages.take().map_err(|error| error.to_string())? {
                return match message {
                    ToReceiver::Hello(hello) if hello.version == VERSION => Ok(Some(hello)),
                    _ => Err("the session did not begin with a hello".to_owned()),
                };
            }
            let heard = self.exchange(true)?;
            if heard.is_over {
                return Ok(None);
            }
            if !heard.anything {
                self.wait(true)?;
            }
        }
    }

    /// Does what no other work goes along with; `None` if that took longer than it may, or if the
    /// session leaves meanwhile.
    fn finish<T>(
        &mut self,
        work: impl Future<Output = T> + 'static,
        limit: Option<Duration>,
    ) -> Result<Option<T>, String> {
        let end = limit.map(|limit| clock::now().plus(limit));
        let mut tasks = Tasks::new(&self.client);
        let mut result = tasks.begin(OPENING, work);
        while result.is_none() {
            let listens = limit.is_none();
            let heard = self.exchange(listens)?;
            if heard.is_over || end.is_some_and(|end| clock::now() > end) {
                return Ok(None);
            }
            if heard.tasks.contains(&OPENING) {
                result = tasks.go_on(OPENING);
            } else if !heard.anything {
                self.wait(listens)?;
            }
        }
        Ok(result)
    }

    /// Writes and reads what can be, on both sides; the session is heard if it `listens`.
    fn exchange(&mut self, listens: bool) -> Result<Heard, String> {
        let lost = |error: LinkError| error.to_string();
        let mut heard = Heard::default();
        let link = &mut self.link;
        self.client.write(|bytes| link.write(bytes)).map_err(lost)?;
        let socket = &mut self.socket;
        let told = self.voice.write(|bytes| match socket.write(bytes) {
            Err(error) if is_passing(&error) => Ok(0),
            written => written,
        });
        if told.is_err() {
            heard.is_over = true;
            return Ok(heard);
        }
        while self.voice.waiting() < TOLD_BYTES_MAX {
            match self.link.read(&mut self.buffer).map_err(lost)? {
                Received::Nothing => break,
                Received::Bytes(count) => {
                    heard.anything = true;
                    self.decoder.extend(&self.buffer[..count]);
                    while let Some((id, reply)) = self.decoder.take().map_err(|error| error.to_string())? {
                        heard.tasks.extend(self.client.answered(id, reply)?);
                    }
                    // What was answered is worth going on with.
                    if !heard.tasks.is_empty() {
                        break;
                    }
                }
                Received::Ended => {
                    let complaints = self.link.complaints();
                    return Err(format!("the SFTP server has ended: {complaints}"));
                }
            }
        }
        if listens {
            match self.socket.read(&mut self.buffer) {
                Ok(0) => heard.is_over = true,
                Ok(count) => {
                    heard.anything = true;
                    self.messages.extend(&self.buffer[..count]);
                }
                Err(error) if is_passing(&error) => {}
                Err(_) => heard.is_over = true,
            }
        } else {
            heard.is_over = self.is_left();
        }
        Ok(heard)
    }

    /// Whether the session has closed its end, with nobody listening to it.
    fn is_left(&self) -> bool {
        let mut end = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        poll(&mut end, PollTimeout::ZERO).is_ok()
            && end[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
    }

    fn wait(&mut self, listens: bool) -> Result<(), String> {
        let nap = if self.voice.waiting() > 0 { SHORT_NAP } else { NAP };
        let bells = if listens { vec![self.socket.as_fd()] } else { Vec::new() };
        let writing = self.client.staged() > 0;
        self.link.wait(writing, &bells, Some(nap)).map_err(|error| error.to_string())
    }

    /// Has the session hear what was said last.
    fn part(&mut self) {
        let socket = &mut self.socket;
        let prepared =
            socket.set_nonblocking(false).and_then(|()| socket.set_write_timeout(Some(PARTING_MAX)));
        if prepared.is_ok() {
            // It may have gone.
            let _gone = self.voice.write(|bytes| socket.write_all(bytes).map(|()| bytes.len()));
        }
    }
}
