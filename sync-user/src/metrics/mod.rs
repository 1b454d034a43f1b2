//! Takes what every stage measures. Stages write, and none reads: nothing is decided by it.

mod counters;
mod hgrm;
mod latency;
mod log;
mod portable;
mod pulse;
mod table;
mod target;
mod units;

pub use counters::{Counter, Counters, Counts, Gauge};
pub use hgrm::hgrm;
pub use latency::{Latency, Snapshot, Stage};
pub use log::{LatencyLog, LogError, read as read_log};
pub use portable::{CodecError, Report};
pub use pulse::Pulse;
pub use table::{Facts, render};
pub use target::{Backlog, Connection, Target, TargetSnapshot, Trouble};
pub use units::time;
