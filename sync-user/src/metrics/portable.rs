//! Turns latencies into text that other programs read, and back.
//!
//! Histograms are in the V2 format of `HdrHistogram`, deflated and in base64, as its interval logs
//! have them.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::counters::Counts;
use super::diagnosis::diagnosis;
use super::intervals::hlog;
use super::latency::{Latencies, Snapshot, Stage};
use super::slowest::{Slowest, slowest};
use super::svg::svg;
use super::table::{Facts, View, render};

/// All that the latency table is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub facts: Facts,
    /// Those of all targets, whatever the latencies are of.
    pub counts: Counts,
    /// Where there are several targets.
    pub slowest: Option<Slowest>,
    /// Whether the latencies are those of one of several targets.
    pub one_target: bool,
    /// When they were measured last, since 1970.
    pub until: Duration,
    /// Where a running daemon keeps them.
    pub log: Option<PathBuf>,
    /// One encoded histogram for each of [`Stage::ALL`].
    stages: Vec<String>,
}

/// A histogram that could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("the latencies cannot be {0}")]
pub struct CodecError(String);

impl Report {
    /// What was measured until `until`; with `target`, which is among the facts' targets, for it alone.
    pub fn new(
        facts: &Facts,
        counts: Counts,
        latencies: &Latencies,
        target: Option<&str>,
        until: Duration,
    ) -> Result<Self, CodecError> {
        let snapshot = match target {
            Some(name) => latencies
                .of_target(name)
                .ok_or_else(|| CodecError(format!("those of {name}: there are none")))?,
            None => latencies.all.clone(),
        };
        let mut facts = facts.clone();
        let one_target = target.is_some() && facts.targets.len() > 1;
        if let Some(name) = target {
            facts.targets = vec![name.to_owned()];
        }
        let stages = Stage::ALL.iter().map(|stage| encode(snapshot.of(*stage)));
        let stages = stages.collect::<Result<_, _>>()?;
        let slowest = slowest(latencies).filter(|_| target.is_none());
        Ok(Self { facts, counts, slowest, one_target, until, log: None, stages })
    }

    pub fn snapshot(&self) -> Result<Snapshot, CodecError> {
        let stages = self.stages.iter().map(|text| decode(text)).collect::<Result<Vec<_>, _>>()?;
        Snapshot::new(stages).ok_or_else(|| CodecError("read: a stage is missing".to_owned()))
    }

    /// Where the time goes, in one sentence, and which flag to try.
    pub fn diagnosis(&self) -> Result<String, CodecError> {
        Ok(diagnosis(&self.view(&self.snapshot()?, None)))
    }

    /// The table for people, of all stages or of one.
    pub fn table(&self, stage: Option<Stage>) -> Result<String, CodecError> {
        Ok(render(&self.view(&self.snapshot()?, stage)))
    }

    /// The same as a picture.
    pub fn svg(&self, stage: Option<Stage>) -> Result<String, CodecError> {
        svg(&self.view(&self.snapshot()?, stage)).map_err(|error| CodecError(format!("drawn: {error}")))
    }

    /// The same as an interval log of `HdrHistogram` of one interval.
    pub fn hlog(&self, stage: Option<Stage>) -> Result<String, CodecError> {
        let mut all = self.snapshot()?;
        if let Some(stage) = stage {
            all = all.only(stage);
        }
        let running = self.facts.running;
        hlog(&Latencies { all, by_target: Vec::new() }, self.until.saturating_sub(running), running)
            .map_err(|error| CodecError(format!("written: {error}")))
    }

    fn view<'a>(&'a self, snapshot: &'a Snapshot, stage: Option<Stage>) -> View<'a> {
        View {
            snapshot,
            counts: &self.counts,
            facts: &self.facts,
            slowest: self.slowest.as_ref(),
            one_target: self.one_target,
            stage,
        }
    }
}

fn encode(histogram: &Histogram<u64>) -> Result<String, CodecError> {
    let mut bytes = Vec::new();
    let encoded = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
    encoded.map_err(|error| CodecError(format!("written: {error}")))?;
    Ok(STANDARD.encode(bytes))
}

/// Reads one histogram as it is in an interval log.
pub(super) fn decode(text: &str) -> Result<Histogram<u64>, CodecError> {
    let bytes = STANDARD.decode(text).map_err(|error| CodecError(format!("read: {error}")))?;
    Deserializer::new()
        .deserialize(&mut bytes.as_slice())
        .map_err(|error| CodecError(format!("read: {error}")))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Latency;

    #[test]
    fn what_is_read_back_is_what_was_written() {
        let latency = Latency::new();
        for millis in 1..2_000 {
            latency.record(Stage::Ship, Duration::from_millis(millis));
        }
        let snapshot = latency.snapshot();
        for stage in Stage::ALL {
            let encoded = encode(snapshot.of(stage)).unwrap();
            assert_eq!(&decode(&encoded).unwrap(), snapshot.of(stage));
        }
        assert!(decode("no base64").is_err());
        assert!(decode("AAAA").is_err());
    }
}
