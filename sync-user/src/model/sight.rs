//! Says what one end holds at a path, when both are compared by content.

use serde::{Deserialize, Serialize};

use super::{Content, Version};

/// What was found at a path, with the hash of its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sight {
    Absent,
    Present {
        version: Version,
        /// Of a file its content, of a symbolic link its destination. `None` for directories, and
        /// where nobody asked for it.
        content: Option<Content>,
    },
    /// A fifo, a socket or a device.
    Foreign,
    /// It became something else while it was read.
    Changing,
    Unreadable {
        cause: String,
    },
}
