//! Runs the daemon: all syncs of the configuration, until it is asked to end.

use std::sync::Arc;

use crossbeam::channel::{self, Receiver, Sender};
use tracing::{error, info, warn};

use super::service::Service;
use super::sync::{Common, Failure, Prepared, Running, print_table, try_source};
use super::{fail, progress, refused, signals, status_file};
use crate::control::{Place, Reload, Reloaded, Roster};
use crate::exit::Exit;
use crate::logging::SetLevel;
use crate::settings::{self, Given, Loaded, Sync, Trouble};
use crate::ship::receiver;
use crate::shutdown::Stop;
use crate::state::{self, State};
use crate::{http, logging};

/// Orders that may wait.
const ORDERS_MAX: usize = 16;

/// What the daemon is asked to do.
enum Order {
    Stop,
    /// Whoever asks is told how it went.
    Reload(Option<Sender<Result<Reloaded, String>>>),
    /// A sync has started, or ended.
    Look,
}

pub(super) fn run(given: &Given) -> Exit {
    let loaded = match settings::load(given) {
        Ok(loaded) => loaded,
        Err(trouble) => return refused(&trouble),
    };
    let set_level = logging::start(loaded.daemon.settings.log_level);
    match Daemon::start(given, loaded, set_level) {
        Ok(daemon) => daemon.run(),
        Err(failure) => told(&failure),
    }
}

fn told(failure: &Failure) -> Exit {
    fail(failure.exit, &failure.what, failure.remedy.as_deref())
}

struct Daemon<'a> {
    given: &'a Given,
    settings: settings::Daemon,
    set_level: SetLevel,
    state: State,
    common: Common,
    roster: Roster,
    syncs: Vec<Running>,
    /// How many syncs were ever started.
    numbers: usize,
    orders: Receiver<Order>,
    service: Service,
    /// Ends what serves the whole process.
    stop: Stop,
    /// How the first sync failed that did.
    failure: Option<Failure>,
    exit: Exit,
}

impl<'a> Daemon<'a> {
    fn start(given: &'a Given, loaded: Loaded, set_level: SetLevel) -> Result<Self, Failure> {
        let failed =
            |what: &str, error: &dyn std::fmt::Display| Failure::new(format!("{what}: {error}"), None);
        let roster = Roster::default();
        let (order, orders) = channel::bounded(ORDERS_MAX);
        let stop = Stop::new().map_err(|error| failed("make an event descriptor", &error))?;
        handle_signals(&stop, &order, &roster).map_err(|error| failed("prepare for signals", &error))?;
        let receiver = receiver().map_err(|error| failed("read this program", &error))?;
        let directory = loaded.daemon.settings.state_dir.as_deref();
        let state =
            State::open(directory).map_err(|error| Failure::new(error.to_string(), Some(&error.remedy)))?;
        let prepared: Result<Vec<Prepared>, Failure> =
            loaded.syncs.into_iter().map(|sync| Prepared::new(sync, &state)).collect();
        let prepared = prepared?;
        if let Some(address) = loaded.daemon.settings.metrics_listen {
            match http::serve(address, roster.clone(), stop.clone()) {
                Ok(address) => info!("metrics are at http://{address}/metrics"),
                Err(error) => {
                    let remedy = "give another address, or a free port: --metrics-listen 127.0.0.1:9847";
                    return Err(Failure::new(format!("listen at {address}: {error}"), Some(remedy)));
                }
            }
        }
        if let Some(path) = loaded.daemon.settings.status_file.clone() {
            let written = status_file::keep(path.clone(), roster.clone(), stop.clone());
            written.map_err(|error| {
                let what = format!("write the status file {}: {error}", path.display());
                Failure::new(what, Some("give a file that this user may write: --status-file"))
            })?;
        }
        let common = Common {
            receiver: Arc::from(receiver),
            place: Place::new(&state::control_directory(directory)),
            reload: asking(order.clone()),
            changed: Arc::new(move || {
                // It looks after each order, so when many wait one more is not needed. Waiting for
                // room here would wait for the daemon, which may be waiting for this sync to end.
                let _looks_anyway = order.try_send(Order::Look);
            }),
        };
        progress::show(roster.clone(), stop.clone()).map_err(|error| failed("start a thread", &error))?;
        let service = Service::watch(roster.clone(), stop.clone());
        let mut daemon = Self {
            given,
            settings: loaded.daemon,
            set_level,
            state,
            common,
            roster,
            syncs: Vec::new(),
            numbers: 0,
            orders,
            service,
            stop,
            failure: None,
            exit: Exit::Success,
        };
        daemon.begin(prepared)?;
        Ok(daemon)
    }

    fn begin(&mut self, prepared: Vec<Prepared>) -> Result<(), Failure> {
        for prepared in prepared {
            let running = prepared.start(self.numbers, &self.common);
            let running = running.map_err(|error| Failure::new(format!("start a thread: {error}"), None))?;
            self.syncs.push(running);
            self.numbers += 1;
        }
        self.roster.set(self.syncs.iter().map(|sync| Arc::clone(&sync.watched)).collect());
        Ok(())
    }

    fn run(mut self) -> Exit {
        while let Ok(order) = self.orders.recv() {
            match order {
                Order::Stop => {
                    Service::stopping();
                    self.syncs.iter().for_each(Running::stop);
                }
                Order::Reload(asked) => {
                    let result = self.reload();
                    if let Some(asked) = asked {
                        // Whoever asked may be gone.
                        let _gone = asked.try_send(result);
                    }
                }
                Order::Look => {}
            }
            self.look();
            if self.syncs.iter().all(Running::is_finished) {
                break;
            }
        }
        Service::stopping();
        self.stop.request();
        for sync in self.syncs {
            sync.hide();
        }
        match self.failure {
            Some(failure) => told(&failure),
            None => self.exit,
        }
    }

