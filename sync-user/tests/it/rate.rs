//! A target gets no more in a second than it was allowed, and all of it in the end.

use std::fs;
use std::time::Instant;

use crate::host::{Daemon, Host};

/// KiB per second, as it is typed.
const RATE: u64 = 400;

#[test]
fn a_limited_target_gets_its_rate_and_no_more() {
    let host = Host::new();
    let mut command = host.run();
    command.args(["--bwlimit", &RATE.to_string()]);
    let mut daemon = Daemon::start(command);
    host.wait_until_equal(&mut daemon);
    let written = || host.target_status().bytes_written;
    let (before, began) = (written(), Instant::now());
    let mut content = vec![0; 1 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    for name in ["one", "two"] {
        fs::write(host.source().join(name), &content[..800 << 10]).unwrap();
        content.reverse();
    }
    for number in 0..100 {
        fs::write(host.source().join(format!("small-{number}")), &content[number * 4_000..][..4_000])
            .unwrap();
    }
    host.wait_until_equal(&mut daemon);
    let allowed = began.elapsed().as_secs_f64() * RATE as f64 * 1_024.0;
    let ratio = (written() - before) as f64 / allowed;
    assert!(written() - before > 2_000_000 && ratio < 1.1, "{ratio} of what it was allowed");
    // What is idle for long is still there, and may go on at once.
    fs::write(host.source().join("last"), "x").unwrap();
    host.wait_until_equal(&mut daemon);
    assert!(!daemon.log().contains("connecting again"), "{}", daemon.log());
}
