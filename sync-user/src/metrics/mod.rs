//! Takes what every stage measures. Stages write, and none reads: nothing is decided by it.

mod counters;
mod latency;
mod table;
mod target;
mod units;

pub use counters::{Counter, Counters, Gauge};
pub use latency::{Latency, Snapshot, Stage};
pub use table::{Facts, render};
pub use target::{Backlog, Connection, Target, TargetSnapshot, Trouble};
pub use units::time;
