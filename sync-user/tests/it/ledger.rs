//! What the last run stored is believed as far as it can be, and never costs a file (I3, I4).

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use sync_user::demo::{site, workload};

use crate::host::{Daemon, Host, KSYNCD};

/// What a run says that did without the target's listing.
const RESUMED: &str = "compared the source with the ledger";
const LISTED: &str = "compared the trees";

fn run_once(host: &Host) {
    let ended = host.start().stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

/// The one ledger in the state directory.
fn ledger(host: &Host) -> std::path::PathBuf {
    let entries = fs::read_dir(host.path().join("state")).unwrap();
    let mut paths = entries.map(|entry| entry.unwrap().path());
    paths.find(|path| path.extension().is_some_and(|extension| extension == "redb")).unwrap()
}

fn state(host: &Host, word: &str) -> (String, Option<i32>) {
    let output = Command::new(KSYNCD)
        .args(["state", word, "--state-dir"])
        .arg(host.path().join("state"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&text).into_owned(), output.status.code())
}

#[test]
fn a_restart_sends_the_differences_and_asks_for_no_listing() {
    let host = Host::new();
    let source = host.source();
    site::make(&source, 12).unwrap();
    fs::hard_link(source.join("index.html"), source.join("linked.html")).unwrap();
    run_once(&host);
    fs::write(host.target().join("own"), "only here").unwrap();
    fs::remove_dir_all(source.join("img")).unwrap();
    fs::remove_file(source.join("index.html")).unwrap();
    fs::write(source.join("while-down"), "new").unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log(RESUMED);
    let (own, new, img) =
        (host.target().join("own"), host.target().join("while-down"), host.target().join("img"));
    daemon.wait_until("the differences arrive", || {
        new.exists() && !img.exists() && !host.target().join("index.html").exists()
    });
    assert_eq!(fs::read_to_string(&own).unwrap(), "only here", "I3");
    fs::remove_file(&own).unwrap();
    host.wait_until_equal(&mut daemon);
    assert!(!daemon.log().contains(LISTED), "{}", daemon.log());
    let ended = daemon.stop();
    assert!(ended.stdout.contains("3 B of content"), "nothing else travelled: {}", ended.stdout);
    host.start().wait_for_log("to_do=0");
}

#[test]
fn a_run_that_was_killed_is_taken_up_without_a_listing() {
    let host = Host::new();
    let source = host.source();
    site::make(&source, 13).unwrap();
    for seed in 0..3 {
        let daemon = host.start_unguarded();
        std::thread::scope(|scope| {
            let (source, seeds) = (&source, 2 * seed..2 * seed + 2);
            let writers = scope.spawn(|| workload::collide(source, seeds, Duration::from_millis(1_500)));
            std::thread::sleep(Duration::from_millis(1_000 + 100 * seed));
            daemon.signal(Signal::SIGKILL);
            writers.join().unwrap();
        });
        daemon.wait();
    }
    fs::write(host.target().join("own"), "only here").unwrap();
    let mut command = host.run();
    command.args(["--max-delete", "100"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_for_log(RESUMED);
    let own = host.target().join("own");
    assert_eq!(fs::read_to_string(&own).unwrap(), "only here", "I3");
    fs::remove_file(own).unwrap();
    // What was removed meanwhile is removed, since the ledger knows whose it was.
    host.wait_until_equal(&mut daemon);
    assert!(!daemon.log().contains(LISTED), "{}", daemon.log());
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_visit_by_another_source_makes_the_target_be_listed() {
    let host = Host::new();
    let source = host.source();
    site::make(&source, 16).unwrap();
    run_once(&host);
    // As if another source had been there.
    let id = host.target().join(".ksyncd/id");
    let mut marker = fs::read(&id).unwrap();
    marker[31] ^= 1;
    fs::write(&id, marker).unwrap();
    fs::remove_file(source.join("index.html")).unwrap();
    fs::write(host.target().join("own"), "only here").unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log(LISTED);
    let index = host.target().join("index.html");
    daemon.wait_until("what was ours is removed", || !index.exists());
    assert!(host.target().join("own").exists(), "I3");
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_damaged_ledger_costs_a_listing_and_no_file() {
    let host = Host::new();
    let source = host.source();
    site::make(&source, 14).unwrap();
    run_once(&host);
    let path = ledger(&host);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 8..;
    bytes[middle].iter_mut().step_by(7).for_each(|byte| *byte ^= 0x5a);
    fs::write(&path, bytes).unwrap();
    let (text, code) = state(&host, "check");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("damaged"), "{text}");
    fs::remove_file(source.join("index.html")).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("the ledger is damaged and was set aside");
    daemon.wait_for_log(LISTED);
    fs::write(source.join("new"), "x").unwrap();
    let new = host.target().join("new");
    daemon.wait_until("changes arrive", || new.exists());
    assert!(host.target().join("index.html").exists(), "I3: nobody knows whose it is");
}

#[test]
fn another_target_or_an_empty_source_loses_nothing() {
    let host = Host::new();
    let (source, target) = (host.source(), host.target());
    fs::write(source.join("page"), "x").unwrap();
    fs::write(source.join("later-gone"), "x").unwrap();
    run_once(&host);
    // A copy takes the target's place, with the same files and the same marker.
    let copied = Command::new("cp").arg("-a").arg(&target).arg(host.path().join("copy")).status().unwrap();
    assert!(copied.success());
    fs::rename(&target, host.path().join("before")).unwrap();
    fs::rename(host.path().join("copy"), &target).unwrap();
    fs::remove_file(source.join("later-gone")).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("the ledger is about another source or target");
    daemon.wait_for_log(LISTED);
    assert_eq!(daemon.stop().status.code(), Some(0));
    assert!(target.join("later-gone").exists(), "I3");

    fs::rename(&source, host.path().join("disk")).unwrap();
    fs::create_dir(&source).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("the ledger is about another source or target");
    daemon.wait_for_log(LISTED);
    assert_eq!(daemon.stop().status.code(), Some(0));
    assert!(target.join("page").exists(), "I3");

    fs::remove_dir(&source).unwrap();
    fs::rename(host.path().join("disk"), &source).unwrap();
    run_with_later_gone_removed(&host);
    fs::remove_file(source.join("page")).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("the source is empty, and was not");
    daemon.wait_for_log(LISTED);
    assert_eq!(daemon.stop().status.code(), Some(0));
    assert!(target.join("page").exists(), "I3");
}

fn run_with_later_gone_removed(host: &Host) {
    fs::remove_file(host.target().join("later-gone")).unwrap();
    run_once(host);
}

#[test]
fn a_new_exclude_removes_nothing() {
    let host = Host::new();
    fs::create_dir(host.source().join("cache")).unwrap();
    fs::write(host.source().join("cache/page"), "x").unwrap();
    fs::write(host.source().join("page.tmp"), "x").unwrap();
    run_once(&host);
    let mut command = host.run();
    command.args(["--exclude", "/cache/", "--exclude", "*.tmp"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_for_log(RESUMED);
    fs::remove_file(host.source().join("page.tmp")).unwrap();
    fs::write(host.source().join("new"), "x").unwrap();
    let new = host.target().join("new");
    daemon.wait_until("changes arrive", || new.exists());
    for name in ["cache/page", "page.tmp"] {
        assert!(host.target().join(name).exists(), "I3: {name}");
    }
}

#[test]
fn ledgers_are_checked_compacted_and_reset() {
    let host = Host::new();
    site::make(&host.source(), 15).unwrap();
    assert_eq!(state(&host, "check"), ("there are no ledgers\n".to_owned(), Some(0)));
    let daemon = host.start();
    let (text, code) = state(&host, "reset");
    assert!(text.contains("is in use by process") && code == Some(1), "{text}");
    assert_eq!(daemon.stop().status.code(), Some(0));
    for (word, expected) in
        [("check", "complete"), ("compact", "KiB"), ("reset", "the next start lists the target")]
    {
        let (text, code) = state(&host, word);
        assert!(text.contains(expected) && text.contains("source -> 127.0.0.1:"), "{word}: {text}");
        assert_eq!(code, Some(0), "{word}: {text}");
    }
    assert_eq!(state(&host, "check").0, "there are no ledgers\n");
    let mut daemon = host.start();
    daemon.wait_for_log(LISTED);
}
