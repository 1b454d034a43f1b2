//! Runs the source side: from flags to a running daemon, and to an exit status.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::{info, warn};

use super::flags::Run;
use super::{fail, log, signals};
use crate::control::{self, Place, Watched};
use crate::daemon::{self, Ended, Error, Gauges, Started};
use crate::exit::Exit;
use crate::ship::{Access, Terms, receiver};
use crate::shutdown::Stop;
use crate::state::{self, Claim, State};
use crate::tree::{Excludes, Rules, Verdict};
use crate::{batch, http, logging};

/// Paths that may wait for one target, ready or open: some 50 MB of names.
const BACKLOG_MAX: usize = 200_000;

/// How long the network, and each answer of a server, may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(flags: &Run) -> Exit {
    logging::start(flags.log_level);
    let mut rules = Rules::default();
    for pattern in &flags.excludes {
        rules.add(pattern.as_bytes(), Verdict::Exclude, "--exclude".to_owned());
    }
    let excludes = match Excludes::new(rules) {
        Ok(excludes) => excludes,
        Err(error) => return fail(Exit::Usage, &error, None),
    };
    let gauges = match Gauges::new(&flags.targets) {
        Ok(gauges) => gauges,
        Err(error) => return fail(Exit::Failure, &format!("make an event descriptor: {error}"), None),
    };
    let watched = Arc::new(watched(flags, gauges.clone()));

    let stop = match prepare(&watched) {
        Ok(stop) => stop,
        Err(error) => return fail(Exit::Failure, &format!("prepare for signals: {error}"), None),
    };
    // Asked for only when everything is over: what is measured at the end is logged, too.
    let ended = match Stop::new() {
        Ok(ended) => ended,
        Err(error) => return fail(Exit::Failure, &format!("make an event descriptor: {error}"), None),
    };
    let receiver = match receiver() {
        Ok(receiver) => receiver,
        Err(error) => return fail(Exit::Failure, &format!("read this program: {error}"), None),
    };
    let claims = match claim(flags) {
        Ok(claims) => claims,
        Err(error) => return fail(Exit::Failure, &error, Some(&error.remedy)),
    };
    if let Some(address) = flags.metrics_listen {
        match http::serve(address, Arc::clone(&watched), stop.clone()) {
            Ok(address) => info!("metrics are at http://{address}/metrics"),
            Err(error) => {
                let remedy = "give another address, or a free port: --metrics-listen 127.0.0.1:9847";
                return fail(Exit::Failure, &format!("listen at {address}: {error}"), Some(remedy));
            }
        }
    }
    let log = match &flags.latency_log {
        Some(path) => match log::keep(path, Arc::clone(&watched), ended.clone()) {
            Ok(log) => Some(log),
            Err(error) => {
                let what = format!("open the latency log {}: {error}", path.display());
                return fail(
                    Exit::Failure,
                    &what,
                    Some("give a file that this user may write: --latency-log"),
                );
            }
        },
        None => None,
    };
    let control = listen(flags, &watched, &stop);
    let config = daemon::Config {
        source: flags.source.clone(),
        excludes,
        preserve: flags.preserve,
        terms: Terms { numeric_ids: flags.numeric_ids, durability: flags.durability.into() },
        targets: flags.targets.iter().cloned().zip(claims.iter().map(Claim::ledger)).collect(),
        access: Access {
            identity: flags.identity.clone(),
            known_hosts: flags.known_hosts.clone(),
            port: flags.port,
            patience: PATIENCE,
        },
        receiver: Arc::from(receiver),
        backend: flags.capture.into(),
        ring_bytes: flags.ring_size.0,
        batch: batch::Config {
            delay: flags.batch_delay,
            max_delay: flags.batch_max_delay,
            max_changes: flags.batch_max_changes,
            max_bytes: flags.batch_max_bytes.0,
            open_file_interval: flags.open_file_interval,
            backlog_max: BACKLOG_MAX,
        },
    };
    let greet = |now: &Started| {
        let targets = flags.targets.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        info!(source = %flags.source.display(), targets, capture = now.backend, "{}", now.reason);
        // Set once: a run starts once.
        let _first = watched.started.set(now.clone());
    };
    let result = daemon::run(config, &gauges, &stop, greet);
    print_table(&watched);
    drop(claims);
    stop.request();
    ended.request();
    for thread in control.into_iter().chain(log) {
        // Its panic was told, and changes nothing any more.
        let _panicked = thread.join();
    }
    conclude(result)
}

fn watched(flags: &Run, gauges: Gauges) -> Watched {
    Watched {
        source: flags.source.canonicalize().unwrap_or_else(|_| flags.source.clone()).display().to_string(),
        targets: flags.targets.iter().map(ToString::to_string).collect(),
        batch_delay: flags.batch_delay,
        batch_max_delay: flags.batch_max_delay,
        batch_max_changes: flags.batch_max_changes,
        gauges,
        started: OnceLock::new(),
    }
}

/// Lets others ask how it goes. Replication does not depend on it, so it may fail.
fn listen(flags: &Run, watched: &Arc<Watched>, stop: &Stop) -> Option<JoinHandle<()>> {
    let place = Place::new(&state::control_directory(flags.state_dir.as_deref()));
    let serving = place.bind().and_then(|socket| control::serve(socket, Arc::clone(watched), stop.clone()));
    let failed = |error| {
        let directory = place.path().display();
        warn!("make a control socket in {directory}: {error}; nobody can ask this run how it is");
    };
    serving.map_err(failed).ok()
}

/// Prints to standard output; the log has standard error.
fn print_table(watched: &Watched) {
    if let Some(table) = watched.table() {
        // Nobody reads it when standard output is closed.
        let _closed = write!(std::io::stdout().lock(), "\n{table}");
    }
}

/// Claims every target, for as long as the run takes.
fn claim(flags: &Run) -> Result<Vec<Claim>, state::Error> {
    let state = State::open(flags.state_dir.as_deref())?;
    // A source that is not there is told by the run itself.
    let source = flags.source.canonicalize().unwrap_or_else(|_| flags.source.clone());
    flags.targets.iter().map(|target| state.claim(&source, &target.to_string())).collect()
}

fn prepare(watched: &Arc<Watched>) -> std::io::Result<Stop> {
    let stop = Stop::new()?;
    let blocked = signals::block()?;
    let watched = Arc::clone(watched);
    signals::serve(blocked, stop.clone(), move || print_table(&watched))?;
    Ok(stop)
}

fn conclude(result: Result<Ended, Error>) -> Exit {
    match result {
        Ok(Ended { unsent: 0 }) => Exit::Success,
        Ok(Ended { unsent }) => {
            warn!(
                unsent,
                "ended with paths that are not replicated yet: the next start compares the trees and sends them"
            );
            Exit::Incomplete
        }
        Err(Error::Source(error)) => fail(Exit::NoSource, &error, Some(&error.remedy)),
        Err(Error::Capture(error)) => fail(Exit::NoCapture, &error, Some(&error.remedy)),
        Err(Error::Target { target, cause }) => {
            fail(Exit::NoTarget, &format!("{target}: {cause}"), Some(&cause.remedy()))
        }
        Err(error @ (Error::Thread(_) | Error::Descriptor(_))) => fail(Exit::Failure, &error, None),
    }
}
