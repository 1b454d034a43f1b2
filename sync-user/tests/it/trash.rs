//! What is removed at a target is kept there for a time, and comes back when that is asked for.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use crate::host::{Daemon, Host, KSYNCD};
use crate::pair::{End, Pair};
use crate::site::tree;

/// A small site, and what counts of it.
fn make(root: &Path) {
    fs::create_dir_all(root.join("news/deep")).unwrap();
    fs::write(root.join("news/page"), "a page").unwrap();
    fs::write(root.join("news/deep/page"), "a deep page").unwrap();
    fs::write(root.join("index.html"), "index").unwrap();
    symlink("news/page", root.join("news/link")).unwrap();
    fs::set_permissions(root.join("news/deep"), fs::Permissions::from_mode(0o2750)).unwrap();
    fs::write(root.join("kept"), "kept").unwrap();
}

fn start(host: &Host, limit: &str) -> Daemon {
    let mut command = host.run();
    command.args(["--trash", limit]);
    let mut daemon = Daemon::start(command);
    host.wait_until_equal(&mut daemon);
    daemon
}

fn undo(root: &Path, words: &[&str]) -> Output {
    Command::new(KSYNCD).arg("undo").arg(root).args(["--since", "1h"]).args(words).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_was_removed_comes_back_as_it_was() {
    let host = Host::shared();
    make(&host.source());
    let mut daemon = start(&host, "7d");
    let before = tree(&host.target());
    fs::remove_dir_all(host.source().join("news")).unwrap();
    fs::remove_file(host.source().join("index.html")).unwrap();
    host.wait_until_equal(&mut daemon);

    let dry = undo(&host.target(), &["--dry-run"]);
    let text = said(&dry);
    assert!(text.contains("would put back news/deep/page, removed "), "{text}");
    assert!(text.ends_with("6 paths would come back, 0 were left out\n"), "{text}");
    assert!(!host.target().join("news").exists(), "nothing was done");
    let some = undo(&host.target(), &["index.html"]);
    assert!(said(&some).ends_with("1 paths came back, 0 were left out\n"), "{}", said(&some));
    let rest = undo(&host.target(), &[]);
    assert_eq!(rest.status.code(), Some(0), "{}", said(&rest));
    assert_eq!(tree(&host.target()), before);
    let none = undo(&host.target(), &[]);
    assert_eq!(said(&none), "0 paths came back, 0 were left out\n");

    // I3: to the running daemon it is what only the target has.
    fs::write(host.source().join("later"), "x").unwrap();
    daemon.wait_until("a later change arrives", || host.target().join("later").exists());
    assert_eq!(daemon.stop().status.code(), Some(0));
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("compared the");
    fs::write(host.source().join("later still"), "x").unwrap();
    daemon.wait_until("a later change arrives", || host.target().join("later still").exists());
    assert_eq!(fs::read_to_string(host.target().join("news/deep/page")).unwrap(), "a deep page");
}

#[test]
fn undo_replaces_nothing_and_says_what_it_left_out() {
    let host = Host::shared();
    make(&host.source());
    let mut daemon = start(&host, "1h");
    for round in ["first", "second"] {
        fs::write(host.source().join("news/page"), round).unwrap();
        fs::write(host.source().join("twice"), round).unwrap();
        host.wait_until_equal(&mut daemon);
        fs::remove_file(host.source().join("news/page")).unwrap();
        fs::remove_file(host.source().join("twice")).unwrap();
        host.wait_until_equal(&mut daemon);
    }
    fs::remove_dir_all(host.source().join("news")).unwrap();
    fs::remove_file(host.source().join("index.html")).unwrap();
    host.wait_until_equal(&mut daemon);
    daemon.stop();
    let outside = host.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, host.target().join("news")).unwrap();
    fs::write(host.target().join("index.html"), "written since").unwrap();
    let output = undo(&host.target(), &[]);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    let line =
        |path: &str| text.lines().find(|line| line.contains(&format!(" {path}, "))).unwrap().to_owned();
    assert!(line("index.html").ends_with(": something is there, which stays"), "{text}");
    assert!(line("news").ends_with(": something is there, which stays"), "{text}");
    assert!(line("news/page").ends_with(": a symbolic link is where its directory was"), "{text}");
    assert_eq!(fs::read_to_string(host.target().join("index.html")).unwrap(), "written since");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "I5");
    assert_eq!(fs::read_to_string(host.target().join("twice")).unwrap(), "second");
    // Nothing of it is lost.
    fs::remove_file(host.target().join("news")).unwrap();
    fs::remove_file(host.target().join("index.html")).unwrap();
    undo(&host.target(), &[]);
    assert_eq!(fs::read_to_string(host.target().join("news/page")).unwrap(), "second");
    assert_eq!(fs::read_to_string(host.target().join("index.html")).unwrap(), "index");
}

