//! Writes latencies as an interval log of `HdrHistogram`.
//!
//! Format 1.3 with V2 histograms, in nanoseconds and with absolute times. There is one tag a
//! stage, and where there are several targets one a target and stage: `ship:web2:/srv`.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::latency::{Latencies, Stage};

/// A log of one interval, which begins at `from` (since 1970). What was not measured is left out.
pub(super) fn hlog(latencies: &Latencies, from: Duration, took: Duration) -> io::Result<String> {
    let mut text = Vec::new();
    let failed = |what: &dyn std::fmt::Display| io::Error::other(what.to_string());
    let mut serializer = V2DeflateSerializer::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment("[Histogram log format version 1.3]");
    builder.with_start_time(SystemTime::UNIX_EPOCH + from).with_max_value_divisor(1e6);
    let mut writer = builder.begin_log_with(&mut text, &mut serializer).map_err(|error| failed(&error))?;
    for (tag, histogram) in tagged(latencies) {
        let tag = Tag::new(&tag).ok_or_else(|| failed(&format!("{tag:?} is no tag")))?;
        writer
            .write_histogram(histogram, from, took, Some(tag))
            .map_err(|error| failed(&format!("{error:?}")))?;
    }
    String::from_utf8(text).map_err(|error| failed(&error))
}

/// Whether a line belongs to the head of a log.
pub(super) fn is_head(line: &str) -> bool {
    line.starts_with('#') || line.starts_with('"')
}

fn tagged(latencies: &Latencies) -> Vec<(String, &Histogram<u64>)> {
    let mut all: Vec<_> =
        Stage::ALL.iter().map(|stage| (stage.tag().to_owned(), latencies.all.of(*stage))).collect();
    // Those of a single target are those of all.
    if latencies.by_target.len() > 1 {
        for (target, snapshot) in &latencies.by_target {
            let stages = Stage::ALL.iter().filter(|stage| stage.is_of_target());
            all.extend(stages.map(|stage| (of_target(*stage, target), snapshot.of(*stage))));
        }
    }
    all.retain(|(_, histogram)| !histogram.is_empty());
    all
}

/// What a tag may not have is written as in addresses of the web.
fn of_target(stage: Stage, target: &str) -> String {
    let mut tag = format!("{}:", stage.tag());
    for character in target.chars() {
        match character {
            '%' | ',' | ' ' | '\r' | '\n' => {
                // Writing to a string does not fail.
                let _infallible = write!(tag, "%{:02x}", u32::from(character));
            }
            other => tag.push(other),
        }
    }
    tag
}

/// The stage of a tag, and the target, unless it is that of all.
pub(super) fn read_tag(tag: &str) -> Option<(Stage, Option<String>)> {
    let Some((stage, encoded)) = tag.split_once(':') else { return Some((Stage::of_tag(tag)?, None)) };
    let mut target = String::new();
    let mut parts = encoded.split('%');
    target.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        target.push(char::from(u8::from_str_radix(code, 16).ok()?));
        target.push_str(rest);
    }
    Some((Stage::of_tag(stage)?, Some(target)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_of_a_target_goes_into_a_tag() {
        for name in ["web2:/srv", "a b,c%20\n\r%", "ä:€", ""] {
            let tag = of_target(Stage::EndToEnd, name);
            assert!(Tag::new(&tag).is_some(), "{tag}");
            assert_eq!(read_tag(&tag), Some((Stage::EndToEnd, Some(name.to_owned()))));
        }
        assert_eq!(read_tag("ship"), Some((Stage::Ship, None)));
        for tag in ["shop", "shop:a", "ship:%2", "ship:%zz"] {
            assert_eq!(read_tag(tag), None, "{tag}");
        }
    }
}
