//! Tells the service manager how it goes, where one has started us (`sd_notify(3)`).

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::control::{Roster, Status};
use crate::shutdown::Stop;

/// How often the status text is told anew.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The service manager's view of this process. Without one nothing is told to anybody.
#[derive(Debug)]
pub(super) struct Service {
    is_ready: bool,
}

impl Service {
    /// Begins to tell the status, and to feed the watchdog for as long as every batching thread
    /// goes on: a change can only be late where it does not.
    pub(super) fn watch(roster: Roster, stop: Stop) -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_some() {
            let watchdog = sd_notify::watchdog_enabled();
            let interval = watchdog.map_or(STATUS_INTERVAL, |limit| (limit / 3).min(STATUS_INTERVAL));
            let work = move || {
                let mut seen = HashMap::new();
                while !stop.requested() {
                    stop.wait(interval);
                    if all_go_on(&roster, &mut seen) && watchdog.is_some() {
                        tell(&[NotifyState::Watchdog]);
                    }
                    if !stop.requested() {
                        tell(&[NotifyState::Status(&text(&roster))]);
                    }
                }
            };
            // Without the thread the service manager ends us, and says why.
            let _without = thread::Builder::new().name("service".to_owned()).spawn(work);
        }
        Self { is_ready: false }
    }

    /// Every source is being watched, or has failed while others are.
    pub(super) fn ready(&mut self) {
        if !self.is_ready {
            self.is_ready = true;
            tell(&[NotifyState::Ready]);
        }
    }

    pub(super) fn reloading() {
        // Without the time, systemd 253 and later take the reload for failed.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    pub(super) fn ready_again(&self) {
        if self.is_ready {
            tell(&[NotifyState::Ready]);
        }
    }

    pub(super) fn stopping() {
        tell(&[NotifyState::Stopping, NotifyState::Status("sending what is open")]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // A service manager that does not listen cannot be told so.
    let _unheard = sd_notify::notify(states);
}

/// Whether every batching thread that runs has taken a turn since the last call.
fn all_go_on(roster: &Roster, seen: &mut HashMap<usize, u64>) -> bool {
    let mut now = HashMap::new();
    let mut all = true;
    for watched in roster.all() {
        if let Some(turns) = watched.gauges.counters.batching.turns() {
            // It lives as long as the sync does, so its address names it.
            let name = Arc::as_ptr(&watched).addr();
            all &= seen.get(&name) != Some(&turns);
            now.insert(name, turns);
        }
    }
    *seen = now;
    all
}

fn text(roster: &Roster) -> String {
    let all: Vec<Status> = roster.all().iter().map(|watched| Status::of(watched)).collect();
    let targets = || all.iter().flat_map(|status| &status.targets);
    let up = targets().filter(|target| target.is_up()).count();
    let waiting: u64 = targets().map(|target| target.lag_changes).sum();
    let ended = all.iter().filter(|status| status.ended.is_some()).count();
    let ended = if ended > 0 { format!(", {ended} syncs ended") } else { String::new() };
    format!("{up} of {} targets connected, {waiting} changes on their way{ended}", targets().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Watched;
    use crate::daemon::Gauges;
    use crate::tree::{Excludes, Rules};

    fn watched() -> Arc<Watched> {
        Arc::new(Watched {
            name: "www".to_owned(),
            source: "/var/www".to_owned(),
            targets: Vec::new(),
            batch_delay: Duration::ZERO,
            batch_max_delay: Duration::ZERO,
            batch_max_changes: 1,
            excludes: Excludes::new(Rules::default()).unwrap(),
            latency_log: None,
            gauges: Gauges::new(&[]).unwrap(),
            started: std::sync::OnceLock::new(),
            ended: std::sync::OnceLock::new(),
        })
    }

    #[test]
    fn the_watchdog_starves_when_one_batching_thread_hangs() {
        let (one, other) = (watched(), watched());
        let roster = Roster::default();
        roster.set(vec![Arc::clone(&one), Arc::clone(&other)]);
        let mut seen = HashMap::new();
        assert!(all_go_on(&roster, &mut seen), "none runs yet");
        for sync in [&one, &other] {
            sync.gauges.counters.batching.runs(true);
            sync.gauges.counters.batching.beat();
        }
        assert!(all_go_on(&roster, &mut seen));
        one.gauges.counters.batching.beat();
        assert!(!all_go_on(&roster, &mut seen), "the other has taken no turn");
        other.gauges.counters.batching.runs(false);
        one.gauges.counters.batching.beat();
        assert!(all_go_on(&roster, &mut seen), "the other has ended");
    }
}
