//! Whoever asks a running daemon is told how it is, and cannot disturb it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use sync_user::control::Status;
use sync_user::demo::site;

use crate::host::{Daemon, Ended, Host, Memory};

fn status(host: &Host) -> (Option<i32>, Status) {
    let mut command = host.ask("status");
    command.arg("--json");
    let Ended { status, stdout, stderr } = Daemon::start(command).wait();
    (status.code(), serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}{stderr}")))
}

#[test]
fn tells_what_was_shipped_and_that_nothing_is_behind() {
    let host = Host::new();
    site::make(&host.source(), 3).unwrap();
    let mut daemon = host.start();
    fs::write(host.source().join("page"), "12345").unwrap();
    daemon.wait_until("the change is acknowledged", || {
        let (_, status) = status(&host);
        status.targets[0].changes_shipped > 0 && status.targets[0].lag_changes == 0
    });
    let (code, status) = status(&host);
    assert_eq!(code, Some(0));
    assert_eq!((status.process, status.rescans, status.lost_events), (daemon.id(), 1, 0));
    assert_eq!(status.source, host.source().display().to_string());
    assert_eq!(status.capture.unwrap().backend, "fanotify");
    let target = &status.targets[0];
    assert_eq!(target.name, format!("127.0.0.1:{}", host.target().display()));
    assert_eq!((target.state.as_str(), target.put_off), ("up", 0));
    assert!(target.lag_seconds.abs() < f64::EPSILON, "{target:?}");
    assert!(target.bytes_shipped > 5, "{target:?}");
    assert!(target.error.is_none() && target.problems.is_empty());

    let text = Daemon::start(host.ask("status")).wait().stdout;
    assert!(text.contains("\nlag       0, 0 changes\n"), "{text}");
}

#[test]
fn tells_that_a_target_is_away_and_what_waits_for_it() {
    let mut host = Host::new();
    let mut daemon = host.start();
    host.sshd.stop();
    daemon.wait_for_log("connecting again");
    fs::write(host.source().join("page"), "12345").unwrap();
    daemon.wait_until("the change is waiting", || status(&host).1.targets[0].lag_changes > 0);
    let (code, seen) = status(&host);
    assert_eq!(code, Some(3), "a target is not connected");
    let target = &seen.targets[0];
    assert_eq!(target.state, "down");
    assert!(target.lag_seconds > 0.0);
    assert!(target.error.is_some());
    host.sshd.restart().unwrap();
    daemon.wait_until("it has caught up", || {
        let (code, status) = status(&host);
        code == Some(0) && status.targets[0].state == "up" && status.targets[0].lag_changes == 0
    });
    let (_, seen) = status(&host);
    assert!(seen.targets[0].error.is_some(), "what was overcome is still told");
}

#[test]
fn tells_what_cannot_be_replicated_until_it_can() {
    let host = Host::new();
    let memory = Memory::mount(&host.target(), "size=1M");
    fs::write(host.source().join("large"), vec![5; 3 << 20]).unwrap();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("cannot write");
    let (_, seen) = status(&host);
    let problem = &seen.targets[0].problems[0];
    assert_eq!(problem.path, "large");
    assert!(problem.problem.what.contains("it takes 3.0 MiB there"), "{problem:?}");
    memory.remount("size=8M");
    host.wait_until_equal(&mut daemon);
    daemon.wait_until("the problem is gone", || status(&host).1.targets[0].problems.is_empty());
}

#[test]
fn is_not_disturbed_by_nonsense() {
    let host = Host::new();
    let daemon = host.start();
    let socket = host.path().join(format!("state/control-{}-0.sock", daemon.id()));
    let say = |text: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // It may have refused and closed before all was written.
        let _refused = stream.write_all(text);
        let _closed = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    assert!(say(b"hello\n").starts_with(r#"{"error":"understand the request: "#));
    assert_eq!(say(b"{\"request\":\"status\"").as_str(), "", "a request ends with its line");
    let two = say(b"{\"request\":\"status\"}\n{\"request\":\"status\"}\n");
    assert_eq!(two.lines().filter(|line| line.starts_with(r#"{"answer":"#)).count(), 2);
    say(&vec![b'x'; 1 << 20]);
    let idle: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    drop(idle);
    let mut daemon = daemon;
    daemon.wait_until("it answers again", || Daemon::start(host.ask("status")).wait().status.success());
    assert_eq!(daemon.stop().status.code(), Some(0));
    assert!(!socket.exists(), "the socket is removed at the end");
}

#[test]
fn a_file_says_how_it_is_to_whoever_reads_files() {
    let host = Host::new();
    let file = host.path().join("status");
    let mut command = host.run();
    command.arg("--status-file").arg(&file);
    let mut daemon = Daemon::start(command);
    // Written before anything else, and again and again.
    let read = || fs::read_to_string(&file).unwrap_or_default();
    daemon.wait_until("the file says that the target is up", || read().contains("\nstate     up for "));
    assert!(
        read().starts_with("written   20")
            && read().contains(&format!("source    {}", host.source().display()))
    );
    daemon.stop();

    let mut command = host.run();
    command.arg("--status-file").arg(host.path().join("missing/status"));
    let ended = Daemon::start(command).wait();
    assert!(ended.stderr.contains("missing/status: No such file or directory"), "{}", ended.stderr);
    assert!(ended.stderr.contains("give a file that this user may write: --status-file"), "{}", ended.stderr);
}
