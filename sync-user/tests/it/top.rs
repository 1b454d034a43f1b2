//! `ksyncd top` on a terminal of the test's own: what it shows, and that the terminal is as before.

use std::fs;

use nix::sys::signal::Signal;

use crate::host::{Daemon, Host};
use crate::terminal::OnTerminal;

fn top(host: &Host) -> OnTerminal {
    let mut command = host.ask("top");
    command.args(["--interval", "200ms"]);
    OnTerminal::start(command)
}

#[test]
fn shows_what_happens_and_gives_the_terminal_back() {
    let host = Host::new();
    fs::create_dir(host.source().join("images")).unwrap();
    let mut daemon = host.start();
    let mut top = top(&host);
    top.wait_until_shown("the target", |text| text.contains("127.0.0.1:") && text.contains(" up "));
    assert!(top.has_taken_over());
    for number in 0..50 {
        fs::write(host.source().join(format!("images/{number}.jpg")), "picture").unwrap();
    }
    host.wait_until_equal(&mut daemon);
    // What happened is told here as it is by `ksyncd status` and `ksyncd latency`.
    top.wait_until_shown("the busiest directory", |text| {
        text.contains(" images") && text.contains("no problems")
    });
    top.wait_until_shown("latencies", |text| {
        text.lines().any(|line| line.starts_with("end to end") && !line.contains(" -"))
    });
    let seen = host.target_status();
    assert_eq!((seen.lag_changes, seen.problems.len()), (0, 0));
    top.press(b"q");
    assert_eq!(top.ends(), Some(0));
}

#[test]
fn goes_on_when_the_daemon_is_started_again_and_ends_in_order() {
    let host = Host::new();
    let daemon = host.start();
    let top = top(&host);
    top.wait_until_shown("the daemon", |text| text.contains("running"));
    drop(daemon);
    top.wait_until_shown("the end of the daemon", |text| text.contains("No daemon is running any more"));
    let _daemon = Daemon::start(host.run());
    top.wait_until_shown("the next daemon", |text| text.contains("running "));
    top.signal(Signal::SIGTERM);
    assert_eq!(top.ends(), Some(0));
}

#[test]
fn says_what_to_use_where_there_is_no_terminal() {
    let host = Host::new();
    let ended = Daemon::start(host.ask("top")).wait();
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("hint: use ksyncd status"), "{}", ended.stderr);
}
