//! Says what came of reading the settings again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What a reload did, by the names of syncs and settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    pub process: u32,
    /// New, or started anew since something differs.
    pub started: Vec<String>,
    /// No longer in the configuration.
    pub ended: Vec<String>,
    pub unchanged: Vec<String>,
    /// Those that could not be started, and why.
    pub failed: Vec<String>,
    /// Settings of the whole daemon that differ, and take effect when it is restarted.
    pub needs_restart: Vec<String>,
}

/// Reads the settings again. An error says what is wrong; all goes on as before then.
pub type Reload = Arc<dyn Fn() -> Result<Reloaded, String> + Send + Sync>;
