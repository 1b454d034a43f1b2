//! Draws the status page: HTML with SVG in it, no scripts; pure, from what is shown.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;

use super::trend::Lately;
use super::{charts, escape};
use crate::control::{Occurrence, Status, TargetStatus};
use crate::metrics::{Snapshot, Stage, time};

/// Problems that are shown of a sync: the latest.
const PROBLEMS_MAX: usize = 20;

/// Stages in the order in which they are looked for: first how long it takes, then why.
const STAGES: [Stage; 6] =
    [Stage::EndToEnd, Stage::Capture, Stage::Queue, Stage::Batch, Stage::Ship, Stage::Apply];

const STYLE: &str = "\
:root{color-scheme:light dark;--text:#1f2328;--soft:#59636e;--edge:#d1d9e0;--back:#fff;--card:#f6f8fa;\
--bar:#3867b1;--bad:#c8341f;--good:#18723b}\
@media(prefers-color-scheme:dark){:root{--text:#dfe3e8;--soft:#9aa4af;--edge:#3b434c;--back:#14171a;\
--card:#1d2126;--bar:#7aa5e8;--bad:#ff7b6b;--good:#6fcf97}}\
body{max-width:80rem;margin:0 auto;padding:1rem;font:15px/1.5 system-ui,sans-serif;color:var(--text);\
background:var(--back);overflow-wrap:anywhere}\
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.1rem;margin:1.5rem 0 .25rem}p{margin:.25rem 0 .75rem}\
.pictures{display:grid;gap:.75rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,17.5rem),1fr))}\
.latencies{grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr))}\
figure,li{margin:0;padding:.5rem .75rem;background:var(--card);border:1px solid var(--edge);\
border-radius:.4rem}\
figure{display:flex;flex-direction:column;justify-content:space-between}\
figcaption,.soft{font-size:.9rem;color:var(--soft)}figcaption b{color:var(--text)}\
svg{display:block;width:100%;height:auto;margin-top:.4rem}\
svg text{font-size:13px;fill:var(--soft)}.latencies text{font-size:12px}rect{fill:var(--bar)}rect.bad{fill:var(--bad)}\
line{stroke:var(--soft)}line.top{stroke:var(--edge)}\
.state{font-size:.9rem;padding:.1rem .6rem;border:1px solid;border-radius:1rem;white-space:nowrap}\
.up{color:var(--good)}.away{color:var(--bad);font-weight:600}\
.begin::first-letter{text-transform:uppercase}footer{margin-top:1.5rem}\
ul{list-style:none;padding:0;display:grid;gap:.4rem}li.now{border-left:.3rem solid var(--bad)}\
a{color:var(--bar)}";

/// Three bars. Without an icon of its own a browser would ask for one, and not find it.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
%3Cpath fill='%233867b1' d='M1 10h4v5H1zM6 6h4v9H6zM11 1h4v14h-4z'/%3E%3C/svg%3E";

/// A sync, and all that is shown of it.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) status: Status,
    pub(super) latency: Snapshot,
    /// For each target of the status, in their order.
    pub(super) lately: Vec<Lately>,
}

/// The page. It asks to be loaded again every five seconds.
pub(super) fn html(syncs: &[Shown]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _infallible = write_page(&mut out, syncs);
    out
}

fn write_page(out: &mut String, syncs: &[Shown]) -> fmt::Result {
    let names: Vec<String> = syncs.iter().map(|shown| escape(&shown.status.name)).collect();
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"5\"><link rel=\"icon\" href=\"{ICON}\">\
         <title>ksyncd {}</title><style>{STYLE}</style></head><body>",
        names.join(", ")
    )?;
    for shown in syncs {
        write_sync(out, shown)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    write!(
        out,
        "<footer class=\"soft\">ksyncd {version} · <a href=\"/metrics\">metrics</a></footer></body></html>"
    )
}

