//! Keeps the steps that are on their way: which are done now, which wait, and what is answered.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use super::client::{Client, Tasks};
use super::content::Pieces;
use super::failure::{Done, Failure, outcome};
use super::listing::list;
use super::order::{Order, Receipts};
use super::packet::Request;
use super::site::Site;
use super::steps;
use super::voice::Voice;
use crate::clock;
use crate::model::{Receipt, Sequence, Sight, Stamp};
use crate::wire::{Answer, Body, Examined, Piece, Question, Step, ToReceiver, ToSource};

/// Steps that are not done. With 45 ms to the target some 2,000 small files a second are.
const STEPS_MAX: usize = 512;

/// Steps of which each has a file open at the server at most: OpenSSH allows 1,000 and more.
const RUNNING_MAX: usize = 256;

/// Requests that wait for an answer, and bytes that wait for the link: beyond, the session waits.
const ASKED_MAX: usize = 8_192;
const STAGED_BYTES_MAX: usize = 1 << 20;

/// Content that is here and not with the server yet.
const CONTENT_BYTES_MAX: usize = 8 << 20;

/// How often the session hears that the server answers, where nothing else is to be told: what it asks for
/// waits behind content on a slow line.
const SIGN_EVERY: Duration = Duration::from_secs(10);

/// What the session's receipts have room for in one message.
const RECEIPTS_MAX: usize = 256;

/// What tasks are called that are no steps: from here on.
const OTHERS: u64 = 1 << 63;

/// What a task was about.
enum Ended {
    Step {
        sequence: Sequence,
        since: Stamp,
        result: Result<Done, Failure>,
    },
    /// The server has shown that it lives, and that the stage is there.
    Alive {
        token: u64,
        is_there: bool,
    },
    Listed,
}

/// A step that waits.
struct Waiting {
    step: Step,
    since: Stamp,
    bytes: usize,
}

pub(super) struct Work {
    site: Rc<Site>,
    client: Client,
    voice: Voice,
    tasks: Tasks<Ended>,
    order: Order,
    receipts: Receipts,
    waiting: BTreeMap<u64, Waiting>,
    ready: VecDeque<u64>,
    /// Of files whose content is still coming.
    pieces: BTreeMap<Sequence, Pieces>,
    /// Content of steps that wait, in bytes.
    waiting_bytes: usize,
    /// The number that the next step has.
    next: u64,
    others: u64,
    /// When the session was last told that the server lives.
    told: Stamp,
    /// What has to wait until all steps are done.
    deferred: Option<ToReceiver>,
    is_over: bool,
}

impl Work {
    pub(super) fn new(site: Site, client: Client, voice: Voice) -> Self {
        let tasks = Tasks::new(&client);
        Self {
            site: Rc::new(site),
            client,
            voice,
            tasks,
            order: Order::default(),
            receipts: Receipts::default(),
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            pieces: BTreeMap::new(),
            waiting_bytes: 0,
            next: 1,
            others: OTHERS,
            told: clock::now(),
            deferred: None,
            is_over: false,
        }
    }

    /// Whether the session has said goodbye, and all is answered.
    pub(super) fn is_over(&self) -> bool {
        self.is_over && self.voice.waiting() == 0
    }

    pub(super) fn stage(&self) -> Vec<u8> {
        self.site.stage.clone()
    }

    /// Whether there is room for another message (I6).
    pub(super) fn takes_more(&self) -> bool {
        let coming: usize = self.pieces.values().map(Pieces::bytes).sum();
        self.deferred.is_none()
            && !self.is_over
            && self.order.len() < STEPS_MAX
            && self.client.asked() < ASKED_MAX
            && self.client.staged() < STAGED_BYTES_MAX
            && coming + self.waiting_bytes < CONTENT_BYTES_MAX
    }

    pub(super) fn take(&mut self, message: ToReceiver) -> Result<(), String> {
        match message {
            ToReceiver::Step { sequence, step } => self.step(sequence, step)?,
            ToReceiver::Piece { place: _, sequence, piece } => self.piece(sequence, piece)?,
            ToReceiver::Ping { token } => self.ping(token)?,
            ToReceiver::Examine(question) => self.voice.say(&ToSource::Examined(unexamined(&question))),
            message @ (ToReceiver::List | ToReceiver::Goodbye) => self.deferred = Some(message),
            // Owners go by their numbers, and two-way replication takes a receiver.
            ToReceiver::Named { .. } | ToReceiver::Holds { .. } | ToReceiver::HoldsToo { .. } => {}
            ToReceiver::Hello(_) | ToReceiver::Lane(_) | ToReceiver::Publish => {
                return Err("the session asked for what SFTP cannot do".to_owned());
            }
        }
        Ok(())
    }

