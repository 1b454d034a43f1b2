//! Removals that look like an accident are held until a person decides, and all else goes on.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use nix::unistd::{UnlinkatFlags, unlinkat};
use sync_user::control::{HeldTarget, WhyState};

use crate::host::{Daemon, Host, Memory};
use crate::pair::{End, Pair};

/// Fewer are no flood.
const FLOOD_MIN: usize = 100;

/// Four directories of 120 pages.
const DIRECTORIES: [&str; 4] = ["blog", "img", "news", "shop"];
const PAGES: usize = 120;
const PATHS: usize = DIRECTORIES.len() * (PAGES + 1);

fn make(root: &Path) {
    for directory in DIRECTORIES {
        fill(&root.join(directory));
    }
}

fn fill(directory: &Path) {
    fs::create_dir(directory).unwrap();
    for number in 0..PAGES {
        fs::write(directory.join(format!("page-{number}")), format!("{} {number}", directory.display()))
            .unwrap();
    }
}

/// A replicated site, in which everything but one page is then removed.
fn emptied() -> (Host, Daemon) {
    let host = Host::new();
    make(&host.source());
    // An empty source is another matter.
    fs::write(host.source().join("robots.txt"), "").unwrap();
    let mut daemon = host.start();
    empty(&host.source());
    daemon.wait_for_log("removals are held");
    (host, daemon)
}

fn empty(root: &Path) {
    for directory in DIRECTORIES {
        fs::remove_dir_all(root.join(directory)).unwrap();
    }
}

/// How many of the site's paths are there.
fn count(root: &Path) -> usize {
    let below = |directory: &str| fs::read_dir(root.join(directory)).map_or(0, |entries| entries.count() + 1);
    DIRECTORIES.map(below).iter().sum()
}

