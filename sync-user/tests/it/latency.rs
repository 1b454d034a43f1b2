//! Latencies are the same wherever they are read: from the daemon, from its log, at its end.

use std::fs;
use std::path::Path;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use crate::host::{Daemon, Host, KSYNCD};

fn json(mut command: std::process::Command) -> Value {
    command.arg("--json");
    let ended = Daemon::start(command).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn from(log: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(KSYNCD);
    command.args(["latency", "--from"]).arg(log);
    command
}

/// What the table says of each stage.
fn stages(text: &str) -> Vec<&str> {
    text.lines().skip_while(|line| !line.starts_with("stage")).collect()
}

#[test]
fn the_log_says_what_the_daemon_says() {
    let host = Host::new();
    let log = host.path().join("latency.hlog");
    let mut command = host.run();
    command.arg("--latency-log").arg(&log);
    let mut daemon = Daemon::start(command);
    daemon.wait_for_log("compared the trees");
    for number in 0..20 {
        fs::write(host.source().join(format!("page-{number}")), "12345").unwrap();
    }
    let waited = Daemon::start(host.ask("wait")).wait();
    assert_eq!(waited.status.code(), Some(0), "{}", waited.stderr);
    let live = json(host.ask("latency"));
    assert!(live["stages"]["end_to_end"]["count"].as_u64().unwrap() >= 20, "{live}");
    assert_eq!(live["stages"]["capture"], Value::Null, "fanotify does not stamp events");
    let table = Daemon::start(host.ask("latency")).wait().stdout;

    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(stages(&table), stages(&ended.stdout), "live and at the end");
    let saved = Daemon::start(from(&log)).wait().stdout;
    assert_eq!(stages(&saved), stages(&ended.stdout), "from the log");
    assert_eq!(json(from(&log))["stages"], live["stages"]);

    // Other readers of such logs skip what they do not know.
    let bytes = fs::read(&log).unwrap();
    let intervals: Vec<_> = IntervalLogIterator::new(&bytes)
        .map(|entry| entry.unwrap())
        .filter(|entry| matches!(entry, LogEntry::Interval(_)))
        .collect();
    assert!(!intervals.is_empty());

    let mut command = from(&log);
    command.arg("--hgrm");
    let percentiles = Daemon::start(command).wait().stdout;
    assert!(percentiles.contains("1/(1-Percentile)") && percentiles.contains("Total count"), "{percentiles}");

    let ended = Daemon::start(from(Path::new("/dev/null"))).wait();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("ksyncd did not write it"), "{}", ended.stderr);
}
