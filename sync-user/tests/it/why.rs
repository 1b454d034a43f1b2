//! `ksyncd why` says what happened to a path, and how it is at each target.

use std::fs;

use sync_user::control::{self, Place, Why, WhyState};

use crate::host::{Daemon, Host, Memory, PATIENCE};

/// Asks as `ksyncd why` does.
fn why(host: &Host, path: &str) -> Why {
    let mut daemons = control::daemons(&[Place::new(&host.path().join("state"))]).unwrap();
    daemons[0].why(path).unwrap()
}

/// A host whose source is on a file system of its own, where nobody else has anything looked at again.
fn alone() -> (Host, Memory) {
    let host = Host::new();
    let memory = Memory::mount(&host.source(), "size=1M");
    (host, memory)
}

/// Waits until all that happened before is acknowledged.
fn settle(host: &Host) {
    let mut daemons = control::daemons(&[Place::new(&host.path().join("state"))]).unwrap();
    assert!(daemons[0].wait(None, Some(PATIENCE)).unwrap().missing.is_empty());
}

/// What happened, kind by kind, without what came again.
fn kinds(why: &Why) -> Vec<&str> {
    let mut kinds: Vec<&str> = why.happenings.iter().map(|happening| happening.kind.as_str()).collect();
    kinds.dedup();
    kinds
}

#[test]
fn the_way_of_a_change_is_told_from_its_event_to_its_receipt() {
    let (host, _memory) = alone();
    fs::create_dir(host.source().join("news")).unwrap();
    let _daemon = host.start();
    fs::write(host.source().join("news/page"), "new").unwrap();
    settle(&host);
    let told = why(&host, "news/page");
    assert_eq!(kinds(&told), ["event", "batch", "step", "receipt"], "{told:?}");
    assert!(told.happenings.is_sorted_by_key(|happening| &happening.time), "{told:?}");
    let event = &told.happenings[0];
    // By fanotify the process is known, and not the name of its thread.
    assert_eq!(event.process, Some(std::process::id()), "{event:?}");
    let receipt = told.happenings.last().unwrap();
    assert_eq!(receipt.what, "put the file");
    assert!(receipt.latency_seconds.unwrap() > 0.0 && receipt.target.is_some(), "{receipt:?}");
    assert!(told.happenings.iter().any(|happening| happening.batch.is_some()));
    let target = &told.targets[0];
    assert_eq!((target.state, target.since.as_ref()), (WhyState::Current, Some(&receipt.time)));
    assert!(target.ledger.starts_with("a file of 3 bytes"), "{}", target.ledger);
    let second = receipt.time.split('.').next().unwrap().replace('T', " ");
    assert_eq!(told.sentence, format!("news/page is at all targets since {second} UTC"));

    // What happens to the directory concerns what is in it.
    fs::rename(host.source().join("news"), host.source().join("old")).unwrap();
    settle(&host);
    let told = why(&host, "news/page");
    let moved = told.happenings.iter().find(|happening| happening.what == "moved away").unwrap();
    assert_eq!(moved.above.as_deref(), Some("news"));
    assert_eq!(told.targets[0].state, WhyState::Gone);
    assert!(told.sentence.starts_with("news/page is at neither end since "), "{}", told.sentence);
    assert!(why(&host, "old/page").sentence.starts_with("old/page is at all targets since "));
}

#[test]
fn what_was_never_seen_and_what_is_left_out_is_said() {
    let (host, _memory) = alone();
    fs::create_dir(host.source().join("cache")).unwrap();
    fs::write(host.source().join("cache/page"), "x").unwrap();
    fs::write(host.source().join("before"), "x").unwrap();
    let mut command = host.run();
    command.args(["--exclude", "/cache/"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_until("it is replicated", || host.target().join("before").exists());
    settle(&host);
    let never = why(&host, "no/such");
    assert_eq!(never.happenings, []);
    assert!(never.sentence.starts_with("no/such was never seen: "), "{}", never.sentence);
    let left_out = why(&host, "cache/page");
    assert_eq!(left_out.left_out.unwrap().above.as_deref(), Some("cache"));
    let expected = "cache/page is left out, since its directory cache is, by: ";
    assert!(left_out.sentence.starts_with(expected), "{}", left_out.sentence);
    // What the first comparison has sent no event told of.
    let before = why(&host, "before");
    assert_eq!((kinds(&before), before.targets[0].state), (vec!["step", "receipt"], WhyState::Current));

    let mut command = host.ask("why");
    let ended = Daemon::start({
        command.arg("before");
        command
    })
    .wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(ended.stdout.contains("receipt  put the file"), "{}", ended.stdout);
    assert!(ended.stdout.trim_end().ends_with(&before.sentence), "{}", ended.stdout);
    let mut command = host.ask("why");
    command.args(["before", "--json"]);
    let ended = Daemon::start(command).wait();
    let parsed: Why = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(parsed.sentence, before.sentence);
}

#[test]
fn what_fails_is_told_with_its_reason() {
    let host = Host::new();
    let _memory = Memory::mount(&host.target(), "size=1M");
    fs::write(host.source().join("large"), vec![5; 3 << 20]).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("cannot write");
    daemon.wait_until("it waits to be looked at again", || {
        let told = why(&host, "large");
        let target = &told.targets[0];
        // While it is tried again, it waits because a step is on its way.
        target.state == WhyState::Waiting
            && target.failures > 0
            && kinds(&told).contains(&"refusal")
            && told.sentence.contains("waits for it: it cannot write the file at the target")
    });
}

#[test]
fn a_target_that_is_away_is_told_of_from_the_ledger() {
    let (mut host, _memory) = alone();
    fs::write(host.source().join("page"), "one").unwrap();
    fs::write(host.source().join("other"), "one").unwrap();
    let mut daemon = host.start();
    host.sshd.stop();
    daemon.wait_for_log("connecting again");
    fs::write(host.source().join("page"), "two and more").unwrap();
    daemon.wait_until("the change waits", || why(&host, "page").targets[0].state == WhyState::Waiting);
    assert_eq!(why(&host, "other").targets[0].state, WhyState::Current);
    host.sshd.restart().unwrap();
    daemon.wait_until("it has arrived", || why(&host, "page").targets[0].state == WhyState::Current);
}
