//! Makes pictures of latencies, and of how it went with a target lately: pure.

use std::fmt::{self, Write as _};
use std::time::Duration;

use bytesize::ByteSize;
use hdrhistogram::Histogram;

use super::picture::{Bar, Picture, round_up};
use super::trend::{BARS, Lately};
use super::{escape, trend};
use crate::metrics::time;

/// Bars of a histogram: six for each order of magnitude, from 10 µs to 100 s.
const LATENCY_BARS: usize = 42;
const BARS_A_DECADE: f64 = 6.0;
const FROM_NS: f64 = 1e4;

/// Where the scale of a lag may end, in seconds; beyond, at round values.
const LAGS: [f64; 20] = [
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0,
    7200.0, 18_000.0, 36_000.0,
];

/// One histogram on a logarithmic scale, with its percentiles in words.
pub(super) fn latency(out: &mut String, name: &str, histogram: &Histogram<u64>) -> fmt::Result {
    if histogram.is_empty() {
        return write!(out, "<figure><figcaption><b>{name}</b> nothing measured yet</figcaption></figure>");
    }
    let mut counts = [0_u64; LATENCY_BARS];
    for value in histogram.iter_recorded() {
        let place = (value.value_iterated_to() as f64 / FROM_NS).log10() * BARS_A_DECADE;
        counts[(place.max(0.0) as usize).min(LATENCY_BARS - 1)] += value.count_at_value();
    }
    let edge = |bar: usize| time(FROM_NS * 10_f64.powf(bar as f64 / BARS_A_DECADE));
    let bar = |(bar, count): (usize, u64)| {
        let title = match bar {
            0 => format!("below {}: {count}", edge(1)),
            bar if bar == LATENCY_BARS - 1 => format!("{} and more: {count}", edge(bar)),
            bar => format!("{} to {}: {count}", edge(bar), edge(bar + 1)),
        };
        Bar { value: count as f64, title, is_bad: false }
    };
    let bars: Vec<Bar> = (0..).zip(counts).map(bar).collect();
    let at = |quantile| time(histogram.value_at_quantile(quantile) as f64);
    let words = format!("p50 {}, p90 {}, p99 {}, longest {}", at(0.5), at(0.9), at(0.99), at(1.0));
    // Not the first: there would be no room for its name beside the second.
    let decades = (0..LATENCY_BARS).step_by(BARS_A_DECADE as usize).skip(1);
    let top = round_up(bars.iter().map(|bar| bar.value).fold(1.0, f64::max), 1.0);
    let picture = Picture {
        label: format!("latency of {name}: {words}"),
        bars: &bars,
        top: (top, format!("{top} changes")),
        marks: &decades.map(|bar| (bar as f64, edge(bar))).collect::<Vec<_>>(),
    };
    write!(out, "<figure><figcaption><b>{name}</b> {words}</figcaption>")?;
    picture.write(out)?;
    out.push_str("</figure>");
    Ok(())
}

/// Lag, changes, bytes and failures of a target, a picture each.
pub(super) fn target(out: &mut String, name: &str, lag_seconds: f64, lately: &Lately) -> fmt::Result {
    let chart = Chart { target: name, lately };
    let now = |rate: fn(&trend::Bar) -> f64| lately.rate(rate);

    let longest = lately.bars.iter().map(|bar| bar.lag).max().unwrap_or_default().as_secs_f64();
    let longest = longest.max(lag_seconds);
    let top = LAGS.into_iter().find(|top| longest <= *top).unwrap_or_else(|| round_up(longest, 1.0));
    let seconds = |seconds: f64| time(seconds * 1e9);
    let words = format!("{} now, {} at most", seconds(lag_seconds), seconds(longest));
    chart.write(out, "lag", &words, (top, seconds(top)), |bar| {
        let title = format!("{}{}", seconds(bar.lag.as_secs_f64()), if bar.was_away { ", away" } else { "" });
        Bar { value: bar.lag.as_secs_f64(), title, is_bad: bar.was_away }
    })?;

    let number = |number: f64| {
        let digits = if number < 10.0 { 10.0 } else { 1.0 };
        format!("{}", (number * digits).round() / digits)
    };
    let fastest = lately.most(|bar| bar.changes);
    let top = round_up(fastest, 1.0);
    let words = format!("{}/s now, {}/s at most", number(now(|bar| bar.changes)), number(fastest));
    chart.write(out, "changes", &words, (top, format!("{}/s", number(top))), |bar| {
        let rate = bar.rate(bar.changes);
        Bar { value: rate, title: format!("{}/s", number(rate)), is_bad: false }
    })?;

    let size = |bytes: f64| format!("{}/s", ByteSize(bytes.round() as u64));
    let fastest = lately.most(|bar| bar.bytes);
    let top = round_up_bytes(fastest);
    let words = format!("{} now, {} at most", size(now(|bar| bar.bytes)), size(fastest));
    chart.write(out, "bytes sent", &words, (top, size(top)), |bar| {
        let rate = bar.rate(bar.bytes);
        Bar { value: rate, title: size(rate), is_bad: false }
    })?;

    let all: u64 = lately.bars.iter().map(|bar| bar.failures).sum();
    let top = round_up(lately.bars.iter().map(|bar| bar.failures).max().unwrap_or(0) as f64, 1.0);
    let words = format!("{all} in {}", time(lately.span().as_nanos() as f64));
    chart.write(out, "failures", &words, (top, format!("{top}")), |bar| Bar {
        value: bar.failures as f64,
        title: bar.failures.to_string(),
        is_bad: true,
    })
}

