//! Whoever waits for a target to become equal sees how far that is.

use std::fs;

use nix::sys::signal::Signal;

use crate::host::{Daemon, Host, noise};
use crate::terminal::OnTerminal;

/// More than goes at once at the rate of these tests.
fn fill(host: &Host) {
    for number in 0..40 {
        fs::write(host.source().join(number.to_string()), noise(number, 64 << 10)).unwrap();
    }
}

fn slow_run(host: &Host) -> std::process::Command {
    let mut command = host.run();
    command.args(["--bwlimit", "256KiB"]);
    command
}

#[test]
fn a_terminal_shows_a_bar_while_a_target_catches_up() {
    let host = Host::new();
    fill(&host);
    let daemon = OnTerminal::start(slow_run(&host));
    daemon
        .wait_until_shown("how far it is", |text| text.contains(" steps, ") && text.contains(" of 2.5 MiB"));
    daemon.wait_until_shown("how long it takes", |text| text.contains("left"));
    daemon.wait_until_shown("the log beside it", |text| text.contains("connected"));
    daemon.signal(Signal::SIGTERM);
    daemon.signal(Signal::SIGTERM);
}

#[test]
fn the_status_says_how_far_a_target_is() {
    let host = Host::new();
    fill(&host);
    let mut daemon = Daemon::start(slow_run(&host));
    let mut parts = Vec::new();
    daemon.wait_until("some of it is done", || {
        let status = host.ask("status").arg("--json").output().unwrap();
        let Ok(status) = serde_json::from_slice::<sync_user::control::Status>(&status.stdout) else {
            return false;
        };
        if let Some(catching_up) = status.targets[0].catching_up {
            assert!(catching_up.steps >= 40 && catching_up.bytes == 40 * (64 << 10), "{catching_up:?}");
            assert!(catching_up.steps_done < catching_up.steps, "{catching_up:?}");
            parts.push(catching_up.bytes_done);
        }
        parts.last() > parts.first()
    });
    assert!(parts.is_sorted(), "{parts:?}");
}
