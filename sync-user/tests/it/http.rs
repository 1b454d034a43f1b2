//! Metrics and the page are served as they are read: by Prometheus, and by people.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::host::{Daemon, Host};

fn ask(address: &str, request: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

/// Samples by name and labels. Fails when a line is not of the format, or a family is not
/// announced before its samples.
pub(crate) fn parse(text: &str) -> BTreeMap<String, f64> {
    let (mut samples, mut family) = (BTreeMap::new(), String::new());
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            let (name, kind) = told.split_once(' ').unwrap();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            name.clone_into(&mut family);
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            let name = sample.split('{').next().unwrap();
            let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{family}: {line}"));
            assert!(["", "_bucket", "_sum", "_count"].contains(&suffix), "{line}");
            let before = samples.insert(sample.to_owned(), value.parse().unwrap());
            assert!(before.is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn metrics_and_page_are_served() {
    let host = Host::new();
    let mut command = host.run();
    command.args(["--metrics-listen", "127.0.0.1:0"]);
    let mut daemon = Daemon::start(command);
    daemon.wait_for_log("compared the trees");
    let address = daemon.address();
    fs::write(host.source().join("page"), "12345").unwrap();
    let source = host.source().display().to_string();
    let target = format!("{{sync=\"{source}\",target=\"127.0.0.1:{}\"}}", host.target().display());
    daemon.wait_until("the change is counted", || {
        let metrics = parse(&get(&address, "/metrics").1);
        metrics[&format!("ksyncd_changes_shipped_total{target}")] > 0.0
    });
    let (head, body) = get(&address, "/metrics");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    let metrics = parse(&body);
    for (name, value) in [
        (format!("ksyncd_target_up{target}"), 1.0),
        (format!("ksyncd_rescans_total{target}"), 1.0),
        (format!("ksyncd_target_lag_changes{target}"), 0.0),
        (format!("ksyncd_queue_length{{sync=\"{source}\"}}"), 0.0),
        ("ksyncd_config_last_reload_successful".to_owned(), 1.0),
    ] {
        assert!((metrics[&name] - value).abs() < f64::EPSILON, "{name}: {}", metrics[&name]);
    }
    assert!(
        metrics[&format!("ksyncd_changes_captured_total{{sync=\"{source}\",capture=\"fanotify\"}}")] > 0.0
    );
    let of = |suffix: &str, more: &str| {
        metrics
            [&format!("ksyncd_stage_latency_seconds{suffix}{{sync=\"{source}\",stage=\"end_to_end\"{more}}}")]
    };
    let (all, top) = (of("_count", ""), of("_bucket", ",le=\"+Inf\""));
    assert!(all > 0.0 && (all - top).abs() < f64::EPSILON);

    let (head, body) = get(&address, "/");
    assert!(head.contains("text/html") && head.contains("default-src 'none'"), "{head}");
    assert!(body.contains("<svg") && !body.contains("<script"), "{body}");
    assert!(body.contains(&host.target().display().to_string()));

    assert!(get(&address, "/nothing").0.starts_with("HTTP/1.1 404 "));
    assert!(ask(&address, "POST / HTTP/1.1\r\n\r\n").0.starts_with("HTTP/1.1 405 "));
    assert!(ask(&address, "hello\r\n\r\n").0.starts_with("HTTP/1.1 400 "));
    let (head, body) = ask(&address, "HEAD /metrics HTTP/1.0\r\n\r\n");
    assert!(head.contains("Content-Length: ") && body.is_empty());
    assert_eq!(daemon.stop().status.code(), Some(0));
}