#[test]
fn only_what_was_removed_since_comes_back() {
    let host = Host::shared();
    make(&host.source());
    let mut daemon = start(&host, "1h");
    fs::remove_file(host.source().join("index.html")).unwrap();
    host.wait_until_equal(&mut daemon);
    std::thread::sleep(Duration::from_millis(2_100));
    let output =
        Command::new(KSYNCD).arg("undo").arg(host.target()).args(["--since", "1s"]).output().unwrap();
    assert_eq!(said(&output), "0 paths came back, 0 were left out\n");
    let outside = undo(&host.target(), &["/etc/passwd"]);
    assert_eq!(outside.status.code(), Some(2), "{}", String::from_utf8_lossy(&outside.stderr));
    assert!(said(&undo(&host.target(), &[])).contains("put back index.html"));
}

#[test]
fn what_is_old_enough_is_purged() {
    let host = Host::new();
    make(&host.source());
    let mut daemon = start(&host, "1s");
    fs::remove_dir_all(host.source().join("news")).unwrap();
    host.wait_until_equal(&mut daemon);
    let trash = host.target().join(".ksyncd/trash");
    assert!(trash.exists());
    daemon.wait_until("the trash is empty", || fs::read_dir(&trash).unwrap().count() == 0);
}

#[test]
fn without_a_trash_nothing_is_kept() {
    let host = Host::new();
    make(&host.source());
    let mut daemon = host.start();
    fs::remove_dir_all(host.source().join("news")).unwrap();
    host.wait_until_equal(&mut daemon);
    assert!(!host.target().join(".ksyncd/trash").exists());
    assert_eq!(said(&undo(&host.target(), &[])), "0 paths came back, 0 were left out\n");
}

/// I3: a directory that holds files of the target's own is not taken along.
#[test]
fn what_the_target_has_itself_never_goes_to_the_trash() {
    let host = Host::shared();
    make(&host.source());
    let mut daemon = start(&host, "1h");
    fs::write(host.target().join("news/own"), "own").unwrap();
    fs::write(host.target().join("index.html"), "changed there").unwrap();
    fs::remove_dir_all(host.source().join("news")).unwrap();
    fs::remove_file(host.source().join("index.html")).unwrap();
    daemon.wait_until("what is ours is gone", || !host.target().join("news/deep").exists());
    daemon.wait_until("all is answered", || host.ask("wait").status().unwrap().success());
    assert_eq!(fs::read_to_string(host.target().join("news/own")).unwrap(), "own");
    assert_eq!(fs::read_to_string(host.target().join("index.html")).unwrap(), "changed there");
}

#[test]
fn with_two_ways_what_comes_back_is_at_both_ends() {
    let pair = Pair::new();
    make(&pair.root(End::One));
    let daemons = End::BOTH.map(|end| {
        let mut command = pair.run(end);
        command.args(["--trash", "1h"]);
        Daemon::start(command)
    });
    pair.wait_until_equal(&daemons);
    let mut settled = daemons;
    for daemon in &mut settled {
        let log = daemon.shared_log();
        daemon.wait_until("the trees are merged", || log.lock().unwrap().contains(" the trees"));
    }
    pair.wait_until_equal(&settled);
    fs::remove_dir_all(pair.root(End::One).join("news")).unwrap();
    let gone = pair.root(End::Other).join("news");
    settled[0].wait_until("it is gone at the other end", || !gone.exists());
    pair.wait_until_equal(&settled);
    let output = undo(&pair.root(End::Other), &[]);
    assert!(said(&output).ends_with("5 paths came back, 0 were left out\n"), "{}", said(&output));
    let back = pair.root(End::One).join("news/deep/page");
    settled[0]
        .wait_until("it is back here", || fs::read_to_string(&back).is_ok_and(|text| text == "a deep page"));
    pair.wait_until_equal(&settled);
}
