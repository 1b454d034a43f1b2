//! What one end changes meets on its way what the other end has changed at the same time: each end
//! learns of both, and neither knows in which order the other one does (I8).
//!
//! A receiver that is stopped holds the steps of one end back, while those of the other arrive.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::host::{Daemon, PATIENCE};
use super::pair::{End, Pair};
use super::site::{age, receivers};

/// Two ends that are equal, and steps of `End::One` that do not arrive at `End::Other`.
struct Crossing {
    pair: Pair,
    daemons: [Daemon; 2],
    stopped: Vec<Pid>,
}

impl Crossing {
    fn new(make: impl FnOnce(&Pair)) -> Self {
        let pair = Pair::new();
        fs::create_dir(pair.host.path().join("desk")).unwrap();
        make(&pair);
        let daemons = pair.start_both();
        pair.wait_until_equal(&daemons);
        let crossing = Self { pair, daemons, stopped: Vec::new() };
        crossing.wait_until_at_rest();
        crossing
    }

    /// Waits until nothing is sent any more, so that what is sent then is what the test does.
    fn wait_until_at_rest(&self) {
        let mut before = (None, Instant::now());
        self.wait_until("nothing is sent any more", || {
            let status = End::BOTH.map(|end| self.pair.target_status(end));
            let sent = status.each_ref().map(|status| (status.bytes_shipped, status.lag_changes));
            if before.0 != Some(sent) {
                before = (Some(sent), Instant::now());
            }
            before.1.elapsed() > Duration::from_millis(500)
        });
    }

    fn hold_back(&mut self) {
        self.stopped = receivers(&self.pair.root(End::Other));
        assert_eq!(self.stopped.len(), 1);
        for receiver in &self.stopped {
            kill(*receiver, Signal::SIGSTOP).unwrap();
        }
    }

    fn let_go(&mut self) {
        for receiver in self.stopped.drain(..) {
            kill(receiver, Signal::SIGCONT).unwrap();
        }
    }

    fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let began = Instant::now();
        while !condition() {
            let logs = || self.daemons.iter().map(Daemon::log).collect::<Vec<_>>().join("\n--\n");
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}\n{}", logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a step of this end is on its way that was not, after `act`.
    fn wait_until_sent(&self, end: End, act: impl FnOnce()) {
        let sent = || self.pair.target_status(end).bytes_shipped;
        let before = sent();
        act();
        self.wait_until("it is sent", || sent() > before);
    }

    /// Puts `there` into the place of `path`, in one act, and what was there where `there` was.
    fn exchange(&self, end: End, path: &str, there: &Path) {
        renameat_with(CWD, there, CWD, self.pair.root(end).join(path), RenameFlags::EXCHANGE).unwrap();
    }

    /// Edits `path`, and puts back what was there: what has not changed is on its way.
    fn send_once_more(&self, end: End, path: &str) {
        let edit = self.pair.host.path().join("desk/edit");
        fs::write(&edit, format!("an edit at {end:?}")).unwrap();
        for _ in 0..2 {
            self.wait_until_sent(end, || self.exchange(end, path, &edit));
        }
    }

    /// Waits until all has arrived, and both ends are equal; gives what is at the path then.
    fn settle(&mut self, path: &str) -> Option<String> {
        self.let_go();
        self.wait_until("all has arrived", || {
            End::BOTH.iter().all(|end| self.pair.target_status(*end).lag_changes == 0)
        });
        self.pair.wait_until_equal(&self.daemons);
        self.pair.read(End::One, path)
    }
}