    /// Notes what has started, and what has ended.
    fn look(&mut self) {
        let stopping = self.stop.requested();
        for index in 0..self.syncs.len() {
            if !self.syncs[index].is_finished() {
                continue;
            }
            let Some(result) = self.syncs[index].join() else { continue };
            let others = self.syncs.iter().any(|sync| !sync.is_finished());
            match result {
                Ok(Exit::Success) => {}
                Ok(exit) => self.exit = exit,
                Err(failure) => {
                    let watched = &self.syncs[index].watched;
                    // Set once: it ends once.
                    let _first = watched.ended.set(failure.what.clone());
                    if others && !stopping {
                        let remedy = failure.remedy.as_deref().unwrap_or("ksyncd reload");
                        error!(sync = %watched.name, "it has ended, the others go on: {} ({remedy}); ksyncd reload starts it again", failure.what);
                    }
                    self.failure.get_or_insert(failure);
                }
            }
        }
        let runs = |sync: &Running| sync.watched.started.get().is_some() && !sync.is_finished();
        if self.syncs.iter().all(|sync| runs(sync) || sync.is_finished()) && self.syncs.iter().any(runs) {
            self.service.ready();
        }
    }

    /// Reads the settings again. What is as it was goes on undisturbed; an error leaves all as it was.
    fn reload(&mut self) -> Result<Reloaded, String> {
        Service::reloading();
        let result = self.read_again().map(|loaded| self.replace(loaded));
        self.service.ready_again();
        self.roster.note_reload(!result.as_ref().is_ok_and(|reloaded| reloaded.failed.is_empty()));
        match &result {
            Ok(Reloaded { started, ended, unchanged, needs_restart, failed, .. }) => {
                for failed in failed {
                    error!("it cannot be started: {failed}");
                }
                info!(?started, ?ended, unchanged = unchanged.len(), "the settings were read again");
                if !needs_restart.is_empty() {
                    warn!("these take effect when ksyncd is restarted: {}", needs_restart.join(", "));
                }
            }
            Err(what) => error!("the settings stay as they were: {what}"),
        }
        result
    }

    fn read_again(&self) -> Result<Loaded, String> {
        if self.stop.requested() {
            return Err("it is ending".to_owned());
        }
        let loaded = settings::load(self.given).map_err(|Trouble { what, .. }| what)?;
        for sync in &loaded.syncs {
            try_source(sync).map_err(|error| format!("{}: {error}", sync.name))?;
        }
        Ok(loaded)
    }

    fn replace(&mut self, loaded: Loaded) -> Reloaded {
        let mut told = Reloaded { process: std::process::id(), ..Reloaded::default() };
        told.needs_restart = self.settings.needs_restart(&loaded.daemon);
        let level = loaded.daemon.settings.log_level;
        (self.set_level)(level);
        self.settings.settings.log_level = level;
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        let mut new: Vec<Sync> = loaded.syncs;
        for running in self.syncs.drain(..) {
            let same = new.iter().position(|sync| sync.is_same(&running.sync));
            match same.filter(|_| !running.is_over()) {
                Some(same) => {
                    new.remove(same);
                    told.unchanged.push(running.watched.name.clone());
                    kept.push(running);
                }
                None => gone.push(running),
            }
        }
        gone.iter().for_each(Running::stop);
        for mut running in gone {
            // What it could not send is sent by the one that takes its place, and else not wanted.
            if let Some(Err(failure)) = running.join() {
                warn!(sync = %running.watched.name, "{}", failure.what);
            }
            if !new.iter().any(|sync| sync.name == running.sync.name) {
                told.ended.push(running.watched.name.clone());
            }
            running.hide();
        }
        // What failed before was asked to be tried again, or is gone.
        (self.failure, self.exit) = (None, Exit::Success);
        self.syncs = kept;
        for sync in new {
            let name = sync.name.clone();
            match Prepared::new(sync, &self.state).and_then(|prepared| self.begin(vec![prepared])) {
                Ok(()) => told.started.push(name),
                Err(failure) => {
                    told.failed.push(format!("{name}: {}", failure.what));
                    self.failure.get_or_insert(failure);
                }
            }
        }
        self.roster.set(self.syncs.iter().map(|sync| Arc::clone(&sync.watched)).collect());
        told
    }
}

/// Gives the order to reload, and waits until that is done.
fn asking(order: Sender<Order>) -> Reload {
    Arc::new(move || {
        let ending = || "it is ending".to_owned();
        let (answer, answered) = channel::bounded(1);
        order.send(Order::Reload(Some(answer))).map_err(|_nobody| ending())?;
        answered.recv().unwrap_or_else(|_| Err(ending()))
    })
}

fn handle_signals(stop: &Stop, order: &Sender<Order>, roster: &Roster) -> std::io::Result<()> {
    let blocked = signals::block(&signals::OF_A_DAEMON)?;
    let (order, roster, stopping) = (order.clone(), roster.clone(), stop.clone());
    signals::serve(blocked, stop.clone(), move |asked| {
        match asked {
            signals::Asked::Report => roster.all().iter().for_each(|watched| print_table(watched)),
            // When there is no room it has been asked to often enough.
            signals::Asked::Reload => drop(order.try_send(Order::Reload(None))),
            signals::Asked::Stop => {
                stopping.request();
                let _ending = order.send(Order::Stop);
            }
        }
    })
}
