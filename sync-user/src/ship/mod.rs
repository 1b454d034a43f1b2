//! Carries plans to one target, and its receipts back.

mod link;

pub use link::{Link, LinkError, Received};