impl Drop for Crossing {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[test]
fn what_was_removed_stays_so_though_it_is_on_its_way_once_more() {
    let mut crossing = Crossing::new(|pair| pair.write(End::One, "f", "agreed"));
    crossing.hold_back();
    crossing.send_once_more(End::One, "f");
    fs::remove_file(crossing.pair.root(End::Other).join("f")).unwrap();
    crossing.wait_until("the removal arrives", || crossing.pair.read(End::One, "f").is_none());
    assert_eq!(crossing.settle("f"), None);
}

#[test]
fn a_removal_on_its_way_is_not_undone_by_what_is_sent_once_more() {
    let mut crossing = Crossing::new(|pair| pair.write(End::One, "f", "agreed"));
    crossing.hold_back();
    fs::remove_file(crossing.pair.root(End::One).join("f")).unwrap();
    crossing.wait_until("it is sent", || crossing.pair.target_status(End::One).lag_changes > 0);
    crossing.send_once_more(End::Other, "f");
    crossing.wait_until("it arrives", || crossing.pair.read(End::One, "f").as_deref() == Some("agreed"));
    assert_eq!(crossing.settle("f"), None);
}

/// An edit beats a removal, whatever else is on its way.
#[test]
fn what_was_made_anew_is_not_removed() {
    let mut crossing = Crossing::new(|pair| pair.write(End::One, "f", "agreed"));
    crossing.hold_back();
    crossing.send_once_more(End::One, "f");
    fs::remove_file(crossing.pair.root(End::Other).join("f")).unwrap();
    crossing.wait_until("the removal arrives", || crossing.pair.read(End::One, "f").is_none());
    crossing.wait_until_sent(End::One, || crossing.pair.write(End::One, "f", "made anew"));
    assert_eq!(crossing.settle("f").as_deref(), Some("made anew"));
}

#[test]
fn what_was_renamed_is_not_at_its_old_name_too() {
    let mut crossing = Crossing::new(|pair| pair.write(End::One, "f", "agreed"));
    crossing.hold_back();
    crossing.send_once_more(End::One, "f");
    let root = crossing.pair.root(End::Other);
    fs::rename(root.join("f"), root.join("g")).unwrap();
    crossing.wait_until("the rename arrives", || crossing.pair.read(End::One, "f").is_none());
    assert_eq!(crossing.settle("f"), None);
    assert_eq!(crossing.pair.read(End::One, "g").as_deref(), Some("agreed"));
}

#[test]
fn what_was_removed_stays_so_though_its_directory_is_renamed() {
    let mut crossing = Crossing::new(|pair| {
        fs::create_dir(pair.root(End::One).join("d")).unwrap();
        pair.write(End::One, "d/x", "agreed");
        pair.write(End::One, "d/y", "agreed, too");
    });
    crossing.hold_back();
    let root = crossing.pair.root(End::One);
    fs::rename(root.join("d"), root.join("e")).unwrap();
    crossing.wait_until("it is sent", || crossing.pair.target_status(End::One).lag_changes > 0);
    let shipped = || crossing.pair.target_status(End::Other).changes_shipped;
    let before = shipped();
    fs::remove_file(crossing.pair.root(End::Other).join("d/x")).unwrap();
    crossing.wait_until("the removal is answered", || shipped() > before);
    assert_eq!(crossing.settle("e/x"), None);
    assert_eq!(crossing.pair.read(End::One, "e/y").as_deref(), Some("agreed, too"));
}

/// Both have sent what the other one has replaced: neither can put its own through.
#[test]
fn an_older_file_that_is_put_back_leaves_both_ends_with_the_same() {
    let mut crossing = Crossing::new(|pair| pair.write(End::One, "f", "new"));
    let old = crossing.pair.host.path().join("desk/old");
    fs::write(&old, "old").unwrap();
    age(&old, 50);
    crossing.hold_back();
    crossing.send_once_more(End::One, "f");
    crossing.exchange(End::Other, "f", &old);
    crossing.wait_until("it arrives", || crossing.pair.read(End::One, "f").as_deref() == Some("old"));
    assert_eq!(crossing.settle("f").as_deref(), Some("new"), "the later one stays");
    let kept: Vec<String> = End::BOTH
        .into_iter()
        .flat_map(|end| {
            let pair = &crossing.pair;
            pair.kept(end).into_iter().map(move |line| pair.kept_content(end, &line))
        })
        .collect();
    assert!(kept.contains(&"old".to_owned()), "{kept:?}");
}

/// What has arrived while no daemon ran is no news to the next one.
#[test]
fn what_arrived_unheard_is_not_sent_back_when_it_was_removed_since() {
    let mut crossing = Crossing::new(|pair| pair.write(End::One, "f", "agreed"));
    crossing.daemons[1].end();
    crossing.pair.write(End::One, "g", "while nobody listened");
    crossing.wait_until("it arrives", || crossing.pair.read(End::Other, "g").is_some());
    crossing.hold_back();
    fs::remove_file(crossing.pair.root(End::One).join("g")).unwrap();
    crossing.wait_until("it is sent", || crossing.pair.target_status(End::One).lag_changes > 0);
    crossing.daemons[1] = Daemon::start(crossing.pair.run(End::Other));
    crossing.daemons[1].wait_for_log("connected");
    let waited = crossing.pair.wait(End::Other);
    assert!(waited, "{}", crossing.daemons[1].log());
    assert_eq!(crossing.pair.read(End::One, "g"), None);
    assert_eq!(crossing.settle("g"), None);
}
