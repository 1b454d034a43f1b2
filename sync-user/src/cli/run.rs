//! Runs the source side: from flags to a running daemon, and to an exit status.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing::{info, warn};

use super::flags::Run;
use super::table::print_table;
use super::{fail, signals};
use crate::daemon::{self, Ended, Error, Gauges, Started};
use crate::exit::Exit;
use crate::metrics::{Counters, Latency};
use crate::ship::{Access, Terms, receiver};
use crate::shutdown::Stop;
use crate::state::{self, Claim, State};
use crate::tree::Excludes;
use crate::{batch, logging};

/// Paths that may wait for one target, ready or open: some 50 MB of names.
const BACKLOG_MAX: usize = 200_000;

/// How long the network, and each answer of a server, may take.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn run(flags: Run) -> Exit {
    logging::start(flags.log_level);
    let excludes = match Excludes::new(&flags.excludes) {
        Ok(excludes) => excludes,
        Err(error) => return fail(Exit::Usage, &error, None),
    };
    let gauges = Gauges { latency: Arc::new(Latency::new()), counters: Arc::new(Counters::default()) };
    let started: Arc<OnceLock<Started>> = Arc::default();
    let flags = Arc::new(flags);

    let stop = match prepare(&flags, &gauges, &started) {
        Ok(stop) => stop,
        Err(error) => return fail(Exit::Failure, &format!("prepare for signals: {error}"), None),
    };
    let receiver = match receiver() {
        Ok(receiver) => receiver,
        Err(error) => return fail(Exit::Failure, &format!("read this program: {error}"), None),
    };
    let claims = match claim(&flags) {
        Ok(claims) => claims,
        Err(error) => return fail(Exit::Failure, &error, Some(&error.remedy)),
    };
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
        let _first = started.set(now.clone());
    };
    let result = daemon::run(config, &gauges, &stop, greet);
    if let Some(started) = started.get() {
        print_table(&flags, started, &gauges);
    }
    conclude(result)
}

/// Claims every target, for as long as the run takes.
fn claim(flags: &Run) -> Result<Vec<Claim>, state::Error> {
    let state = State::open(flags.state_dir.as_deref())?;
    // A source that is not there is told by the run itself.
    let source = flags.source.canonicalize().unwrap_or_else(|_| flags.source.clone());
    flags.targets.iter().map(|target| state.claim(&source, &target.to_string())).collect()
}

fn prepare(flags: &Arc<Run>, gauges: &Gauges, started: &Arc<OnceLock<Started>>) -> std::io::Result<Stop> {
    let stop = Stop::new()?;
    let blocked = signals::block()?;
    let (flags, gauges, started) = (Arc::clone(flags), gauges.clone(), Arc::clone(started));
    signals::serve(blocked, stop.clone(), move || {
        if let Some(started) = started.get() {
            print_table(&flags, started, &gauges);
        }
    })?;
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
