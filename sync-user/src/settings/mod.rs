//! Finds out what an operator wants: from flags, the environment and configuration files.
//!
//! Each setting is defined once, as a flag of `ksyncd run` ([`definitions`]). Its key in a file,
//! its variable in the environment, its default, its documentation and what values it takes all
//! come from there.
//!
//! ```text
//!  flag > environment > [[sync]] section > conf.d/*.toml > ksyncd.toml > default
//! ```

mod bandwidth;
mod complaint;
mod definitions;
mod document;
mod files;
mod introduction;
mod key;
mod layers;
mod lines;
mod manual;
mod preserve;
mod reference;
mod typed;

#[cfg(test)]
mod tests;

pub use definitions::{
    CaptureFlag, DaemonSettings, DurabilityFlag, PublishFlag, SyncSettings, TransportFlag, ring_size,
};
pub use layers::{Daemon, Loaded, Sync, Trouble, load};
pub use lines::{assignment, comment};
pub use manual::man_page;
pub use reference::{markdown, show, template};
pub use typed::Given;

/// Where the configuration of a system is.
pub const FILE: &str = "/etc/ksyncd/ksyncd.toml";
