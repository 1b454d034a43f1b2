//! Lag, counts and latency are the same wherever an operator reads them: by `status`, `latency`, `top`,
//! the page and Prometheus.

use std::fs;

use serde_json::Value;

use crate::host::{Daemon, Host};
use crate::http::{get, parse};
use crate::terminal::OnTerminal;

/// Changes that wait for a target that is away.
const WAITING: usize = 7;

/// A daemon with everything that can be read of it.
struct Watched {
    host: Host,
    daemon: Daemon,
    address: String,
    top: OnTerminal,
}

impl Watched {
    fn new() -> Self {
        let host = Host::new();
        let mut command = host.run();
        command.args(["--metrics-listen", "127.0.0.1:0"]);
        let mut daemon = Daemon::start(command);
        host.wait_until_equal(&mut daemon);
        let address = daemon.address();
        let mut command = host.ask("top");
        command.args(["--interval", "200ms"]);
        let top = OnTerminal::start(command);
        Self { host, daemon, address, top }
    }

    fn page(&self) -> String {
        get(&self.address, "/").1
    }

    /// What Prometheus reads of the target.
    fn metric(&self, name: &str) -> f64 {
        let labels = format!(
            "{{sync=\"{}\",target=\"127.0.0.1:{}\"}}",
            self.host.source().display(),
            self.host.target().display()
        );
        parse(&get(&self.address, "/metrics").1)[&format!("{name}{labels}")]
    }

    /// What `ksyncd latency` tells of a stage.
    fn latency(&self, stage: &str) -> Value {
        let mut command = self.host.ask("latency");
        command.arg("--json");
        let told = Daemon::start(command).wait().stdout;
        let told: Value = serde_json::from_str(&told).unwrap();
        told["stages"][stage].clone()
    }

    /// What Prometheus reads of the latency from end to end: the sum in seconds, and how many.
    fn end_to_end(&self) -> (f64, f64) {
        let samples = parse(&get(&self.address, "/metrics").1);
        let of = |suffix: &str| {
            let source = self.host.source();
            let labels = format!("{{sync=\"{}\",stage=\"end_to_end\"}}", source.display());
            samples[&format!("ksyncd_stage_latency_seconds_{suffix}{labels}")]
        };
        (of("sum"), of("count"))
    }
}

fn assert_same(what: &str, one: f64, other: f64) {
    assert!((one - other).abs() < 0.5, "{what}: {one}, and {other}");
}

#[test]
fn everybody_tells_the_same_lag_and_the_same_counts() {
    let mut watched = Watched::new();
    watched.host.sshd.stop();
    for number in 0..WAITING {
        fs::write(watched.host.source().join(format!("page-{number}")), "12345").unwrap();
    }
    let Watched { host, daemon, .. } = &mut watched;
    daemon.wait_until("all changes wait for the target", || {
        let status = host.target_status();
        status.state == "down" && status.lag_changes == WAITING as u64
    });
    // Nothing moves as long as the target is away, but the time.
    let before = watched.host.target_status();
    let lag = watched.metric("ksyncd_target_lag_seconds");
    let after = watched.host.target_status();
    assert!((before.lag_seconds..=after.lag_seconds).contains(&lag), "{lag}: {before:?} {after:?}");
    assert_same("lag", watched.metric("ksyncd_target_lag_changes"), WAITING as f64);
    assert_same("up", watched.metric("ksyncd_target_up"), 0.0);
    let page = watched.page();
    assert!(page.contains(&format!("{WAITING} changes are on their way")), "{page}");
    assert!(page.contains("<span class=\"state away\">down for"), "{page}");
    watched.top.wait_until_shown("the lag", |text| {
        let mut lines = text.lines().filter(|line| line.contains("127.0.0.1:") && line.contains(" down "));
        lines.any(|line| line.split_whitespace().any(|word| word == WAITING.to_string()))
    });

    watched.host.sshd.restart().unwrap();
    let Watched { host, daemon, .. } = &mut watched;
    host.wait_until_equal(daemon);
    // What the comparison found has no latency, and these have.
    for number in 0..WAITING {
        fs::write(host.source().join(format!("more-{number}")), "12345").unwrap();
    }
    host.wait_until_equal(daemon);
    daemon.wait_until("all is acknowledged", || host.target_status().lag_changes == 0);
    let status = watched.host.target_status();
    let counts = [
        ("ksyncd_changes_shipped_total", status.changes_shipped),
        ("ksyncd_shipped_bytes_total", status.bytes_shipped),
        ("ksyncd_rescans_total", status.rescans),
        ("ksyncd_target_connections", status.connections),
        ("ksyncd_target_lag_changes", 0),
        ("ksyncd_target_up", 1),
    ];
    for (name, count) in counts {
        assert_same(name, watched.metric(name), count as f64);
    }
    let page = watched.page();
    let shipped = format!("0 changes are on their way; {} were shipped", status.changes_shipped);
    assert!(page.contains(&shipped), "{shipped}: {page}");
    watched.top.wait_until_shown("that nothing is behind", |text| {
        let mut lines = text.lines().filter(|line| line.contains("127.0.0.1:") && line.contains(" up "));
        lines.any(|line| line.split_whitespace().any(|word| word == "0"))
    });

    let told = watched.latency("end_to_end");
    let (sum, count) = watched.end_to_end();
    let number = |name: &str| told[name].as_f64().unwrap_or_else(|| panic!("{name} in {told}"));
    assert_same("changes with a latency", number("count"), count);
    // Histograms keep values within a part in a thousand.
    let mean = number("mean_seconds");
    assert!((sum / count / mean - 1.0).abs() < 0.01, "{sum} of {count}, and {told}");
    watched.top.press(b"q");
    assert_eq!(watched.top.ends(), Some(0));
}
