//! Counts bytes on the wire: a loopback interface that nobody else uses.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sched::{CloneFlags, unshare};

/// Moves this thread, and what it starts, into a network of their own, which has a loopback
/// interface and nothing else.
pub(crate) fn isolate() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network of its own (this needs root)")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    if !status.context("start ip (package iproute2)")?.success() {
        bail!("the loopback interface of the new network cannot be set up");
    }
    Ok(())
}

/// All bytes that have been sent in this network, in both directions, with all headers.
pub(crate) fn bytes() -> Result<u64> {
    let table = fs::read_to_string("/proc/thread-self/net/dev").context("read the interface's counters")?;
    received(&table).context("find the loopback interface in /proc/thread-self/net/dev")
}

/// What `lo` has received is what was sent through it.
fn received(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_first_column_is_what_was_received() {
        let table =
            "Inter-|   Receive\n face |bytes    packets\n    lo: 1234 5 0 0 0 0 0 0 1234 5\n  eth0: 9 1\n";
        assert_eq!(super::received(table), Some(1_234));
        assert_eq!(super::received(""), None);
    }
}
