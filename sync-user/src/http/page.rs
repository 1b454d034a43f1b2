//! Draws the status page: HTML with SVG in it, no scripts; pure, from a status and latencies.

use std::fmt::{self, Write as _};

use bytesize::ByteSize;
use hdrhistogram::Histogram;

use crate::control::{Status, TargetStatus};
use crate::metrics::{Snapshot, Stage, time};

/// Width and height of a picture, in pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 120.0;

/// Bars of a picture: six for each order of magnitude, from 10 µs to 100 s.
const BARS: usize = 42;
const BARS_A_DECADE: f64 = 6.0;
const FROM_NS: f64 = 1e4;

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#222;background:#fff}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top}\
.up{color:#18723b}.away{color:#b3261e;font-weight:600}svg{width:100%;height:auto}\
rect{fill:#3867b1}text{font-size:11px;fill:#555}line{stroke:#bbb}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181a1b}th,td{border-color:#444}\
.up{color:#6fcf97}.away{color:#ff8a80}rect{fill:#7aa5e8}text{fill:#aaa}line{stroke:#555}}";

/// The page. It asks to be loaded again every five seconds.
pub(super) fn html(syncs: &[(Status, Snapshot)]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _infallible = write_page(&mut out, syncs);
    out
}

fn write_page(out: &mut String, syncs: &[(Status, Snapshot)]) -> fmt::Result {
    let names: Vec<String> = syncs.iter().map(|(status, _)| escape(&status.name)).collect();
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>ksyncd {}</title><style>{STYLE}</style></head><body>",
        names.join(", ")
    )?;
    for (status, latency) in syncs {
        write_sync(out, status, latency)?;
    }
    let version = env!("CARGO_PKG_VERSION");
    write!(out, "<p>ksyncd {version} · <a href=\"/metrics\">metrics</a></p></body></html>")
}

fn write_sync(out: &mut String, status: &Status, latency: &Snapshot) -> fmt::Result {
    write!(out, "<h1>{}</h1>", escape(&status.name))?;
    if status.name != status.source {
        write!(out, "<p>{}</p>", escape(&status.source))?;
    }
    if let Some(why) = &status.ended {
        write!(out, "<p class=\"away\">It has ended: {}</p>", escape(why))?;
    }
    let capture =
        status.capture.as_ref().map_or_else(|| "starting".to_owned(), |capture| escape(&capture.reason));
    write!(
        out,
        "<p>{capture}. {} changes seen, {} queued, {} events lost, {} gaps, {} healed.</p>",
        status.changes_captured, status.queue_length, status.lost_events, status.gaps, status.gaps_healed
    )?;
    out.push_str("<table><tr><th>target<th>state<th>lag<th>shipped<th>last error</tr>");
    for target in &status.targets {
        write_target(out, target)?;
    }
    out.push_str("</table>");
    for stage in [Stage::EndToEnd, Stage::Capture, Stage::Queue, Stage::Batch, Stage::Ship, Stage::Apply] {
        write_picture(out, stage.name(), latency.of(stage))?;
    }
    Ok(())
}

fn write_target(out: &mut String, target: &TargetStatus) -> fmt::Result {
    let class = if target.is_up() { "up" } else { "away" };
    write!(
        out,
        "<tr><td>{}<td class=\"{class}\">{} for {}<td>{}, {} changes<td>{} changes, {}<td>",
        escape(&target.name),
        target.state,
        time(target.state_seconds * 1e9),
        time(target.lag_seconds * 1e9),
        target.lag_changes,
        target.changes_shipped,
        ByteSize(target.bytes_shipped),
    )?;
    if let Some(error) = &target.error {
        write!(out, "{}, {} ago", escape(&error.what), time(error.last_seconds * 1e9))?;
    }
    out.push_str("</tr>");
    if target.held_removals > 0 {
        let (count, since) = (target.held_removals, time(target.held_seconds * 1e9));
        write!(
            out,
            "<tr><td><td class=\"away\" colspan=\"4\">{count} removals are held for {since}: ksyncd deletes list</tr>"
        )?;
    }
    for problem in &target.problems {
        let (path, what) = (escape(&problem.path), escape(&problem.problem.what));
        write!(out, "<tr><td><td class=\"away\" colspan=\"4\">{path}: cannot {what}</tr>")?;
    }
    Ok(())
}

/// One histogram on a logarithmic scale, with its percentiles in words.
fn write_picture(out: &mut String, name: &str, histogram: &Histogram<u64>) -> fmt::Result {
    if histogram.is_empty() {
        return write!(out, "<h2>{name}</h2><p>nothing measured yet</p>");
    }
    let at = |quantile| time(histogram.value_at_quantile(quantile) as f64);
    write!(
        out,
        "<h2>{name}</h2><p>{} changes: p50 {}, p90 {}, p99 {}, longest {}</p>\
         <svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"latency of {name}\">",
        histogram.len(),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
        HEIGHT + 18.0
    )?;
    let mut bars = [0_u64; BARS];
    for value in histogram.iter_recorded() {
        let place = (value.value_iterated_to() as f64 / FROM_NS).log10() * BARS_A_DECADE;
        bars[(place.max(0.0) as usize).min(BARS - 1)] += value.count_at_value();
    }
    let tallest = bars.iter().copied().max().unwrap_or(1).max(1) as f64;
    let width = WIDTH / BARS as f64;
    for (bar, count) in bars.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (*count as f64 / tallest * HEIGHT).max(1.0);
        let (x, y) = (bar as f64 * width, HEIGHT - height);
        write!(
            out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{count}</title></rect>",
            width - 1.0
        )?;
    }
    write!(out, "<line x1=\"0\" y1=\"{HEIGHT}\" x2=\"{WIDTH}\" y2=\"{HEIGHT}\"/>")?;
    for decade in 0..BARS / BARS_A_DECADE as usize {
        let (x, y) = (decade as f64 * BARS_A_DECADE * width, HEIGHT + 14.0);
        let label = time(FROM_NS * 10_f64.powi(i32::try_from(decade).unwrap_or(0)));
        write!(out, "<text x=\"{x:.1}\" y=\"{y}\">{label}</text>")?;
    }
    out.push_str("</svg>");
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Latency;

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(escape("<b>\"&\""), "&lt;b&gt;&quot;&amp;&quot;");
    }

    #[test]
    fn every_value_is_in_a_bar() {
        let latency = Latency::new();
        for took in [Duration::from_nanos(1), Duration::from_millis(3), Duration::from_hours(1)] {
            latency.record(Stage::Apply, took);
        }
        let mut out = String::new();
        write_picture(&mut out, "apply", latency.snapshot().of(Stage::Apply)).unwrap();
        assert_eq!(out.matches("<rect").count(), 3, "{out}");
    }
}