fn write_sync(out: &mut String, Shown { status, latency, lately }: &Shown) -> fmt::Result {
    write!(out, "<h1>{}</h1>", escape(&status.name))?;
    if status.name != status.source {
        write!(out, "<p>{}</p>", escape(&status.source))?;
    }
    if let Some(why) = &status.ended {
        write!(out, "<p class=\"away\">It has ended: {}</p>", escape(why))?;
    }
    let capture = status.capture.as_ref().map_or("starting", |capture| &capture.reason);
    write!(
        out,
        "<p class=\"begin\">{}. {} changes seen, {} queued, {} events lost, {} gaps, {} healed.</p>",
        escape(capture),
        status.changes_captured,
        status.queue_length,
        status.lost_events,
        status.gaps,
        status.gaps_healed
    )?;
    write_problems(out, &status.targets)?;
    for (target, lately) in status.targets.iter().zip(lately) {
        write_target(out, target, lately)?;
    }
    out.push_str("<h2>latency</h2><p class=\"soft\">of all changes since the start, by stage</p>");
    out.push_str("<div class=\"pictures latencies\">");
    let without_kernel = status.capture.as_ref().is_some_and(|capture| capture.backend == "fanotify");
    for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Capture || !without_kernel) {
        charts::latency(out, stage.name(), latency.of(stage))?;
    }
    out.push_str("</div>");
    Ok(())
}

fn write_target(out: &mut String, target: &TargetStatus, lately: &Lately) -> fmt::Result {
    let class = if target.is_up() { "up" } else { "away" };
    write!(
        out,
        "<h2>{} <span class=\"state {class}\">{} for {}</span></h2>\
         <p class=\"soft\">{} changes are on their way; {} were shipped, {} of content.</p>",
        escape(&target.name),
        target.state,
        span(target.state_seconds),
        target.lag_changes,
        target.changes_shipped,
        ByteSize(target.bytes_shipped),
    )?;
    if target.held_removals > 0 {
        let (count, since) = (target.held_removals, span(target.held_seconds));
        write!(out, "<p class=\"away\">{count} removals are held for {since}: ksyncd deletes list</p>")?;
    }
    out.push_str("<div class=\"pictures\">");
    charts::target(out, &target.name, target.lag_seconds, lately)?;
    out.push_str("</div>");
    Ok(())
}

/// What goes wrong, or did so last: of connections, and of single paths.
fn write_problems(out: &mut String, targets: &[TargetStatus]) -> fmt::Result {
    let mut problems: Vec<(&Occurrence, bool, String)> = Vec::new();
    for target in targets {
        let name = escape(&target.name);
        if let Some(error) = &target.error {
            problems.push((error, !target.is_up(), format!("{name}: {}", escape(&error.what))));
        }
        for found in &target.problems {
            let what = format!("{name}: {}: cannot {}", escape(&found.path), escape(&found.problem.what));
            problems.push((&found.problem, true, what));
        }
    }
    out.push_str("<h2>recent problems</h2>");
    if problems.is_empty() {
        out.push_str("<p>none</p>");
        return Ok(());
    }
    // What goes wrong now, and of that what did so last.
    problems.sort_by(|(one, one_now, _), (other, other_now, _)| {
        other_now.cmp(one_now).then(one.last_seconds.total_cmp(&other.last_seconds))
    });
    out.push_str("<ul>");
    for (problem, is_now, what) in problems.iter().take(PROBLEMS_MAX) {
        let (class, since) = if *is_now {
            ("now", format!(", since {}", span(problem.since_seconds)))
        } else {
            ("", String::new())
        };
        let last = span(problem.last_seconds);
        let overcome = if *is_now { "" } else { ", overcome" };
        write!(
            out,
            "<li class=\"{class}\">{what} <span class=\"soft\">{last} ago{since}{overcome}</span></li>"
        )?;
    }
    out.push_str("</ul>");
    if problems.len() > PROBLEMS_MAX {
        write!(out, "<p>and {} more: ksyncd status --json</p>", problems.len() - PROBLEMS_MAX)?;
    }
    Ok(())
}

/// A time that goes on: whole seconds, minutes, hours or days.
fn span(seconds: f64) -> String {
    match seconds {
        s if s >= 172_800.0 => format!("{:.0} days", s / 86_400.0),
        s if s >= 7200.0 => format!("{:.0} h", s / 3600.0),
        s if s >= 120.0 => format!("{:.0} min", s / 60.0),
        s if s >= 1.0 => format!("{s:.0} s"),
        s => time(s * 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_at_a_glance() {
        for (seconds, text) in [
            (0.25, "250 ms"),
            (1.4, "1 s"),
            (119.0, "119 s"),
            (600.0, "10 min"),
            (7300.0, "2 h"),
            (2e5, "2 days"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
