//! Takes what every stage measures. Stages write, and none reads: nothing is decided by it.

mod busiest;
mod counters;
mod diagnosis;
mod hgrm;
mod intervals;
mod latency;
mod log;
mod log_reading;
mod portable;
mod pulse;
mod slowest;
mod svg;
mod table;
mod target;
mod units;

pub use busiest::Busiest;
pub use counters::{Counter, Counters, Counts, Gauge};
pub use hgrm::hgrm;
pub use latency::{Latencies, Latency, Snapshot, Stage};
pub use log::LatencyLog;
pub use log_reading::{LogError, Wanted, read as read_log};
pub use portable::{CodecError, Report};
pub use pulse::Pulse;
pub use slowest::{Slowest, meant};
pub use table::Facts;
pub use target::{Backlog, Connection, Progress, Target, TargetSnapshot, Trouble};
pub use units::time;
