//! Tells a target what it has and the source has not, where replication is two-way.

use super::Session;
use crate::model::TreePath;
use crate::wire::ToReceiver;

/// Paths in one message: under a frame's limit even if each is as long as can be.
const LACKING_MAX: usize = 200;

impl Session {
    /// Says that the source has not these, though the target has.
    pub fn lacking(&mut self, paths: &[TreePath]) {
        for part in paths.chunks(LACKING_MAX) {
            let paths = part.iter().map(|path| path.as_bytes().to_vec()).collect();
            self.outbox.push(&ToReceiver::Lacking { paths });
        }
    }
}
