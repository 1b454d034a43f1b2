//! Says what becomes of lsyncd's delay, by which it gathers changes.

use super::data::Table;
use super::part::Part;

/// Reads `delay`. ksyncd gathers changes while a target is busy, so the time is not set, but proposed.
pub(super) fn delay(table: &mut Table, part: &mut Part) {
    let Some(delay) = table.take("delay") else { return };
    let about = format!("delay = {delay}");
    match delay.word().and_then(|seconds| seconds.parse::<f64>().ok()) {
        Some(0.0) => {}
        // A day is longer than anybody means.
        Some(seconds) if (0.001..=86_400.0).contains(&seconds) => {
            let time = if seconds.fract() == 0.0 {
                format!("{seconds}s")
            } else {
                format!("{}ms", (seconds * 1e3).round())
            };
            part.propose("batch_delay", &time);
            part.differs(
                &about,
                "ksyncd sends a change at once, and has changes gather only while earlier ones are on their way; remove the # before batch_delay to have each wait all the same",
            );
        }
        _ => part.hand(&about, "it is no time in seconds"),
    }
}
