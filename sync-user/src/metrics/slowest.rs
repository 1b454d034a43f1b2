//! Finds targets by what a person means: the one that is named, and the one that is slowest.

use serde::{Deserialize, Serialize};

use super::latency::{Latencies, Stage};

/// The target to which shipping takes longest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slowest {
    pub target: String,
    /// The 99th percentile, in nanoseconds.
    pub ship_p99_ns: u64,
}

/// `None` unless there are several that have acknowledged something.
pub(super) fn slowest(latencies: &Latencies) -> Option<Slowest> {
    let p99 = |(target, snapshot): &(String, super::Snapshot)| {
        let ship = snapshot.of(Stage::Ship);
        (!ship.is_empty())
            .then(|| Slowest { target: target.clone(), ship_p99_ns: ship.value_at_quantile(0.99) })
    };
    let all: Vec<Slowest> = latencies.by_target.iter().filter_map(p99).collect();
    all.into_iter()
        .reduce(|one, other| if other.ship_p99_ns > one.ship_p99_ns { other } else { one })
        .filter(|_| latencies.by_target.len() > 1)
}

/// The one of `names` that is `wanted`, or the only one that contains it. An error says which
/// there are.
pub fn meant<'a>(names: &'a [String], wanted: &str) -> Result<&'a str, String> {
    if let Some(name) = names.iter().find(|name| *name == wanted) {
        return Ok(name);
    }
    let mut alike = names.iter().filter(|name| name.contains(wanted));
    match (alike.next(), alike.next()) {
        (Some(name), None) => Ok(name),
        (found, _) => {
            let how = if found.is_some() { "several targets are" } else { "no target is" };
            Err(format!("{how} called {wanted:?}: there are {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Latency;

    #[test]
    fn a_target_is_found_by_a_part_of_its_name() {
        let names = ["web2:/srv".to_owned(), "web22:/srv".to_owned()];
        assert_eq!(meant(&names, "web2:/srv"), Ok("web2:/srv"));
        assert_eq!(meant(&names, "web22"), Ok("web22:/srv"));
        let there = "there are web2:/srv, web22:/srv";
        assert_eq!(meant(&names, "web2"), Err(format!("several targets are called \"web2\": {there}")));
        assert_eq!(meant(&names, "web3"), Err(format!("no target is called \"web3\": {there}")));
    }

    #[test]
    fn the_slowest_of_several_targets_is_found() {
        let target = |name: &str, milliseconds: u64| {
            let latency = Latency::small();
            if milliseconds > 0 {
                latency.record(Stage::Ship, Duration::from_millis(milliseconds));
            }
            (name.to_owned(), latency.snapshot())
        };
        let of = |by_target| {
            slowest(&Latencies { by_target, ..Latencies::default() }).map(|slowest| slowest.target)
        };
        assert_eq!(of(vec![target("a", 1), target("b", 3), target("c", 2)]).as_deref(), Some("b"));
        assert_eq!(of(vec![target("a", 0), target("b", 3)]).as_deref(), Some("b"));
        assert_eq!(of(vec![target("a", 1)]), None, "there is nothing to choose");
        assert_eq!(of(vec![target("a", 0), target("b", 0)]), None);
    }
}
