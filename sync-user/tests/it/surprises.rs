//! What somebody else changes at the target: the source's version wins, and no change of theirs is
//! removed without a word (I3).

use std::fs;
use std::process::Stdio;

use crate::host::{Daemon, Host};

/// What the daemon of `host` counts: replaced, kept, and the problems of single paths.
fn counted(host: &Host) -> (u64, u64, String) {
    let output = host.ask("status").arg("--json").stderr(Stdio::inherit()).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let target = &status["targets"][0];
    let count = |name: &str| target[name].as_u64().unwrap();
    (count("unexpected_replaced"), count("unexpected_kept"), target["problems"].to_string())
}

#[test]
fn a_changed_file_is_kept_when_the_source_removes_it_and_replaced_when_it_writes() {
    let host = Host::shared();
    for name in ["removed", "written", "touched", "moved", "gone", "dir/inner"] {
        let path = host.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "one").unwrap();
    }
    let mut daemon = host.start();
    assert_eq!(counted(&host), (0, 0, "[]".to_owned()));
    for name in ["removed", "written", "touched", "moved", "dir/inner"] {
        fs::write(host.target().join(name), "of the target's own").unwrap();
    }
    fs::remove_file(host.target().join("gone")).unwrap();
    fs::remove_file(host.source().join("removed")).unwrap();
    fs::write(host.source().join("written"), "two").unwrap();
    fs::File::open(host.source().join("touched")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    fs::rename(host.source().join("moved"), host.source().join("to")).unwrap();
    fs::write(host.source().join("gone"), "two").unwrap();
    fs::remove_dir_all(host.source().join("dir")).unwrap();
    let read = |name: &str| fs::read_to_string(host.target().join(name)).unwrap_or_default();
    daemon.wait_until("the source's versions arrive", || {
        [read("written"), read("touched"), read("to"), read("gone")] == ["two", "one", "one", "two"]
    });
    daemon.wait_for_log("it holds files of the target's own");
    daemon.wait_until("all is counted", || (counted(&host).0, counted(&host).1) == (3, 3));
    for name in ["removed", "moved", "dir/inner"] {
        assert_eq!(read(name), "of the target's own", "I3: {name}");
        assert!(counted(&host).2.contains(&format!("{name}\"")), "{}", counted(&host).2);
    }
    daemon.wait_for_log("if it is not wanted, remove it there by hand");
    daemon.wait_for_log("replaced by what the source has");
    // Nothing of that is tried again; and what the source has again is the source's again.
    fs::write(host.source().join("removed"), "three").unwrap();
    daemon.wait_until("it is there again", || read("removed") == "three");
    daemon.wait_until("it is no problem any more", || !counted(&host).2.contains("removed"));
    fs::remove_file(host.source().join("removed")).unwrap();
    daemon.wait_until("it is removed", || !host.target().join("removed").exists());
    assert_eq!((counted(&host).0, counted(&host).1), (4, 3));
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn a_file_that_was_replaced_by_a_directory_is_kept_with_what_is_in_it() {
    let host = Host::shared();
    for name in ["file", "other"] {
        fs::write(host.source().join(name), "one").unwrap();
    }
    let mut daemon = host.start();
    for name in ["file", "other"] {
        fs::remove_file(host.target().join(name)).unwrap();
        fs::create_dir(host.target().join(name)).unwrap();
    }
    fs::write(host.target().join("file/own"), "mine").unwrap();
    fs::remove_file(host.source().join("file")).unwrap();
    fs::write(host.source().join("other"), "two").unwrap();
    let other = host.target().join("other");
    daemon
        .wait_until("an empty one makes way", || fs::read_to_string(&other).is_ok_and(|text| text == "two"));
    daemon.wait_for_log("if it is not wanted, remove it there by hand");
    assert_eq!(fs::read_to_string(host.target().join("file/own")).unwrap(), "mine", "I3");
}

#[test]
fn what_is_changed_while_the_target_is_away_is_kept_too() {
    let mut host = Host::shared();
    for name in ["removed", "written", "still"] {
        fs::write(host.source().join(name), "one").unwrap();
    }
    let mut daemon = host.start();
    host.sshd.stop();
    for name in ["removed", "written"] {
        fs::write(host.target().join(name), "of the target's own").unwrap();
    }
    fs::remove_file(host.source().join("removed")).unwrap();
    fs::write(host.source().join("written"), "two").unwrap();
    daemon.wait_for_log("connecting again");
    host.sshd.restart().unwrap();
    let written = host.target().join("written");
    daemon.wait_until("it is written", || fs::read_to_string(&written).is_ok_and(|text| text == "two"));
    daemon.wait_until("both are told", || (counted(&host).0, counted(&host).1) == (1, 1));
    let removed = fs::read_to_string(host.target().join("removed")).unwrap();
    assert_eq!(removed, "of the target's own", "I3");
    assert!(counted(&host).2.contains("\"removed\""), "{}", counted(&host).2);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn nothing_is_unexpected_after_a_restart() {
    let host = Host::new();
    sync_user::demo::site::make(&host.source(), 21).unwrap();
    let daemon = host.start();
    assert_eq!(daemon.stop().status.code(), Some(0));
    fs::rename(host.source().join("blog"), host.source().join("news")).unwrap();
    fs::write(host.source().join("index.html"), "new").unwrap();
    let mut daemon = Daemon::start(host.run());
    host.wait_until_equal(&mut daemon);
    assert_eq!(counted(&host), (0, 0, "[]".to_owned()));
}
