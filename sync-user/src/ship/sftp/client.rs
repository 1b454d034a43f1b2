//! Has many requests on their way at once, and gives each answer to who waits for it.
//!
//! Whoever needs several answers one after the other is a future ([`Answer`] is one, too), and a
//! [`Tasks`] holds many of them. An answer wakes the one that asked: there are no threads, and all
//! belongs to the connection's own one.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::attributes::Attributes;
use super::packet::{self, Name, Reply, Request, Status};

/// Asks; clones ask over the same connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Client {
    core: Rc<RefCell<Core>>,
}

#[derive(Debug, Default)]
struct Core {
    /// What the link has not taken yet.
    out: Vec<u8>,
    taken: usize,
    last: u32,
    slots: HashMap<u32, Slot>,
    /// The task that asks just now.
    task: u64,
}

#[derive(Debug)]
enum Slot {
    Awaited {
        task: u64,
    },
    /// Nobody waits any more.
    Ignored,
    Here(Reply),
}

impl Client {
    /// Asks at once, whether or not anybody waits for the answer yet.
    pub(super) fn send(&self, request: &Request<'_>) -> Answer {
        let mut core = self.core.borrow_mut();
        let id = core.number();
        if core.taken > 0 {
            let taken = std::mem::take(&mut core.taken);
            core.out.drain(..taken);
        }
        packet::encode(id, request, &mut core.out);
        let task = core.task;
        core.slots.insert(id, Slot::Awaited { task });
        Answer { core: Rc::clone(&self.core), id }
    }

    /// Asks for what may fail.
    pub(super) fn forget(&self, request: &Request<'_>) {
        drop(self.send(request));
    }

    pub(super) async fn do_it(&self, request: &Request<'_>) -> Result<(), Status> {
        self.send(request).done().await
    }

    /// Bytes that the link has not taken yet.
    pub(super) fn staged(&self) -> usize {
        let core = self.core.borrow();
        core.out.len() - core.taken
    }

    /// Requests without an answer.
    pub(super) fn asked(&self) -> usize {
        self.core.borrow().slots.len()
    }

    /// Offers what is staged to `write`, which says how much it took.
    pub(super) fn write<E>(&self, mut write: impl FnMut(&[u8]) -> Result<usize, E>) -> Result<(), E> {
        let mut core = self.core.borrow_mut();
        while core.taken < core.out.len() {
            let count = write(&core.out[core.taken..])?;
            if count == 0 {
                break;
            }
            core.taken += count;
        }
        Ok(())
    }

    /// An answer has come: gives the task that waits for it, if any does; fails if nobody has asked.
    pub(super) fn answered(&self, id: u32, reply: Reply) -> Result<Option<u64>, String> {
        let mut core = self.core.borrow_mut();
        match core.slots.get_mut(&id) {
            Some(slot) => match *slot {
                Slot::Awaited { task } => {
                    *slot = Slot::Here(reply);
                    Ok(Some(task))
                }
                Slot::Ignored => {
                    core.slots.remove(&id);
                    Ok(None)
                }
                Slot::Here(_) => Err(format!("it answers request {id} twice")),
            },
            None => Err(format!("it answers request {id}, which was not made")),
        }
    }
}

impl Core {
    fn number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.slots.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

/// What is to come; dropping it ignores that.
#[derive(Debug)]
pub(super) struct Answer {
    core: Rc<RefCell<Core>>,
    id: u32,
}

impl Future for Answer {
    type Output = Reply;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Reply> {
        let mut core = self.core.borrow_mut();
        let task = core.task;
        if let Some(Slot::Here(reply)) = core.slots.remove(&self.id) {
            return Poll::Ready(reply);
        }
        // It may have been asked for by another task than the one that waits.
        core.slots.insert(self.id, Slot::Awaited { task });
        Poll::Pending
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut core = self.core.borrow_mut();
        match core.slots.get_mut(&self.id) {
            Some(slot @ Slot::Awaited { .. }) => *slot = Slot::Ignored,
            Some(Slot::Here(_)) => drop(core.slots.remove(&self.id)),
            Some(Slot::Ignored) | None => {}
        }
    }
}

impl Answer {
    pub(super) async fn done(self) -> Result<(), Status> {
        match self.await {
            Reply::Status(Status { code: Status::OK, .. }) => Ok(()),
            other => Err(failure(other)),
        }
    }

