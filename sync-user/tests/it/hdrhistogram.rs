//! Other programs read our latency logs, and find what we find: the judge is `HdrHistogram` for Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::host::{Daemon, Host, KSYNCD};

/// Reads a log by that library alone, and says what is in it: an object of the counts and
/// percentiles of each tag.
const READER: &str = r#"
import json, math, sys
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

HOUR = 3600 * 1000 * 1000 * 1000
reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, HOUR, 3))
tags, intervals = {}, 0
while True:
    interval = reader.get_next_interval_histogram()
    if interval is None:
        break
    intervals += 1
    tags.setdefault(interval.get_tag(), HdrHistogram(1, HOUR, 3)).add(interval)
quantiles = {"p50_seconds": 0.5, "p90_seconds": 0.9, "p99_seconds": 0.99, "p999_seconds": 0.999, "max_seconds": 1}

def at(all, quantile):
    # Of a part of a value this library takes the nearest, and we the next: so it is asked for whole ones.
    count = all.get_total_count()
    return all.get_value_at_percentile(100 * math.ceil(quantile * count - 1e-9) / count) / 1e9

stages = {
    tag: {"count": all.get_total_count()} | {name: at(all, quantile) for name, quantile in quantiles.items()}
    for tag, all in tags.items()
}
print(json.dumps({"intervals": intervals, "stages": stages}))
"#;

/// What that library finds in a log.
fn judged(log: &Path) -> Value {
    let python: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python");
    assert!(
        python.exists(),
        "HdrHistogram for Python is not in target/python: `cargo xtask test --only tests` installs it there"
    );
    let output = Command::new(&python).args(["-c", READER]).arg(log).output().unwrap();
    assert!(
        output.status.success(),
        "{} cannot read {}; if a module is missing, remove target/python and let `cargo xtask test` install it\n{}",
        python.display(),
        log.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn latency(words: &[&str], log: &Path) -> String {
    let mut command = Command::new(KSYNCD);
    command.arg("latency").args(words).arg("--from").arg(log);
    let ended = Daemon::start(command).wait();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
    ended.stdout
}

/// The counts and percentiles that `ksyncd latency` has of a stage are those of the judge.
fn assert_agreed(judged: &Value, tag: &str, ours: &Value, stage: &str) {
    let (theirs, ours) = (&judged["stages"][tag], &ours["stages"][stage]);
    assert_eq!(theirs["count"], ours["count"], "{tag}: {judged}");
    for name in ["p50_seconds", "p90_seconds", "p99_seconds", "p999_seconds", "max_seconds"] {
        let (theirs, ours) = (theirs[name].as_f64().unwrap(), ours[name].as_f64().unwrap());
        // Three significant digits: either may name another value of the same bucket.
        assert!((theirs - ours).abs() <= ours * 1e-3, "{tag} {name}: {theirs} and {ours}");
    }
}

#[test]
fn percentiles_are_the_same_by_another_library() {
    let host = Host::new();
    let log = host.path().join("latency.hlog");
    // Two targets, one with a name that has to be written in another way in a tag; two runs.
    let other = host.path().join("replica, the other");
    for run in 0..2 {
        let mut command = host.run();
        command.arg("--target").arg(format!("127.0.0.1:{}", other.display()));
        command.arg("--latency-log").arg(&log);
        let mut daemon = Daemon::start(command);
        daemon.wait_until("both are up", || {
            let ended = Daemon::start(host.ask("status")).wait();
            ended.stdout.matches("state     up").count() == 2
        });
        for number in 0..30 {
            fs::write(host.source().join(format!("page-{run}-{number}")), vec![b'x'; 100 * number]).unwrap();
        }
        let waited = Daemon::start(host.ask("wait")).wait();
        assert_eq!(waited.status.code(), Some(0), "{}", waited.stderr);
        assert_eq!(daemon.stop().status.code(), Some(0));
    }

    let found = judged(&log);
    let ours: Value = serde_json::from_str(&latency(&["--json"], &log)).unwrap();
    for stage in ["queue", "batch", "ship", "apply", "end_to_end"] {
        assert_agreed(&found, stage, &ours, stage);
    }
    assert!(ours["stages"]["end_to_end"]["count"].as_u64().unwrap() >= 120, "two targets, 60 pages: {ours}");
    let target = format!("127.0.0.1:{}", other.display());
    let ours: Value = serde_json::from_str(&latency(&["--json", "--target", "the other"], &log)).unwrap();
    assert_eq!(ours["targets"], serde_json::json!([target]));
    for stage in ["batch", "ship", "apply", "end_to_end"] {
        let tag = format!("{stage}:{}", target.replace(',', "%2c").replace(' ', "%20"));
        assert_agreed(&found, &tag, &ours, stage);
    }

    // What --hlog prints is a log like any other.
    let one = host.path().join("one.hlog");
    fs::write(&one, latency(&["--hlog", "--stage", "ship"], &log)).unwrap();
    let again = judged(&one);
    assert_eq!(
        (&again["intervals"], again["stages"].as_object().unwrap().len()),
        (&Value::from(1), 1),
        "{again}"
    );
    assert_eq!(again["stages"]["ship"], found["stages"]["ship"]);
}
