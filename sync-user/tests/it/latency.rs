//! Latencies are the same wherever they are read: from the daemon, from its log, at its end.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::host::{Daemon, Host, KSYNCD};

fn json(mut command: Command) -> Value {
    command.arg("--json");
    let ended = Daemon::start(command).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    serde_json::from_str(&ended.stdout).unwrap()
}

fn from(log: &Path) -> Command {
    let mut command = Command::new(KSYNCD);
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

    let mut command = from(&log);
    command.arg("--hgrm");
    let percentiles = Daemon::start(command).wait().stdout;
    assert!(percentiles.contains("1/(1-Percentile)") && percentiles.contains("Total count"), "{percentiles}");

    let ended = Daemon::start(from(Path::new("/dev/null"))).wait();
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains("ksyncd did not write it"), "{}", ended.stderr);
}

/// What `ksyncd latency` ends with, and what it says.
fn latency(command: Command, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = command;
    command.args(words);
    let ended = Daemon::start(command).wait();
    (ended.status.code(), ended.stdout, ended.stderr)
}

#[test]
fn a_part_is_shown_when_it_is_asked_for() {
    let host = Host::new();
    let log = host.path().join("latency.hlog");
    let other = host.path().join("other");
    let mut command = host.run();
    command.arg("--target").arg(format!("127.0.0.1:{}", other.display())).arg("--latency-log").arg(&log);
    let mut daemon = Daemon::start(command);
    daemon.wait_until("both are up", || {
        Daemon::start(host.ask("status")).wait().stdout.matches("state     up").count() == 2
    });
    for number in 0..20 {
        fs::write(host.source().join(format!("page-{number}")), "12345").unwrap();
    }
    assert_eq!(Daemon::start(host.ask("wait")).wait().status.code(), Some(0));
    let asked = |words: &[&str]| latency(host.ask("latency"), words);
    let said = |words: &[&str]| {
        let (status, stdout, stderr) = asked(words);
        assert_eq!(status, Some(0), "{words:?}: {stderr}");
        stdout
    };
    let count = |words: &[&str]| {
        let value: Value = serde_json::from_str(&said(words)).unwrap();
        value["stages"]["end_to_end"]["count"].as_u64().unwrap_or(0)
    };

    // Live: of one target, of one stage, drawn.
    let (all, one) = (count(&["--json"]), count(&["--json", "--target", "/other"]));
    assert!(one >= 20 && all == one + count(&["--json", "--target", "/target"]), "{one} of {all}");
    let table = said(&["--target", "/other"]);
    assert!(table.contains(&format!("-> 127.0.0.1:{}\n", other.display())), "{table}");
    let table = said(&["--stage", "apply"]);
    assert!(table.contains("\napply  ") && !table.contains("\nship  "), "{table}");
    assert!(table.contains("\napply: what the target took\n"), "{table}");
    assert!(said(&["--hgrm", "--stage", "apply"]).contains("1/(1-Percentile)"));
    let picture = host.path().join("latency.svg");
    said(&["--svg", picture.to_str().unwrap()]);
    let picture = fs::read_to_string(&picture).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("end to end"), "{picture}");

    let (status, _, stderr) = asked(&["--target", "web9"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains("no target is called \"web9\": there are 127.0.0.1:"), "{stderr}");
    let (status, _, stderr) = asked(&["--svg", "/dev/null/latency.svg"]);
    assert_eq!(status, Some(1));
    assert!(stderr.contains("write /dev/null/latency.svg: "), "{stderr}");
    assert_eq!(asked(&["--watch=1ms"]).0, Some(2));

    // The log that the daemon keeps has the last part.
    daemon.wait_until("an interval is in the log", || fs::read_to_string(&log).unwrap().contains("#ksyncd "));
    assert_eq!(count(&["--json", "--since", "1h"]), all);
    assert_eq!(count(&["--json", "--since", "1h", "--target", "/other"]), one);

    // Again and again, until the daemon ends.
    let mut watching = host.ask("latency");
    watching.args(["--watch=100ms", "--stage", "ship"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watching = watching.spawn().unwrap();
    let mut shown = watching.stdout.take().unwrap();
    let mut text = read_until(&mut shown, "ksyncd latency  ", 3);
    assert_eq!(daemon.stop().status.code(), Some(0));
    shown.read_to_string(&mut text).unwrap();
    assert!(!text.contains('\x1b'), "what is no terminal gets text alone: {text}");
    // There is nobody left to ask, or who was asked has ended meanwhile.
    let status = watching.wait().unwrap().code();
    assert!(matches!(status, Some(75 | 1)), "{status:?}");

    // On a terminal in place, without any colour.
    let watched = |terminal: &str| {
        let command = format!("{KSYNCD} latency --watch=100ms --from {}", log.display());
        let mut script = Command::new("script");
        script.args(["--quiet", "--flush", "--command", &command, "/dev/null"]).env("TERM", terminal);
        let mut script = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let text = read_until(&mut script.stdout.take().unwrap(), "ksyncd latency  ", 2);
        script.kill().unwrap();
        script.wait().unwrap();
        text
    };
    let text = watched("xterm");
    let before: Vec<&str> = text.split("ksyncd latency  ").take(2).collect();
    assert_eq!(before[0], "\x1b[H\x1b[J", "{text:?}");
    assert!(before[1].ends_with("\x1b[H\x1b[J") && before[1].matches('\x1b').count() == 2, "{text:?}");
    assert!(!watched("dumb").contains('\x1b'));
}

/// What comes until a text has come so many times.
fn read_until(from: &mut impl Read, text: &str, times: usize) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while String::from_utf8_lossy(&all).matches(text).count() < times {
        let count = from.read(&mut buffer).unwrap();
        assert!(count > 0, "it has ended: {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn a_daemon_without_a_log_says_so() {
    let host = Host::new();
    let mut daemon = Daemon::start(host.run());
    daemon.wait_for_log("compared the trees");
    let (status, _, stderr) = latency(host.ask("latency"), &["--since", "10m"]);
    assert_eq!(status, Some(1));
    let stderr = stderr.replace(&host.path().display().to_string(), "[host]");
    insta::assert_snapshot!(stderr, @r#"
ksyncd: the daemon of [host]/source keeps no latency log, so nobody knows what was when
  hint: set latency_log, or leave out --since for all since the daemon was started
"#);
}
