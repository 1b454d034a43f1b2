//! Turns latencies into text that other programs read, and back.
//!
//! Histograms are in the V2 format of `HdrHistogram`, deflated and in base64, as its interval logs
//! have them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

use super::counters::Counts;
use super::latency::{Snapshot, Stage};
use super::table::{Facts, render};

/// All that the latency table is made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    pub facts: Facts,
    pub counts: Counts,
    /// One encoded histogram for each of [`Stage::ALL`].
    stages: Vec<String>,
}

/// A histogram that could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("the latencies cannot be {0}")]
pub struct CodecError(String);

impl Report {
    pub fn new(facts: Facts, counts: Counts, snapshot: &Snapshot) -> Result<Self, CodecError> {
        let stages = Stage::ALL.iter().map(|stage| encode(snapshot.of(*stage)));
        Ok(Self { facts, counts, stages: stages.collect::<Result<_, _>>()? })
    }

    pub fn snapshot(&self) -> Result<Snapshot, CodecError> {
        let stages = self.stages.iter().map(|text| decode(text)).collect::<Result<Vec<_>, _>>()?;
        Snapshot::new(stages).ok_or_else(|| CodecError("read: a stage is missing".to_owned()))
    }

    /// The table for people.
    pub fn table(&self) -> Result<String, CodecError> {
        Ok(render(&self.snapshot()?, &self.counts, &self.facts))
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
