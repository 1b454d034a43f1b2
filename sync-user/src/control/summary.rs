//! Says how a run goes, for people: pure, from a status to lines of text.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;

use super::status::{CatchingUp, Occurrence, PathProblem, Status, TargetStatus};
use crate::metrics::time;

/// Problems that are printed for one target.
const PROBLEMS_SHOWN: usize = 5;

/// What `ksyncd status` prints.
pub fn summary(status: &Status) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _infallible = write_source(&mut out, status);
    for target in &status.targets {
        let _infallible = write_target(&mut out, target);
    }
    out
}

fn write_source(out: &mut String, status: &Status) -> fmt::Result {
    if status.name != status.source {
        writeln!(out, "name      {}", status.name)?;
    }
    writeln!(out, "source    {}", status.source)?;
    if let Some(why) = &status.ended {
        writeln!(out, "ended     {why}")?;
    }
    match &status.capture {
        Some(capture) => {
            writeln!(out, "process   {}, running for {}", status.process, time_of(capture.running_seconds))?;
            writeln!(out, "capture   {}", capture.reason)?;
        }
        None => writeln!(out, "process   {}, starting", status.process)?,
    }
    writeln!(
        out,
        "changes   {} seen, {} queued, {} events lost",
        status.changes_captured, status.queue_length, status.lost_events
    )?;
    writeln!(out, "gaps      {}, {} healed", status.gaps, status.gaps_healed)?;
    for gap in &status.gaps_by_reason {
        writeln!(out, "          {} because {}", gap.gaps, gap.reason)?;
    }
    Ok(())
}

fn write_target(out: &mut String, target: &TargetStatus) -> fmt::Result {
    writeln!(out, "\ntarget    {}", target.name)?;
    let connections = match target.connections {
        0 | 1 => String::new(),
        count => format!(", by {count} connections"),
    };
    writeln!(out, "state     {} for {}{connections}", target.state, time_of(target.state_seconds))?;
    writeln!(out, "lag       {}, {} changes", time_of(target.lag_seconds), target.lag_changes)?;
    writeln!(
        out,
        "shipped   {} changes, {} of content, {} rescans",
        target.changes_shipped,
        ByteSize(target.bytes_shipped),
        target.rescans
    )?;
    if let Some(CatchingUp { steps_done, steps, bytes_done, bytes }) = target.catching_up {
        let (bytes_done, bytes) = (ByteSize(bytes_done), ByteSize(bytes));
        writeln!(out, "equal     {steps_done} of {steps} steps done, {bytes_done} of {bytes}")?;
    }
    if let Some(Occurrence { what, since_seconds, last_seconds }) = &target.error {
        let (last, since) = (time_of(*last_seconds), time_of(*since_seconds));
        let when = if last == since { format!("{last} ago") } else { format!("{last} ago, for {since} now") };
        writeln!(out, "error     {what} ({when})")?;
    }
    if target.put_off > 0 {
        writeln!(out, "put off   {} paths, looked at again later", target.put_off)?;
    }
    if target.held_removals > 0 {
        let (count, since) = (target.held_removals, time_of(target.held_seconds));
        writeln!(out, "held      {count} removals for {since}: ksyncd deletes list")?;
    }
    if target.unexpected_replaced + target.unexpected_kept > 0 {
        writeln!(
            out,
            "changed   {} times by others at the target: {} replaced, {} kept",
            target.unexpected_replaced + target.unexpected_kept,
            target.unexpected_replaced,
            target.unexpected_kept
        )?;
    }
    if target.conflicts_yielded > 0 {
        writeln!(out, "conflicts {} times the target's version stays", target.conflicts_yielded)?;
    }
    for PathProblem { path, problem } in target.problems.iter().take(PROBLEMS_SHOWN) {
        writeln!(out, "problem   {path}: cannot {} (for {})", problem.what, time_of(problem.since_seconds))?;
    }
    if let Some(more) = target.problems.len().checked_sub(PROBLEMS_SHOWN).filter(|more| *more > 0) {
        writeln!(out, "          and {more} more: ksyncd status --json has them")?;
    }
    Ok(())
}

