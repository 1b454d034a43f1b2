//! `ksyncd wait` returns when what was changed before it is at the target, and never earlier.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sync_user::control::{self, Place, Waited};
use sync_user::demo::{compare, site, workload};

use crate::host::{Daemon, Host, Memory, PATIENCE};

/// Asks as `ksyncd wait` does, without the time that a process takes.
fn wait(state: &Path, path: Option<&str>) -> Waited {
    let mut daemons = control::daemons(&[Place::new(state)]).unwrap();
    daemons[0].wait(path, Some(PATIENCE)).unwrap()
}

/// Each way to change a file has its turn, however slow the machine is.
const ROUNDS_MIN: usize = 4;

/// Changes one file of its own in a way that depends on `round`, waits, and finds it at the
/// target as it left it.
fn change_and_wait(number: usize, source: &Path, target: &Path, state: &Path, go: &AtomicBool) {
    let (mine, there) = (source.join(format!("mine-{number}")), target.join(format!("mine-{number}")));
    fs::create_dir(&mine).unwrap();
    let mut round = 0_usize;
    while go.load(Ordering::Relaxed) || round < ROUNDS_MIN {
        round += 1;
        let text = format!("round {round}");
        let name = match round % 4 {
            0 => "in-place".to_owned(),
            1 => format!("new-{round}"),
            2 => "renamed".to_owned(),
            _ => format!("deep-{round}/er/file"),
        };
        let place = mine.join(&name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        if round % 4 == 2 {
            fs::write(mine.join("temporary"), &text).unwrap();
            fs::rename(mine.join("temporary"), &place).unwrap();
        } else {
            fs::write(&place, &text).unwrap();
        }
        let outdated = mine.join(format!("new-{}", round.saturating_sub(4)));
        let was_there = fs::remove_file(&outdated).is_ok();
        let path = round.is_multiple_of(2).then(|| format!("mine-{number}"));
        let waited = wait(state, path.as_deref());
        assert!(waited.missing.is_empty(), "writer {number}, round {round}: {waited:?}");
        let found = fs::read_to_string(there.join(&name)).unwrap_or_default();
        assert_eq!(found, text, "writer {number}, round {round}: {name} is not at the target");
        if was_there {
            let outdated = there.join(outdated.file_name().unwrap());
            assert!(!outdated.exists(), "writer {number}, round {round}: {} is there", outdated.display());
        }
    }
}

/// Races several who wait with writers that never rest, for `span`; `disturb` is called meanwhile.
fn race(host: &mut Host, span: Duration, mut disturb: impl FnMut(&mut Host)) {
    let (source, target, state) = (host.source(), host.target(), host.path().join("state"));
    fs::create_dir(source.join("contested")).unwrap();
    let go = Arc::new(AtomicBool::new(true));
    let noise = {
        let contested = source.join("contested");
        thread::spawn(move || workload::collide(&contested, 0..2, span))
    };
    let waiters: Vec<_> = (0..3)
        .map(|number| {
            let (source, target, state, go) =
                (source.clone(), target.clone(), state.clone(), Arc::clone(&go));
            thread::spawn(move || change_and_wait(number, &source, &target, &state, &go))
        })
        .collect();
    while !noise.is_finished() {
        disturb(host);
        thread::sleep(Duration::from_millis(50));
    }
    noise.join().unwrap();
    go.store(false, Ordering::Relaxed);
    for waiter in waiters {
        waiter.join().unwrap();
    }
}

#[test]
fn never_returns_early_while_others_write() {
    let mut host = Host::new();
    site::make(&host.source(), 11).unwrap();
    let mut daemon = host.start_unguarded();
    race(&mut host, Duration::from_secs(6), |_| ());
    host.wait_until_equal(&mut daemon);
    assert_eq!(daemon.stop().status.code(), Some(0));
}

#[test]
fn never_returns_early_when_connections_are_cut() {
    let mut host = Host::new();
    site::make(&host.source(), 12).unwrap();
    let mut daemon = host.start_unguarded();
    let mut ticks = 0;
    race(&mut host, Duration::from_secs(8), |host| {
        ticks += 1;
        if ticks % 30 == 0 {
            host.sshd.restart().unwrap();
        }
    });
    assert!(daemon.log().contains("connecting again"), "{}", daemon.log());
    host.wait_until_equal(&mut daemon);
}

#[test]
fn waits_for_the_first_comparison_too() {
    let host = Host::new();
    site::make(&host.source(), 13).unwrap();
    fs::write(host.source().join("large"), vec![7; 30 << 20]).unwrap();
    let mut daemon = Daemon::start(host.run());
    let place = Place::new(&host.path().join("state"));
    daemon.wait_until("it can be asked", || {
        control::daemons(std::slice::from_ref(&place)).is_ok_and(|found| !found.is_empty())
    });
    assert!(wait(place.path(), None).missing.is_empty());
    assert_eq!(compare::differences(&host.source(), &host.target()).unwrap(), []);
}

#[test]
fn waits_for_a_file_that_is_open() {
    let host = Host::new();
    let _daemon = host.start();
    let mut log = fs::File::create(host.source().join("log")).unwrap();
    log.write_all(b"one line\n").unwrap();
    assert!(wait(&host.path().join("state"), None).missing.is_empty());
    assert_eq!(fs::read_to_string(host.target().join("log")).unwrap(), "one line\n");
    drop(log);
}

#[test]
fn a_path_need_not_wait_for_what_fails_elsewhere() {
    let host = Host::new();
    let _memory = Memory::mount(&host.target(), "size=1M");
    fs::write(host.source().join("large"), vec![5; 3 << 20]).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("cannot write");
    fs::write(host.source().join("page"), "fits").unwrap();
    assert!(wait(&host.path().join("state"), Some("page")).missing.is_empty());
    assert_eq!(fs::read_to_string(host.target().join("page")).unwrap(), "fits");

    let mut command = host.ask("wait");
    command.args(["--timeout", "2s"]);
    let ended = Daemon::start(command).wait();
    assert_eq!(ended.status.code(), Some(3));
    let expected = "\n    large: cannot write the file at the target: it takes 3.0 MiB there";
    assert!(ended.stderr.contains(expected), "{}", ended.stderr);
}
