//! Puts the source side together: builds each stage, connects them, and ends them in order.
//!
//! ```text
//!  capture thread ─► queue ─► batching thread ─► mailbox ─► one replica thread per target
//! ```
//!
//! There is no logic of a stage here. Capture is attached before anything is scanned, so what
//! changes during the first comparison is captured, and looked at after it.

mod arrivals;
mod batching;
mod inquiry;
mod mailbox;
mod markers;
mod observe;
mod replica;
mod verify;

pub use inquiry::{Decision, HeldRemovals, Inquiry, Knowledge};
pub use replica::Extraneous;
pub use verify::{
    Differs, Found, News, Outcome, Unverified, Verification, Verified, VerifiedTarget, VerifyError, verify,
};

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arrivals::Arrivals;

use crate::barrier::Barrier;
use crate::history::History;
use crate::metrics::{Busiest, Counters, Latency, Target};
use crate::model::{Preserve, Stamp, TreePath};
use crate::ship::{Access, ConnectError, TargetAddress, Terms, Transport};
use crate::shutdown::Stop;
use crate::tree::{Excludes, OpenError, Tree};
use crate::{batch, capture, clock, queue};

/// How many changes fit between capture and the batcher: about 40 MB when full of long paths,
/// and more than a burst delivers while the batcher is being scheduled.
pub const QUEUE_CAPACITY: usize = 1 << 18;

/// How long the end of a run waits for what is on its way.
const FLUSH_MAX: Duration = Duration::from_secs(10);

/// Everything that a run needs to know.
#[derive(Debug)]
pub struct Config {
    pub source: PathBuf,
    pub excludes: Excludes,
    /// Which attributes are replicated.
    pub preserve: Preserve,
    /// Whether the targets replicate to this source as well.
    pub two_way: bool,
    pub terms: Terms,
    /// What of a batch becomes visible last, where batches do so as a whole.
    pub publish_last: Arc<Excludes>,
    pub extraneous: Extraneous,
    /// Each with the file in which its ledger is kept.
    pub targets: Vec<(TargetAddress, PathBuf)>,
    pub access: Access,
    /// How to get to the targets.
    pub transport: Transport,
    /// The program to bring to targets that have not this build.
    pub receiver: Arc<[u8]>,
    pub backend: capture::Backend,
    /// The size of the eBPF ring.
    pub ring_bytes: u64,
    pub batch: batch::Config,
}

/// What a run shares with those who watch it.
#[derive(Debug, Clone)]
pub struct Gauges {
    pub latency: Arc<Latency>,
    pub counters: Arc<Counters>,
    /// Where most changes happen.
    pub busiest: Arc<Busiest>,
    /// In the order of [`Config::targets`].
    pub targets: Arc<[Target]>,
    /// For those who wait until all that was captured is acknowledged.
    pub barrier: Barrier,
    /// For those who compare both ends.
    pub inquiry: Inquiry,
    /// For those who ask why a path is as it is.
    pub history: History,
}

impl Gauges {
    /// Gauges of a run with these targets.
    pub fn new(targets: &[TargetAddress]) -> nix::Result<Self> {
        let now = clock::now();
        let (barrier, inquiry) = (Barrier::new(targets.len())?, Inquiry::new(targets.len())?);
        let history = History::new(targets.len());
        let targets = targets.iter().map(|target| Target::new(target.to_string(), now)).collect();
        let (latency, counters, busiest) = Default::default();
        Ok(Self { latency, counters, busiest, targets, barrier, inquiry, history })
    }
}