/// Seconds as people say them.
pub fn time_of(seconds: f64) -> String {
    match seconds {
        s if s >= 172_800.0 => format!("{:.1} days", s / 86_400.0),
        s if s >= 7_200.0 => format!("{:.1} h", s / 3_600.0),
        s => time(s * 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::{Capture, GapStatus};
    use super::*;

    fn target(name: &str) -> TargetStatus {
        TargetStatus {
            name: name.to_owned(),
            state: "up".to_owned(),
            state_seconds: 8_000.0,
            connections: 4,
            changes_shipped: 2031,
            bytes_shipped: 8_500_000,
            bytes_written: 9_000_000,
            rescans: 1,
            ..TargetStatus::default()
        }
    }

    #[test]
    fn tells_what_is_well_and_what_is_not() {
        let occurrence = |what: &str, since_seconds, last_seconds| Occurrence {
            what: what.to_owned(),
            since_seconds,
            last_seconds,
        };
        let down = TargetStatus {
            state: "down".to_owned(),
            state_seconds: 95.0,
            connections: 0,
            lag_seconds: 95.5,
            lag_changes: 12,
            put_off: 6,
            catching_up: Some(CatchingUp { steps_done: 10, steps: 40, bytes_done: 1 << 20, bytes: 4 << 20 }),
            held_removals: 1200,
            held_seconds: 95.0,
            unexpected_replaced: 3,
            unexpected_kept: 1,
            conflicts_yielded: 0,
            error: Some(occurrence("web3 port 22 cannot be reached", 95.0, 2.5)),
            problems: (0..6)
                .map(|number| PathProblem {
                    path: format!("img/{number}.jpg"),
                    problem: occurrence("read it: permission denied", 300_000.0, 1.0),
                })
                .collect(),
            ..target("web3:/srv/www")
        };
        let status = Status {
            version: "0.1.0".to_owned(),
            process: 4242,
            name: "/srv/www".to_owned(),
            ended: None,
            source: "/srv/www".to_owned(),
            capture: Some(Capture {
                backend: "ebpf".to_owned(),
                reason: "capturing by eBPF (by kprobes)".to_owned(),
                running_seconds: 8_100.0,
            }),
            changes_captured: 2043,
            queue_length: 0,
            lost_events: 7,
            gaps: 1,
            gaps_healed: 1,
            gaps_by_reason: vec![GapStatus {
                reason: "the eBPF ring buffer was full".to_owned(),
                gaps: 1,
                lost_events: 7,
            }],
            rescans: 2,
            busiest: Vec::new(),
            targets: vec![target("web2:/srv/www"), down],
        };
        insta::assert_snapshot!(summary(&status), @r"
        source    /srv/www
        process   4242, running for 2.2 h
        capture   capturing by eBPF (by kprobes)
        changes   2043 seen, 0 queued, 7 events lost
        gaps      1, 1 healed
                  1 because the eBPF ring buffer was full

        target    web2:/srv/www
        state     up for 2.2 h, by 4 connections
        lag       0, 0 changes
        shipped   2031 changes, 8.1 MiB of content, 1 rescans

        target    web3:/srv/www
        state     down for 1.58 min
        lag       1.59 min, 12 changes
        shipped   2031 changes, 8.1 MiB of content, 1 rescans
        equal     10 of 40 steps done, 1.0 MiB of 4.0 MiB
        error     web3 port 22 cannot be reached (2.5 s ago, for 1.58 min now)
        put off   6 paths, looked at again later
        held      1200 removals for 1.58 min: ksyncd deletes list
        changed   4 times by others at the target: 3 replaced, 1 kept
        problem   img/0.jpg: cannot read it: permission denied (for 3.5 days)
        problem   img/1.jpg: cannot read it: permission denied (for 3.5 days)
        problem   img/2.jpg: cannot read it: permission denied (for 3.5 days)
        problem   img/3.jpg: cannot read it: permission denied (for 3.5 days)
        problem   img/4.jpg: cannot read it: permission denied (for 3.5 days)
                  and 1 more: ksyncd status --json has them
        ");
    }
}
