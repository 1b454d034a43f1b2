//! Runs one sync of the daemon: a source, its targets, and what others may see of it.

use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::{info, warn};

use super::log;
use crate::batch;
use crate::control::{self, Place, Reload, Watched};
use crate::daemon::{self, Ended, Error, Extraneous, Gauges, Started};
use crate::exit::Exit;
use crate::metrics::LatencyLog;
use crate::model::Preserve;
use crate::settings::{PublishFlag, Sync, SyncSettings, TransportFlag};
use crate::ship::{Access, Terms};
use crate::shutdown::Stop;
use crate::state::{Claim, State};
use crate::tree::{OpenError, Tree};

/// Paths that may wait for one target, ready or open: some 50 MB of names.
const BACKLOG_MAX: usize = 200_000;

/// How long the network, and each answer of a server, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a sync cannot run, or has ended.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) what: String,
    pub(super) remedy: Option<String>,
}

impl Failure {
    pub(super) fn new(what: String, remedy: Option<&str>) -> Self {
        Self { exit: Exit::Failure, what, remedy: remedy.map(str::to_owned) }
    }
}

/// Whether settings that are each in order exclude each other.
pub(super) fn contradiction(settings: &SyncSettings) -> Result<(), Failure> {
    if settings.two_way && settings.delete_extraneous {
        let what =
            "--two-way and --delete-extraneous exclude each other: what only the target has comes here"
                .to_owned();
        let remedy = Some("leave one of them out".to_owned());
        return Err(Failure { exit: Exit::Usage, what, remedy });
    }
    if !settings.publish_last.is_empty() && settings.publish != PublishFlag::Batch {
        let what = "--publish-last is about batches that become visible as a whole".to_owned();
        let remedy = Some("add --publish batch, or leave it out".to_owned());
        return Err(Failure { exit: Exit::Usage, what, remedy });
    }
    let wishes = [
        (settings.two_way, "--two-way"),
        (settings.publish == PublishFlag::Batch, "--publish batch"),
        (settings.trash.is_some(), "--trash"),
    ];
    if settings.transport == TransportFlag::Sftp
        && let Some((_, wish)) = wishes.into_iter().find(|(is_given, _)| *is_given)
    {
        let what =
            format!("--transport sftp and {wish} exclude each other: that needs a receiver at the target");
        let remedy = Some(format!("leave out {wish}, or let the receiver run there: --transport agent"));
        return Err(Failure { exit: Exit::Usage, what, remedy });
    }
    Ok(())
}

/// A sync that has all that it needs to begin.
#[derive(Debug)]
pub(super) struct Prepared {
    sync: Sync,
    watched: Arc<Watched>,
    claims: Vec<Claim>,
    log: Option<LatencyLog>,
    /// Asked to end.
    stop: Stop,
    /// Not to be seen any more.
    hidden: Stop,
}

/// A sync that has begun.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) sync: Sync,
    pub(super) watched: Arc<Watched>,
    stop: Stop,
    hidden: Stop,
    work: Option<JoinHandle<Result<Ended, Error>>>,
    /// Set when all is done that takes time.
    finished: Arc<AtomicBool>,
    control: Option<JoinHandle<()>>,
}

/// What all syncs share.
#[derive(Clone)]
pub(super) struct Common {
    pub(super) receiver: Arc<[u8]>,
    /// Where the control sockets are.
    pub(super) place: Place,
    pub(super) reload: Reload,
    /// Told when a sync has started, or ended.
    pub(super) changed: Arc<dyn Fn() + Send + std::marker::Sync>,
}