    fn step(&mut self, sequence: Sequence, step: Step) -> Result<(), String> {
        if sequence.0 != self.next {
            return Err(format!("step {} came where {} was due", sequence.0, self.next));
        }
        self.next += 1;
        let is_large = matches!(&step, Step::PutFile { body: Body::Streamed | Body::Built { .. }, .. });
        let bytes = match &step {
            Step::PutFile { body: Body::Inline { bytes, .. }, .. } => bytes.len(),
            _ => 0,
        };
        // A path that is none is refused when its turn comes.
        let paths = steps::paths(&step).unwrap_or_default();
        self.receipts.expect(sequence, is_large);
        if is_large {
            self.pieces.insert(sequence, Pieces::default());
        }
        self.waiting_bytes += bytes;
        self.waiting.insert(sequence.0, Waiting { step, since: clock::now(), bytes });
        if self.order.add(sequence.0, paths) {
            self.ready.push_back(sequence.0);
        }
        Ok(())
    }

    fn piece(&mut self, sequence: Sequence, piece: Piece) -> Result<(), String> {
        let is_last = matches!(piece, Piece::End(_) | Piece::Abort);
        let Some(pieces) = self.pieces.get(&sequence) else {
            return Err(format!("content came for step {}, which has none", sequence.0));
        };
        pieces.add(piece);
        // A step that is not begun takes its pieces with it.
        if is_last && !self.waiting.contains_key(&sequence.0) {
            self.pieces.remove(&sequence);
        }
        self.proceed(sequence.0)
    }

    fn ping(&mut self, token: u64) -> Result<(), String> {
        let site = Rc::clone(&self.site);
        self.other(async move {
            let look = site.client.send(&Request::LookAt(&site.stage)).attributes().await;
            Ended::Alive { token, is_there: look.is_ok() }
        })
    }

    fn other(&mut self, task: impl Future<Output = Ended> + 'static) -> Result<(), String> {
        self.others += 1;
        match self.tasks.begin(self.others, task) {
            Some(ended) => self.ended(ended),
            None => Ok(()),
        }
    }

    /// Begins the steps that wait for nothing, as many as may run.
    pub(super) fn begin_what_may(&mut self) -> Result<(), String> {
        while self.tasks.len() < RUNNING_MAX
            && let Some(number) = self.ready.pop_front()
        {
            let Some(Waiting { step, since, bytes }) = self.waiting.remove(&number) else { continue };
            self.waiting_bytes -= bytes;
            let (site, sequence) = (Rc::clone(&self.site), Sequence(number));
            let pieces = self.pieces.get(&sequence).cloned().unwrap_or_default();
            if pieces.is_complete() {
                self.pieces.remove(&sequence);
            }
            let task = async move {
                let result = site.apply(step, pieces).await;
                Ended::Step { sequence, since, result }
            };
            if let Some(ended) = self.tasks.begin(number, task) {
                self.ended(ended)?;
            }
        }
        if self.order.len() == 0 && self.tasks.len() == 0 {
            match self.deferred.take() {
                Some(ToReceiver::List) => {
                    let (site, voice) = (Rc::clone(&self.site), self.voice.clone());
                    self.other(async move {
                        list(site, voice).await;
                        Ended::Listed
                    })?;
                }
                Some(_) => self.is_over = true,
                None => {}
            }
        }
        Ok(())
    }

    /// Goes on with a task for which the server has answered.
    pub(super) fn go_on(&mut self, task: u64) -> Result<(), String> {
        let now = clock::now();
        if now.since(self.told) >= SIGN_EVERY {
            self.told = now;
            self.voice.say(&ToSource::Pong { token: 0 });
        }
        self.proceed(task)
    }

    fn proceed(&mut self, task: u64) -> Result<(), String> {
        match self.tasks.go_on(task) {
            Some(ended) => self.ended(ended),
            None => Ok(()),
        }
    }

    fn ended(&mut self, ended: Ended) -> Result<(), String> {
        match ended {
            Ended::Listed => {}
            Ended::Alive { token, is_there: true } => self.voice.say(&ToSource::Pong { token }),
            Ended::Alive { is_there: false, .. } => {
                return Err("the target's root is not what it was".to_owned());
            }
            Ended::Step { sequence, since, result } => {
                let outcome = outcome(result)?;
                self.ready.extend(self.order.done(sequence.0));
                let took = clock::now().since(since);
                let receipts = self.receipts.add(Receipt { sequence, outcome, took });
                for some in receipts.chunks(RECEIPTS_MAX) {
                    self.voice.say(&ToSource::Receipts(some.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// SFTP hashes nothing, so nothing is known of what is asked for.
fn unexamined(question: &Question) -> Answer {
    let cause = "by SFTP no content can be hashed at the target".to_owned();
    let entries = question
        .names
        .iter()
        .map(|name| Examined { name: name.clone(), sight: Sight::Unreadable { cause: cause.clone() } })
        .collect();
    Answer { number: question.number, entries, rest_after: None }
}
