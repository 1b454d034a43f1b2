//! stub
use std::sync::atomic::*;
use std::time::Duration;
#[derive(Debug, Default)]
pub struct Latency;
#[derive(Clone, Copy)]
pub enum Stage {
    Capture,
    Queue,
    Batch,
    Ship,
    Apply,
    EndToEnd,
}
impl Latency {
    pub fn new() -> Self {
        Self
    }
    pub fn record(&self, _: Stage, _: Duration) {}
}
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);
impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }
}
#[derive(Debug, Default)]
pub struct Counters {
    pub changes_captured: Counter,
    pub changes_shipped: Counter,
    pub bytes_shipped: Counter,
    pub lost_events: Counter,
    pub gaps: Counter,
    pub rescans: Counter,
    pub retried: Counter,
    pub problems: Counter,
    pub reconnects: Counter,
    pub renames_repeated: Counter,
}
