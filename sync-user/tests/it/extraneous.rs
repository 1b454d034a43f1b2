//! What only the target has goes when that is asked for, and when nothing speaks against it.

use std::fs;
use std::os::unix::fs::symlink;

use crate::host::{Daemon, Host, Memory};

/// A target with one page of its own among ten, in a directory; and what is excluded beside it.
fn with_others() -> Host {
    let host = Host::new();
    for number in 0..10 {
        fs::write(host.source().join(format!("page-{number}")), "page").unwrap();
    }
    fs::create_dir_all(host.target().join("old/cache")).unwrap();
    fs::write(host.target().join("old/page"), "old").unwrap();
    fs::write(host.target().join("old/cache/kept"), "kept").unwrap();
    fs::create_dir(host.target().join("gone")).unwrap();
    symlink("nowhere", host.target().join("gone/link")).unwrap();
    host
}

fn run(host: &Host, more: &[&str]) -> Daemon {
    let mut command = host.run();
    command.args(["--delete-extraneous", "--exclude", "cache"]).args(more);
    let mut daemon = Daemon::start(command);
    let last = host.target().join("page-9");
    daemon.wait_until("the source is replicated", || last.exists());
    daemon
}

#[test]
fn what_only_the_target_has_is_removed_once_that_is_asked_for() {
    let host = with_others();
    let (old, gone) = (host.target().join("old/page"), host.target().join("gone"));
    // Whoever did not ask keeps it, also when there is a ledger by then.
    let mut command = host.run();
    command.args(["--exclude", "cache"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_until("the source is replicated", || host.target().join("page-9").exists());
    assert!(daemon.stop().status.success() && old.exists() && gone.exists());

    let mut daemon = run(&host, &["--max-delete", "60"]);
    daemon.wait_until("what only the target had is gone", || !old.exists() && !gone.exists());
    daemon.wait_for_log("removing what only the target has");
    // What is excluded was never looked at, and neither is the directory that holds it.
    assert!(host.target().join("old/cache/kept").exists());
    // Whatever comes later is somebody else's business.
    fs::write(host.target().join("later"), "").unwrap();
    fs::write(host.source().join("last"), "").unwrap();
    daemon.wait_until("the last change is there", || host.target().join("last").exists());
    assert!(host.target().join("later").exists());
}

#[test]
fn more_than_is_allowed_stays() {
    let host = with_others();
    let mut daemon = run(&host, &["--max-delete", "10"]);
    daemon.wait_for_log("--max-delete 10 allows less");
    assert!(host.target().join("old/page").exists() && host.target().join("gone").exists());
    let status = String::from_utf8(host.ask("status").output().unwrap().stdout).unwrap();
    assert!(status.contains("paths that only the target has"), "{status}");
}

#[test]
fn an_empty_source_removes_nothing() {
    let host = Host::new();
    fs::create_dir(host.target()).unwrap();
    fs::write(host.target().join("page"), "page").unwrap();
    let mut command = host.run();
    command.args(["--delete-extraneous", "--max-delete", "100"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_for_log("the source is empty, or not the directory that it was");
    assert!(host.target().join("page").exists());
}

#[test]
fn a_place_that_cannot_be_read_keeps_everything() {
    let host = with_others();
    // What is mounted below the root is another tree: its name is there, and nothing is known of it.
    fs::create_dir(host.source().join("mounted")).unwrap();
    let _mounted = Memory::mount(&host.source().join("mounted"), "");
    let mut daemon = run(&host, &["--max-delete", "100"]);
    daemon.wait_for_log("mounted at the source cannot be read: something is mounted here");
    assert!(host.target().join("old/page").exists());
}

#[test]
fn what_may_be_of_another_source_stays() {
    let host = with_others();
    // A replica below the target, as its receiver leaves it.
    fs::create_dir_all(host.target().join("old/.ksyncd")).unwrap();
    let mut daemon = run(&host, &["--max-delete", "100"]);
    daemon.wait_for_log("other sources replicate into it, or below");
    assert!(host.target().join("old/page").exists() && host.target().join("gone").exists());
}