    pub(super) async fn handle(self) -> Result<Vec<u8>, Status> {
        match self.await {
            Reply::Handle(handle) => Ok(handle),
            other => Err(failure(other)),
        }
    }

    pub(super) async fn attributes(self) -> Result<Attributes, Status> {
        match self.await {
            Reply::Attributes(attributes) => Ok(attributes),
            other => Err(failure(other)),
        }
    }

    /// Names, of which there are none behind the last.
    pub(super) async fn names(self) -> Result<Vec<Name>, Status> {
        match self.await {
            Reply::Names(names) => Ok(names),
            Reply::Status(Status { code: Status::END, .. }) => Ok(Vec::new()),
            other => Err(failure(other)),
        }
    }

    /// Content, of which there is none behind the end.
    pub(super) async fn data(self) -> Result<Vec<u8>, Status> {
        match self.await {
            Reply::Data(bytes) => Ok(bytes),
            Reply::Status(Status { code: Status::END, .. }) => Ok(Vec::new()),
            other => Err(failure(other)),
        }
    }

    pub(super) async fn other(self) -> Result<Vec<u8>, Status> {
        match self.await {
            Reply::Other(bytes) => Ok(bytes),
            other => Err(failure(other)),
        }
    }
}

fn failure(reply: Reply) -> Status {
    match reply {
        Reply::Status(status) if status.code != Status::OK => status,
        _ => Status { code: Status::FAILURE, message: "the server's answer is of another kind".to_owned() },
    }
}

/// Futures that go on when what they wait for has come.
pub(super) struct Tasks<T> {
    client: Client,
    tasks: BTreeMap<u64, Pin<Box<dyn Future<Output = T>>>>,
}

impl<T> Tasks<T> {
    pub(super) fn new(client: &Client) -> Self {
        Self { client: client.clone(), tasks: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Begins a task, and gives what comes of it if it ends at once. No two have the same number.
    pub(super) fn begin(&mut self, number: u64, task: impl Future<Output = T> + 'static) -> Option<T> {
        self.tasks.insert(number, Box::pin(task));
        self.go_on(number)
    }

    /// Goes on with a task, if it is there, and gives what comes of it if it ends.
    pub(super) fn go_on(&mut self, number: u64) -> Option<T> {
        let task = self.tasks.get_mut(&number)?;
        self.client.core.borrow_mut().task = number;
        match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => {
                self.tasks.remove(&number);
                Some(result)
            }
            Poll::Pending => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok() -> Reply {
        Reply::Status(Status { code: Status::OK, message: String::new() })
    }

    #[test]
    fn answers_find_who_asked_in_whatever_order_they_come() {
        let client = Client::default();
        let mut tasks = Tasks::new(&client);
        for number in 1..=3_u64 {
            let own = client.clone();
            let task = async move {
                let (one, other) = (own.send(&Request::Remove(b"a")), own.send(&Request::Remove(b"b")));
                let results = (one.done().await, other.done().await);
                (number, results)
            };
            assert_eq!(tasks.begin(number, task), None);
        }
        assert_eq!(client.asked(), 6);
        let mut ended = Vec::new();
        for id in [6, 4, 2, 1, 5, 3] {
            let task = client.answered(id, ok()).unwrap().unwrap();
            ended.extend(tasks.go_on(task));
        }
        assert_eq!(ended.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 3, 2]);
        assert!(ended.iter().all(|(_, results)| *results == (Ok(()), Ok(()))));
        assert_eq!((client.asked(), tasks.len()), (0, 0));
    }

    #[test]
    fn what_nobody_waits_for_is_dropped_and_what_nobody_asked_is_an_error() {
        let client = Client::default();
        client.forget(&Request::Remove(b"a"));
        assert_eq!(client.answered(1, ok()), Ok(None));
        assert!(client.answered(1, ok()).is_err());
        let mut written = Vec::new();
        client
            .write(|bytes| {
                let count = bytes.len().min(5);
                written.extend_from_slice(&bytes[..count]);
                Ok::<_, ()>(count)
            })
            .unwrap();
        assert_eq!((client.staged(), written.len()), (0, 4 + 1 + 4 + 4 + 1));
    }
}