fn deletes(state: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(crate::host::KSYNCD);
    command.arg("deletes").args(words).arg("--state-dir").arg(state);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn of_host(host: &Host, words: &[&str]) -> String {
    String::from_utf8(deletes(&host.path().join("state"), words).stdout).unwrap()
}

fn held(host: &Host) -> HeldTarget {
    serde_json::from_str(&of_host(host, &["list", "--json"])).unwrap()
}

#[test]
fn a_mass_removal_is_held_and_the_rest_goes_on() {
    let (host, mut daemon) = emptied();
    let left = count(&host.target());
    assert!(left > PATHS - FLOOD_MIN, "{left} of {PATHS}: {}", daemon.log());
    // Everything else is replicated.
    fs::write(host.source().join("index.html"), "we are back soon").unwrap();
    let page = host.target().join("index.html");
    daemon.wait_until("a new page arrives", || page.exists());
    assert_eq!(count(&host.target()), left);

    let status = host.target_status();
    assert_eq!(status.held_removals, left as u64, "{}", daemon.log());
    let text = String::from_utf8(host.ask("status").output().unwrap().stdout).unwrap();
    assert!(text.contains(&format!("held      {left} removals for ")), "{text}");
    let list = of_host(&host, &["list"]);
    assert!(
        list.contains(&format!("{left} removals are held")) && list.contains("  shop (121 paths)"),
        "{list}"
    );
    // It is said, and not waited for.
    let waited = host.ask("wait").output().unwrap();
    let said = String::from_utf8(waited.stderr).unwrap();
    assert_eq!(waited.status.code(), Some(3), "{said}");
    assert!(said.contains(&format!("{left} removals are held until a person decides")), "{said}");
    assert!(host.ask("wait").args(["--path", "index.html"]).status().unwrap().success());
    let why = host.ask("why").args(["shop/page-7", "--json"]).output().unwrap();
    let why: sync_user::control::Why = serde_json::from_slice(&why.stdout).unwrap();
    assert_eq!(why.targets[0].state, WhyState::Different);
    assert!(why.sentence.contains("that is held until a person decides"), "{}", why.sentence);
    assert_eq!(daemon.log().matches(" WARN ").count(), 1, "once: {}", daemon.log());
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn what_is_approved_is_removed() {
    let (host, mut daemon) = emptied();
    let said = of_host(&host, &["approve"]);
    assert!(said.contains("removals are approved"), "{said}");
    host.wait_until_equal(&mut daemon);
    assert_eq!(count(&host.target()), 0);
    assert_eq!((held(&host).held, host.target_status().held_removals), (0, 0));
    assert_eq!(of_host(&host, &["approve"]), "no removals are held\n");
    assert!(host.ask("wait").status().unwrap().success());
}

/// I3, I4.
#[test]
fn what_is_rejected_stays_and_is_not_ours_any_more() {
    let (host, daemon) = emptied();
    let left = count(&host.target());
    of_host(&host, &["reject"]);
    assert_eq!(held(&host).held, 0);
    assert!(host.ask("wait").status().unwrap().success());
    assert_eq!(daemon.stop().status.code(), Some(0));
    // Nor does the next run, by its ledger or by a listing, take it for its own.
    for _ in 0..2 {
        let mut daemon = Daemon::start(host.run());
        daemon.wait_for_log("compared the");
        fs::write(host.source().join("index.html"), "x").unwrap();
        daemon.wait_until("all is replicated", || host.ask("wait").status().unwrap().success());
        assert_eq!(count(&host.target()), left, "{}", daemon.log());
        assert_eq!(daemon.stop().status.code(), Some(0));
        assert!(host.ask_state("reset").status().unwrap().success());
    }
    let mut daemon = Daemon::start(host.run());
    fs::create_dir(host.source().join("shop")).unwrap();
    fs::write(host.source().join("shop/page-7"), "written anew").unwrap();
    let page = host.target().join("shop/page-7");
    daemon
        .wait_until("it is replaced", || fs::read_to_string(&page).is_ok_and(|text| text == "written anew"));
}

#[test]
fn a_restart_goes_on_holding() {
    let (host, daemon) = emptied();
    let left = count(&host.target());
    assert_eq!(daemon.stop().status.code(), Some(0));
    // By now it would be less than a quarter.
    for number in 0..4 * PATHS {
        fs::write(host.source().join(format!("new-{number}")), "").unwrap();
    }
    let mut daemon = Daemon::start(host.run());
    let last = host.target().join(format!("new-{}", 4 * PATHS - 1));
    daemon.wait_until("the rest is replicated", || last.exists());
    assert_eq!(held(&host).held, left as u64, "{}", daemon.log());
    // A flood that is allowed is made after a second.
    for number in 0..FLOOD_MIN {
        fs::remove_file(host.source().join(format!("new-{number}"))).unwrap();
    }
    let gone = |number: usize| !host.target().join(format!("new-{number}")).exists();
    daemon.wait_until("what is allowed is gone", || (0..FLOOD_MIN).all(gone));
    assert_eq!((count(&host.target()), held(&host).held), (left, left as u64), "{}", daemon.log());
    of_host(&host, &["approve"]);
    host.wait_until_equal(&mut daemon);
}

#[test]
fn a_killed_run_leaves_what_was_held() {
    let (host, daemon) = emptied();
    let left = count(&host.target());
    daemon.signal(nix::sys::signal::Signal::SIGKILL);
    daemon.wait();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("compared the");
    daemon.wait_until("it is held again", || held(&host).held == left as u64);
    assert_eq!(count(&host.target()), left);
}

#[test]
fn what_comes_back_is_not_held() {
    let (host, mut daemon) = emptied();
    let before = held(&host).held;
    fill(&host.source().join("shop"));
    daemon.wait_until("what is back is not held", || held(&host).held <= before - PAGES as u64);
    let page = host.target().join("shop/page-7");
    let same = || fs::read(&page).ok() == fs::read(host.source().join("shop/page-7")).ok();
    daemon.wait_until("it is replicated", same);
    assert!(count(&host.target()) >= before as usize, "the rest stays");
    for directory in ["blog", "img", "news"] {
        fill(&host.source().join(directory));
    }
    host.wait_until_equal(&mut daemon);
    assert_eq!(host.target_status().held_removals, 0);
}

#[test]
fn removals_by_the_handful_are_made_at_once() {
    let host = Host::new();
    make(&host.source());
    // However little is allowed.
    let mut command = host.run();
    command.args(["--max-delete", "0"]);
    let mut daemon = Daemon::start(command);
    host.wait_until_equal(&mut daemon);
    for number in 0..FLOOD_MIN - 10 {
        fs::remove_file(host.source().join(format!("blog/page-{number}"))).unwrap();
    }
    host.wait_until_equal(&mut daemon);
    assert!(!daemon.log().contains("held"), "{}", daemon.log());
}

#[test]
fn a_tree_below_the_floor_may_go_as_a_whole() {
    let host = Host::new();
    fs::create_dir(host.source().join("few")).unwrap();
    for number in 0..FLOOD_MIN - 10 {
        fs::write(host.source().join(format!("few/{number}")), "x").unwrap();
    }
    let mut daemon = host.start();
    fs::remove_dir_all(host.source().join("few")).unwrap();
    host.wait_until_equal(&mut daemon);
    assert!(!daemon.log().contains("held"), "{}", daemon.log());
}

/// While it is seen, and while nobody looks.
#[test]
fn what_is_renamed_is_not_removed() {
    let host = Host::new();
    let source = host.source();
    make(&source);
    let mut daemon = host.start();
    for directory in DIRECTORIES {
        fs::rename(source.join(directory), source.join(format!("old-{directory}"))).unwrap();
    }
    host.wait_until_equal(&mut daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));
    for directory in DIRECTORIES {
        fs::rename(source.join(format!("old-{directory}")), source.join(directory)).unwrap();
    }
    let mut daemon = host.start();
    assert_eq!(held(&host).held, 0);
    assert!(!daemon.log().contains("held"), "{}", daemon.log());
    daemon.wait_until("it is settled", || host.ask("wait").status().unwrap().success());
}

/// A deployment that removes a directory only to write it anew.
#[test]
fn what_is_written_anew_meanwhile_never_goes() {
    let host = Host::new();
    let source = host.source();
    make(&source);
    let mut daemon = host.start();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let kept = inode(&host.target().join("shop"));
    empty(&source);
    make(&source);
    // Of what was there, a few pages are no more.
    for number in 0..10 {
        fs::remove_file(source.join(format!("shop/page-{number}"))).unwrap();
    }
    host.wait_until_equal(&mut daemon);
    assert!(!daemon.log().contains("removals are held"), "{}", daemon.log());
    assert_eq!(inode(&host.target().join("shop")), kept, "it was never away");
}

/// Once the flood is long over; and a rename takes nothing along that is held.
#[test]
fn later_changes_are_made_beside_what_is_held() {
    let host = Host::new();
    let (source, target) = (host.source(), host.target());
    make(&source);
    let mut daemon = host.start();
    for directory in DIRECTORIES {
        for number in 1..PAGES {
            fs::remove_file(source.join(format!("{directory}/page-{number}"))).unwrap();
        }
    }
    daemon.wait_for_log("removals are held");
    daemon.wait_until("that was long ago", || host.target_status().held_seconds > 11.0);
    let before = held(&host).held;
    fs::remove_file(source.join("shop/page-0")).unwrap();
    daemon.wait_until("one page is removed", || !target.join("shop/page-0").exists());
    assert_eq!(held(&host).held, before);
    fs::rename(source.join("blog"), source.join("old")).unwrap();
    daemon.wait_until("the directory has its new name", || target.join("old/page-0").exists());
    daemon.wait_until("all is answered", || !target.join("blog/page-0").exists());
    assert!(target.join("blog/page-119").exists() && !target.join("old/page-119").exists());
    of_host(&host, &["approve"]);
    host.wait_until_equal(&mut daemon);
}

#[test]
fn max_delete_of_100_holds_nothing() {
    let host = Host::new();
    make(&host.source());
    let mut command = host.run();
    command.args(["--max-delete", "100"]);
    let mut daemon = Daemon::start(command);
    host.wait_until_equal(&mut daemon);
    empty(&host.source());
    host.wait_until_equal(&mut daemon);
}

#[test]
fn each_target_is_decided_about_by_itself() {
    let host = Host::new();
    make(&host.source());
    let other = host.path().join("other");
    let mut command = host.run();
    command.arg("--target").arg(format!("127.0.0.1:{}", other.display()));
    let mut daemon = Daemon::start(command);
    host.wait_until_equal(&mut daemon);
    daemon.wait_until("the other is equal", || count(&other) == PATHS);
    empty(&host.source());
    let log = daemon.shared_log();
    daemon.wait_until("both hold it", || log.lock().unwrap().matches("removals are held, as").count() == 2);
    let left = count(&host.target());
    of_host(&host, &["approve", "--target", "/other"]);
    daemon.wait_until("it is gone at the other", || count(&other) == 0);
    assert_eq!(count(&host.target()), left);
    let list = of_host(&host, &["list"]);
    assert!(list.contains("/target: ") && !list.contains("/other: "), "{list}");
}

/// With a file system that is unmounted lazily while it is used, as an administrator would.
#[test]
fn an_unmounted_root_removes_nothing() {
    let host = Host::new();
    let memory = Memory::mount(&host.source(), "size=16M");
    make(&host.source());
    let mut daemon = host.start();
    let inside = fs::File::open(host.source().join("blog")).unwrap();
    drop(memory);
    for number in 0..PAGES {
        unlinkat(&inside, format!("page-{number}").as_str(), UnlinkatFlags::NoRemoveDir).unwrap();
    }
    daemon.wait_for_log("nothing removed");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(count(&host.target()), PATHS, "I3: {}", daemon.log());
}

/// I8: what one end has rejected to lose is at both ends.
#[test]
fn with_two_ways_what_is_rejected_comes_back() {
    let pair = Pair::new();
    make(&pair.root(End::One));
    let daemons = pair.start_both();
    pair.wait_until_equal(&daemons);
    empty(&pair.root(End::One));
    let [mut one, other] = daemons;
    one.wait_for_log("removals are held");
    let left = count(&pair.root(End::Other));
    assert!(left > PATHS - FLOOD_MIN, "{left}");
    deletes(&pair.state(End::One), &["reject"]);
    pair.wait_until_equal(&[one, other]);
    assert_eq!(count(&pair.root(End::One)), left);
}
