//! Passes questions about targets from those who verify to the replicas, and the answers back.
//!
//! Each target has a desk where orders are left; its replica takes them between two batches, as long
//! as its connection has room for questions. Only one verification of a run is at work at a time.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use crate::bell::Bell;
use crate::ledger::Known;
use crate::model::{Content, Owner, TreePath, Version, Xattr};
use crate::tree::Tree;
use crate::wire::{Answer, QUESTIONS_MAX, Question};

/// What is to be found out about a target, or done to what is believed of it.
#[derive(Debug)]
pub(super) enum Order {
    Ask {
        question: Question,
        /// Whom the answer is to tell of by the source's numbers.
        owners: Vec<(Owner, Vec<Xattr>)>,
        reply: Sender<Reply>,
    },
    /// Have these sent again.
    Mend { paths: Vec<Mend>, reply: Sender<Reply> },
    /// Tell what is known of a path, which needs no connection.
    Tell { path: TreePath, reply: Sender<Reply> },
    /// Tell which removals are held, and do what was decided about them. It needs no connection either.
    Decide { decision: Decision, reply: Sender<Reply> },
}

/// What a person says to removals that are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing yet.
    Pending,
    /// They are to be made.
    Approved,
    /// What the target has there stays, and is not ours any more.
    Rejected,
}

/// Removals that are held at one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRemovals {
    pub count: usize,
    /// How many paths the target is known to hold.
    pub of: usize,
    /// For how long any are held.
    pub since: Duration,
    /// The paths, with how many there are at each and below it.
    pub named: Vec<(TreePath, usize)>,
    /// How many paths are not named, nor what is below them.
    pub more: usize,
}

/// What a replica knows of a path of its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knowledge {
    /// What the ledger has: nothing, if the path is not there or not ours.
    pub ledger: Option<Known>,
    /// Steps about it are on their way.
    pub on_its_way: bool,
    /// It failed, changed while it was read, or was removed with many others, and is looked at again in
    /// this time.
    pub put_off: Option<Duration>,
    /// How often in a row it failed.
    pub failures: u32,
    /// It is gone at the source, and its removal waits for a person.
    pub is_held: bool,
}

/// A path that is at the source, and that the target holds otherwise.
#[derive(Debug, Clone)]
pub(super) struct Mend {
    pub(super) path: TreePath,
    /// What the target has instead, if its content is that of the source.
    pub(super) holds: Option<(Version, Option<Content>)>,
}

/// What came of an order.
#[derive(Debug)]
pub(super) enum Reply {
    Answered(Answer),
    /// The paths are put off, to be looked at now.
    Mending,
    Told(Knowledge),
    Decided(HeldRemovals),
    /// There is no connection, or it was lost before the answer.
    Lost,
}

/// The desks of a run. Clones share them.
#[derive(Debug, Clone)]
pub struct Inquiry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desks: Vec<Desk>,
    /// Set once the source is open.
    tree: OnceLock<Arc<Tree>>,
    busy: Mutex<()>,
    next: AtomicU64,
}

/// Where orders for one target are left.
#[derive(Debug)]
pub(super) struct Desk {
    orders: (Sender<Order>, Receiver<Order>),
    bell: Bell,
}

impl Inquiry {
    pub(super) fn new(targets: usize) -> nix::Result<Self> {
        let desks = (0..targets).map(|_| Desk::new()).collect::<nix::Result<_>>()?;
        let (tree, busy, next) = (OnceLock::new(), Mutex::new(()), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { desks, tree, busy, next })))
    }

    pub(super) fn set_tree(&self, tree: &Arc<Tree>) {
        // A run opens one source.
        let _first = self.0.tree.set(Arc::clone(tree));
    }

    /// The source; `None` before it is open.
    pub fn tree(&self) -> Option<&Arc<Tree>> {
        self.0.tree.get()
    }

    pub(super) fn desk(&self, target: usize) -> &Desk {
        &self.0.desks[target]
    }

    /// Held by whoever verifies; `None` when somebody does already.
    pub(super) fn begin(&self) -> Option<MutexGuard<'_, ()>> {
        match self.0.busy.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// What the replica of a target knows of `path`; `None` when it does not tell within `limit`,
    /// since it is connecting, or has ended.
    pub fn knowledge(&self, target: usize, path: &TreePath, limit: Duration) -> Option<Knowledge> {
        let (reply, told) = bounded(1);
        self.0.desks.get(target)?.leave(Order::Tell { path: path.clone(), reply }, limit).ok()?;
        match told.recv_timeout(limit) {
            Ok(Reply::Told(knowledge)) => Some(knowledge),
            _ => None,
        }
    }

    /// Has the replica of a target do what was decided about held removals, and tells which they were;
    /// `None` as for [`knowledge`](Self::knowledge).
    pub fn decide(&self, target: usize, decision: Decision, limit: Duration) -> Option<HeldRemovals> {
        let (reply, decided) = bounded(1);
        self.0.desks.get(target)?.leave(Order::Decide { decision, reply }, limit).ok()?;
        match decided.recv_timeout(limit) {
            Ok(Reply::Decided(held)) => Some(held),
            _ => None,
        }
    }

    /// A number for a question, which no other has in this run.
    pub(super) fn number(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Desk {
    fn new() -> nix::Result<Self> {
        let bell = Bell::new()?;
        Ok(Self { orders: bounded(QUESTIONS_MAX), bell })
    }

    /// Leaves an order; gives it back when the desk is full for longer than `limit`.
    pub(super) fn leave(&self, order: Order, limit: Duration) -> Result<(), Order> {
        match self.orders.0.send_timeout(order, limit) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(error) => Err(error.into_inner()),
        }
    }

    /// Silences the bell; to be called before orders are taken.
    pub(super) fn hush(&self) {
        self.bell.hush();
    }

    pub(super) fn take(&self) -> Option<Order> {
        self.orders.1.try_recv().ok()
    }
}

impl Order {
    pub(super) fn reply(&self) -> &Sender<Reply> {
        match self {
            Self::Ask { reply, .. }
            | Self::Mend { reply, .. }
            | Self::Tell { reply, .. }
            | Self::Decide { reply, .. } => reply,
        }
    }
}

/// Gives a reply to whoever waits for it.
pub(super) fn give(to: &Sender<Reply>, reply: Reply) {
    match to.try_send(reply) {
        // Nobody waits any more; or does not take what it has, and has room for all that it asked.
        Ok(()) | Err(TrySendError::Disconnected(_) | TrySendError::Full(_)) => {}
    }
}

/// Readable when there is an order.
impl AsFd for Desk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