impl Prepared {
    pub(super) fn new(sync: Sync, state: &State) -> Result<Self, Failure> {
        let descriptor = |error| Failure::new(format!("make an event descriptor: {error}"), None);
        let settings = &sync.settings;
        contradiction(settings)?;
        let gauges = Gauges::new(&settings.targets).map_err(descriptor)?;
        let (stop, hidden) = (Stop::new().map_err(descriptor)?, Stop::new().map_err(descriptor)?);
        // A source that is not there is told by the run itself.
        let source = settings.source.canonicalize().unwrap_or_else(|_| settings.source.clone());
        let claims = settings.targets.iter().map(|target| state.claim(&source, &target.to_string()));
        let claims: Result<Vec<Claim>, _> = claims.collect();
        let claims = claims.map_err(|error| Failure::new(error.to_string(), Some(&error.remedy)))?;
        let watched = Arc::new(Watched {
            name: settings.name.clone().unwrap_or_else(|| source.display().to_string()),
            source: source.display().to_string(),
            targets: settings.targets.iter().map(ToString::to_string).collect(),
            batch_delay: settings.batch_delay,
            batch_max_delay: settings.batch_max_delay,
            batch_max_changes: settings.batch_max_changes,
            excludes: sync.excludes.clone(),
            // Whoever asks may be in another directory.
            latency_log: settings.latency_log.as_deref().and_then(|log| std::path::absolute(log).ok()),
            gauges,
            started: OnceLock::new(),
            ended: OnceLock::new(),
        });
        let log = match &settings.latency_log {
            Some(path) => Some(log::open(path, &watched).map_err(|error| {
                let what = format!("open the latency log {}: {error}", path.display());
                Failure::new(what, Some("give a file that this user may write: --latency-log"))
            })?),
            None => None,
        };
        Ok(Self { sync, watched, claims, log, stop, hidden })
    }

    /// Begins; `number` tells it from all others that this process ever had.
    pub(super) fn start(self, number: usize, common: &Common) -> io::Result<Running> {
        let Self { sync, watched, claims, log, stop, hidden } = self;
        // Replication does not depend on it, so it may fail.
        let serving = common.place.bind(number).and_then(|socket| {
            control::serve(socket, Arc::clone(&watched), Arc::clone(&common.reload), hidden.clone())
        });
        let failed = |error: &io::Error| {
            let directory = common.place.path().display();
            warn!("make a control socket in {directory}: {error}; nobody can ask this run how it is");
        };
        let control = serving.inspect_err(failed).ok();
        let finished = Arc::new(AtomicBool::new(false));
        let work = {
            let (watched, stop, common) = (Arc::clone(&watched), stop.clone(), common.clone());
            let over = Over { finished: Arc::clone(&finished), changed: Arc::clone(&common.changed) };
            let config = config(&sync, &claims, &common);
            let about = sync.settings.clone();
            let work = move || {
                let _over = over;
                let result = replicate(config, &about, &watched, &stop, log, &common);
                drop(claims);
                result
            };
            thread::Builder::new().name("sync".to_owned()).spawn(work)?
        };
        Ok(Running { sync, watched, stop, hidden, work: Some(work), finished, control })
    }
}

/// Tells that a sync has ended when it is dropped: in order, or by a panic.
struct Over {
    finished: Arc<AtomicBool>,
    changed: Arc<dyn Fn() + Send + std::marker::Sync>,
}

impl Drop for Over {
    fn drop(&mut self) {
        self.finished.store(true, Ordering::Release);
        (self.changed)();
    }
}

fn config(sync: &Sync, claims: &[Claim], common: &Common) -> daemon::Config {
    let settings = &sync.settings;
    // By SFTP nothing could be done with them.
    let has_xattrs = settings.transport != TransportFlag::Sftp;
    let Preserve { xattrs, acls, .. } = settings.preserve;
    daemon::Config {
        source: settings.source.clone(),
        excludes: sync.excludes.clone(),
        preserve: Preserve { xattrs: xattrs && has_xattrs, acls: acls && has_xattrs, ..settings.preserve },
        publish_last: Arc::new(sync.publish_last.clone()),
        two_way: settings.two_way,
        terms: Terms {
            numeric_ids: settings.numeric_ids,
            durability: settings.durability.into(),
            shared_target: settings.shared_target,
            two_way: None,
            publishes: settings.publish == PublishFlag::Batch,
            trash: settings.trash,
            compression: settings.compress.into(),
            rate: settings.bwlimit.0,
            lanes: settings.lanes,
            builds: true,
        },
        extraneous: Extraneous { remove: settings.delete_extraneous, percent_max: settings.max_delete },
        targets: settings.targets.iter().cloned().zip(claims.iter().map(Claim::ledger)).collect(),
        access: Access {
            identity: settings.identity.clone(),
            known_hosts: settings.known_hosts.clone(),
            port: settings.port,
            ssh_config: settings.ssh_config.clone(),
            patience: PATIENCE,
        },
        transport: settings.transport.into(),
        receiver: Arc::clone(&common.receiver),
        backend: settings.capture.into(),
        ring_bytes: settings.ring_size.0,
        batch: batch::Config {
            delay: settings.batch_delay,
            max_delay: settings.batch_max_delay,
            max_changes: settings.batch_max_changes,
            max_bytes: settings.batch_max_bytes.0,
            open_file_interval: settings.open_file_interval,
            backlog_max: BACKLOG_MAX,
        },
    }
}

