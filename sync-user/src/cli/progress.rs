//! Shows how far a daemon is with making its targets equal: bars on a terminal, elsewhere a line in the
//! log now and then.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

use crate::clock;
use crate::control::Roster;
use crate::logging;
use crate::metrics::{Progress, Target};
use crate::model::Stamp;
use crate::shutdown::Stop;

/// How often it is looked.
const GLANCE: Duration = Duration::from_millis(250);

/// How often a line is logged.
const TOLD_EVERY: Duration = Duration::from_secs(10);

/// The scale of a bar: one part more would be seen on no terminal.
const PARTS: u64 = 1_000;

/// Shows it in a thread of its own, until `stop` is requested.
pub(super) fn show(roster: Roster, stop: Stop) -> std::io::Result<()> {
    let is_terminal = std::io::stderr().is_terminal();
    let work = move || {
        let mut shown: HashMap<String, Shown> = HashMap::new();
        while !stop.requested() {
            let now = clock::now();
            for watched in roster.all() {
                for target in &*watched.gauges.targets {
                    look(&mut shown, target, is_terminal, now);
                }
            }
            stop.wait(GLANCE);
        }
    };
    std::thread::Builder::new().name("progress".to_owned()).spawn(work)?;
    Ok(())
}

/// What is shown of one target.
struct Shown {
    bar: Option<ProgressBar>,
    since: Stamp,
    told: Stamp,
}

fn look(shown: &mut HashMap<String, Shown>, target: &Target, is_terminal: bool, now: Stamp) {
    let Some((done, of)) = target.catching_up() else {
        if let Some(Shown { bar: Some(bar), .. }) = shown.remove(target.name()) {
            bar.finish_and_clear();
        }
        return;
    };
    // What is done at the next look is not worth a line.
    let Some(shown) = shown.get_mut(target.name()) else {
        shown.insert(target.name().to_owned(), Shown { bar: None, since: now, told: now });
        return;
    };
    let left = left(part(done, of), now.since(shown.since));
    if is_terminal {
        let bar = shown.bar.get_or_insert_with(|| logging::bar(new_bar(target.name())));
        bar.set_position((part(done, of) * PARTS as f64) as u64);
        bar.set_message(sentence(done, of, left));
    } else if now.since(shown.told) >= TOLD_EVERY {
        shown.told = now;
        info!(target = %target.name(), "catching up: {}", sentence(done, of, left));
    }
}

fn new_bar(name: &str) -> ProgressBar {
    let template = "{prefix} {bar:20} {msg}";
    // The template is a constant; the usual look is better than none.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(PARTS).with_style(style).with_prefix(name.to_owned())
}

/// How much is done: content by its bytes, and what has none by its number. Each step counts as the
/// content that takes as long, some 16 KiB.
fn part(done: Progress, of: Progress) -> f64 {
    const BYTES_A_STEP: u64 = 16 << 10;
    let weight = |progress: Progress| (progress.bytes + progress.steps * BYTES_A_STEP) as f64;
    if of == Progress::default() { 1.0 } else { weight(done) / weight(of) }
}

/// How long the rest takes when it goes on as until now; `None` while that would be a guess.
fn left(part: f64, took: Duration) -> Option<Duration> {
    let is_known = part > 0.01 && took >= Duration::from_secs(1);
    is_known.then(|| took.mul_f64((1.0 - part) / part))
}

fn sentence(done: Progress, of: Progress, left: Option<Duration>) -> String {
    let left = match left {
        Some(left) => {
            format!(", {} left", humantime::format_duration(Duration::from_secs(left.as_secs() + 1)))
        }
        None => String::new(),
    };
    let (bytes, all) = (ByteSize(done.bytes), ByteSize(of.bytes));
    format!("{} of {} steps, {bytes} of {all}{left}", done.steps, of.steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_follows_from_what_is_done() {
        let (done, of) = (Progress { steps: 10, bytes: 1 << 20 }, Progress { steps: 40, bytes: 4 << 20 });
        assert!((part(done, of) - 0.25).abs() < 1e-9);
        let took = Duration::from_secs(20);
        assert_eq!(left(0.25, took), Some(took * 3));
        assert_eq!(left(0.001, took), None);
        assert_eq!(sentence(done, of, left(0.25, took)), "10 of 40 steps, 1.0 MiB of 4.0 MiB, 1m 1s left");
        assert_eq!(sentence(done, of, None), "10 of 40 steps, 1.0 MiB of 4.0 MiB");
    }
}