/// What the pictures of a target have in common.
struct Chart<'a> {
    target: &'a str,
    lately: &'a Lately,
}

impl Chart<'_> {
    fn write(
        &self,
        out: &mut String,
        name: &str,
        words: &str,
        top: (f64, String),
        bar: impl Fn(&trend::Bar) -> Bar,
    ) -> fmt::Result {
        let ago = |bar: usize| time((self.lately.each * (BARS - bar) as u32).as_nanos() as f64);
        let with_time = |(number, seen): (usize, &trend::Bar)| {
            let Bar { value, title, is_bad } = bar(seen);
            Bar { value, title: format!("{title}, {} ago", ago(number)), is_bad }
        };
        let bars: Vec<Bar> = self.lately.bars.iter().enumerate().map(with_time).collect();
        let marks = [0, BARS / 2].map(|number| (number as f64, format!("{} ago", ago(number))));
        let picture = Picture {
            label: format!("{name} of {}: {words}", self.target),
            bars: &bars,
            top,
            marks: &[&marks[..], &[(BARS as f64, "now".to_owned())]].concat(),
        };
        write!(out, "<figure><figcaption><b>{name}</b> {}</figcaption>", escape(words))?;
        picture.write(out)?;
        out.push_str("</figure>");
        Ok(())
    }
}

impl trend::Bar {
    /// `amount` in a second.
    fn rate(&self, amount: f64) -> f64 {
        if self.known > 0.0 { amount / self.known } else { 0.0 }
    }
}

impl Lately {
    /// The time that all bars stand for.
    fn span(&self) -> Duration {
        self.each * BARS as u32
    }

    /// How much of something there is in a second now: in the bar that has begun, and the one before.
    fn rate(&self, amount: fn(&trend::Bar) -> f64) -> f64 {
        let last = &self.bars[BARS - 2..];
        let known: f64 = last.iter().map(|bar| bar.known).sum();
        if known > 0.0 { last.iter().map(amount).sum::<f64>() / known } else { 0.0 }
    }

    /// The most there was in a second, over a bar.
    fn most(&self, amount: fn(&trend::Bar) -> f64) -> f64 {
        self.bars.iter().map(|bar| bar.rate(amount(bar))).fold(0.0, f64::max)
    }
}

/// A round number of KiB, MiB and so on that is not less than `bytes`.
fn round_up_bytes(bytes: f64) -> f64 {
    let mut unit = 1024.0;
    while bytes > 1000.0 * unit {
        unit *= 1024.0;
    }
    round_up(bytes / unit, 1.0) * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Latency, Stage};

    #[test]
    fn every_value_is_in_a_bar() {
        let measured = Latency::new();
        for took in [Duration::from_nanos(1), Duration::from_millis(3), Duration::from_hours(1)] {
            measured.record(Stage::Apply, took);
        }
        let mut out = String::new();
        latency(&mut out, "apply", measured.snapshot().of(Stage::Apply)).unwrap();
        assert_eq!(out.matches("<rect").count(), 3, "{out}");
        for title in ["below 14.7 us: 1", "2.15 ms to 3.16 ms: 1", "1.14 min and more: 1"] {
            assert!(out.contains(&format!("<title>{title}</title>")), "{title}: {out}");
        }
    }

    #[test]
    fn a_target_has_four_pictures_with_their_scales() {
        let mut bars = [trend::Bar::default(); BARS];
        bars[7] = trend::Bar {
            lag: Duration::from_secs(45),
            was_away: true,
            changes: 30.0,
            bytes: 3e6,
            failures: 3,
            known: 2.0,
        };
        let lately = Lately { bars, each: Duration::from_secs(2) };
        let mut out = String::new();
        target(&mut out, "web2:/srv", 0.0, &lately).unwrap();
        assert_eq!(out.matches("<svg").count(), 4, "{out}");
        assert_eq!(out.matches("<rect").count(), 4, "{out}");
        // Of the lag while it was away, and of failures.
        assert_eq!(out.matches("<rect class=\"bad\"").count(), 2, "{out}");
        for text in [
            ">1 min</text>",
            ">20/s</text>",
            ">2.0 MiB/s</text>",
            ">5</text>",
            ">2 min ago</text>",
            "<b>lag</b> 0 now, 45 s at most",
            "<b>changes</b> 0/s now, 15/s at most",
            "<b>failures</b> 3 in 2 min",
            "<title>45 s, away, 1.77 min ago</title>",
        ] {
            assert!(out.contains(text), "{text}: {out}");
        }
    }

    #[test]
    fn scales_of_bytes_end_at_round_values() {
        for (bytes, top) in
            [(0.0, 1024.0), (1500.0, 2048.0), (1_024_001.0, 1_048_576.0), (3e6, 5.0 * 1_048_576.0)]
        {
            assert!((round_up_bytes(bytes) - top).abs() < 1e-6, "{bytes}: {}", round_up_bytes(bytes));
        }
    }
}