fn replicate(
    config: daemon::Config,
    settings: &SyncSettings,
    watched: &Arc<Watched>,
    stop: &Stop,
    log: Option<LatencyLog>,
    common: &Common,
) -> Result<Ended, Error> {
    // Asked for only when everything is over: what is measured at the end is logged, too.
    let over = Stop::new()?;
    let keeping = log.map(|log| log::keep(log, Arc::clone(watched), over.clone())).transpose()?;
    let greet = |now: &Started| {
        let targets = settings.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        info!(source = %settings.source.display(), targets, capture = now.backend, "{}", now.reason);
        // Set once: a run starts once.
        let _first = watched.started.set(now.clone());
        (common.changed)();
    };
    let result = daemon::run(config, &watched.gauges, stop, greet);
    print_table(watched);
    over.request();
    // Its panic was told, and changes nothing any more.
    let _panicked = keeping.map(JoinHandle::join);
    result
}

/// Prints to standard output; the log has standard error.
pub(super) fn print_table(watched: &Watched) {
    if let Some(table) = watched.table() {
        // Nobody reads it when standard output is closed.
        let _closed = write!(io::stdout().lock(), "\n{table}");
    }
}

impl Running {
    pub(super) fn stop(&self) {
        self.stop.request();
    }

    /// Whether it was asked to end, or has ended.
    pub(super) fn is_over(&self) -> bool {
        self.stop.requested() || self.is_finished()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Waits until it has ended, and says how; once, and `None` later.
    pub(super) fn join(&mut self) -> Option<Result<Exit, Failure>> {
        let work = self.work.take()?;
        let result = work.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Some(conclude(result))
    }

    /// Lets nobody ask it any more.
    pub(super) fn hide(self) {
        self.hidden.request();
        // As above.
        let _panicked = self.control.map(JoinHandle::join);
    }
}

/// Whether the source can be replicated, as far as that can be tried before.
pub(super) fn try_source(sync: &Sync) -> Result<(), OpenError> {
    Tree::open(&sync.settings.source, sync.excludes.clone(), sync.settings.preserve).map(drop)
}

fn conclude(result: Result<Ended, Error>) -> Result<Exit, Failure> {
    let failed =
        |exit, what: String, remedy: &str| Err(Failure { exit, what, remedy: Some(remedy.to_owned()) });
    match result {
        Ok(Ended { unsent: 0 }) => Ok(Exit::Success),
        Ok(Ended { unsent }) => {
            warn!(
                unsent,
                "ended with paths that are not replicated yet: the next start compares the trees and sends them"
            );
            Ok(Exit::Incomplete)
        }
        Err(Error::Source(error)) => failed(Exit::NoSource, error.to_string(), &error.remedy),
        Err(Error::Capture(error)) => failed(Exit::NoCapture, error.to_string(), &error.remedy),
        Err(Error::Target { target, cause }) => {
            failed(Exit::NoTarget, format!("{target}: {cause}"), &cause.remedy())
        }
        Err(error @ (Error::Thread(_) | Error::Descriptor(_) | Error::Arrivals(_))) => {
            Err(Failure::new(error.to_string(), None))
        }
    }
}