/// Why a run could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Source(#[from] OpenError),
    #[error(transparent)]
    Capture(#[from] capture::Error),
    #[error("{target}: {cause}")]
    Target { target: TargetAddress, cause: ConnectError },
    #[error("start a thread: {0}")]
    Thread(#[from] std::io::Error),
    #[error("open {}, to hear receivers: {_0}", crate::home::NAME)]
    Arrivals(#[source] std::io::Error),
    #[error("make an event descriptor: {0}")]
    Descriptor(#[from] nix::errno::Errno),
}

/// How a run ended that was asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Paths that had changed and were not acknowledged by every target: the next start
    /// compares, and sends them.
    pub unsent: usize,
}

/// What a run is doing, told once it is known: for the greeting and the table.
#[derive(Debug, Clone)]
pub struct Started {
    pub backend: &'static str,
    pub reason: String,
    pub stamps_in_kernel: bool,
    pub at: Stamp,
}

fn capture_config(
    tree: &Tree,
    (backend, ring_bytes): (capture::Backend, u64),
    left_out: Vec<TreePath>,
    gauges: &Gauges,
) -> capture::Config {
    capture::Config::new(tree.root().to_path_buf(), backend)
        .with_ring_bytes(ring_bytes)
        .without_below(left_out)
        .with_aliases(tree.aliases().clone())
        .with_barrier(gauges.barrier.clone())
}

/// Replicates until `stop` is requested, or until no target is left that can ever be reached.
pub fn run(
    config: Config,
    gauges: &Gauges,
    stop: &Stop,
    started: impl FnOnce(&Started),
) -> Result<Ended, Error> {
    let Config {
        source,
        excludes,
        preserve,
        two_way,
        mut terms,
        publish_last,
        extraneous,
        targets,
        access,
        transport,
        receiver,
        backend,
        ring_bytes,
        batch,
    } = config;
    let left_out = excludes.left_out_below().to_vec();
    // Each end sets the time of a directory by what it does in it, so that they would never agree.
    let preserve = Preserve { directory_times: preserve.directory_times && !two_way, ..preserve };
    let tree = Arc::new(Tree::open(&source, excludes, preserve)?);
    let arrivals = if two_way { Some(Arrivals::open(tree.as_ref()).map_err(Error::Arrivals)?) } else { None };
    terms.two_way = arrivals.as_ref().map(Arrivals::root);
    gauges.inquiry.set_tree(&tree);
    let capture_config = capture_config(&tree, (backend, ring_bytes), left_out, gauges);
    let (entrance, exit) = queue::bounded(QUEUE_CAPACITY);
    let abandon = Stop::new()?;
    let (leaving, noticed) = crossbeam::channel::bounded(1);
    let mut lanes = Vec::new();
    let mut replicas = Vec::new();
    let alone = targets.len() == 1;
    for (index, (target, ledger)) in targets.into_iter().enumerate() {
        let (mailbox, post) = mailbox::mailbox(leaving.clone())?;
        let replica = replica::Replica::new(replica::Setup {
            index,
            target: target.clone(),
            access: access.clone(),
            transport,
            alone,
            receiver: Arc::clone(&receiver),
            tree: Arc::clone(&tree),
            terms,
            publish_last: Arc::clone(&publish_last),
            extraneous,
            arrivals: arrivals.clone(),
            ledger,
            open_file_interval: batch.open_file_interval,
            gauges: gauges.clone(),
            post,
            stop: stop.clone(),
            abandon: abandon.clone(),
        });
        lanes.push(batching::Lane::new(batch.clone(), mailbox, index));
        replicas.push((target, replica));
    }
    drop(leaving);

    let (capture, reason) = open(&capture_config, &mut replicas)?;
    started(&Started {
        backend: capture.name(),
        reason,
        stamps_in_kernel: capture.stamps_in_kernel(),
        at: clock::now(),
    });
    let replicas = replicas.into_iter().map(launch).collect::<Result<Vec<_>, Error>>()?;

    let capturing = {
        let stop = stop.clone();
        thread::Builder::new().name("capture".to_owned()).spawn(move || {
            let result = capture.run(&mut |captured| entrance.push(captured), &stop);
            // Without capture nothing more will be seen: the run ends.
            stop.request();
            result
        })?
    };
    let batching = {
        let (gauges, tree, stop, abandon) =
            (gauges.clone(), Arc::clone(&tree), stop.clone(), abandon.clone());
        let work =
            move || batching::run(lanes, &exit, &noticed, &tree, &gauges, (&stop, &abandon), FLUSH_MAX);
        thread::Builder::new().name("batch".to_owned()).spawn(work)?
    };

    let mut unsent = joined(batching.join());
    abandon_after(&abandon, FLUSH_MAX, || replicas.iter().all(|(_, replica)| replica.is_finished()));
    let mut failure = None;
    for (target, replica) in replicas {
        match joined(replica.join()) {
            Ok(left) => unsent += left,
            Err(cause) => failure = Some(Error::Target { target, cause }),
        }
    }
    joined(capturing.join())?;
    failure.map_or(Ok(Ended { unsent }), Err)
}

/// Opens capture, and the ledgers meanwhile: both take a while, and neither needs the other.
fn open(
    config: &capture::Config,
    replicas: &mut [(TargetAddress, replica::Replica)],
) -> Result<(Box<dyn capture::Source>, String), capture::Error> {
    thread::scope(|scope| {
        for (_, replica) in replicas {
            scope.spawn(|| replica.open_ledger());
        }
        capture::open(config)
    })
}

/// Has a target replicated to by a thread of its own.
fn launch(
    (target, replica): (TargetAddress, replica::Replica),
) -> Result<(TargetAddress, thread::JoinHandle<Result<usize, ConnectError>>), Error> {
    let name = format!("replica {}", target.host());
    let thread = thread::Builder::new().name(name).spawn(move || replica.run())?;
    Ok((target, thread))
}

/// Requests `abandon` when `finished` is not true in time.
fn abandon_after(abandon: &Stop, limit: Duration, finished: impl Fn() -> bool) {
    let end = clock::now().plus(limit);
    while !finished() && clock::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    abandon.request();
}

/// The value of a thread that ended; its panic is this thread's panic.
fn joined<T>(result: thread::Result<T>) -> T {
    result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
