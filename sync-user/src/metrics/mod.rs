//! Takes what every stage measures. Stages write, and none reads: nothing is decided by it.

mod counters;
mod latency;
mod table;

pub use counters::{Counter, Counters};
pub use latency::{Latency, Snapshot, Stage};
pub use table::{Facts, render};
