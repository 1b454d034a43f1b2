//! Says whom an entry belongs to, by the numbers of the source.

use serde::{Deserialize, Serialize};

/// User and group, as the source numbers them; the receiver knows its own numbers by their
/// names. [`Owner::LEFT`] in either place says that it is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    pub user: u32,
    pub group: u32,
}

impl Owner {
    /// The number that `chown` takes for "no change"; nobody has it.
    pub const LEFT: u32 = u32::MAX;
    /// What a target says of somebody whom the source does not know; nobody has it either.
    pub const FOREIGN: u32 = u32::MAX - 1;

    /// Neither user nor group.
    pub const NOBODY: Self = Self { user: Self::LEFT, group: Self::LEFT };
}

/// A user or a group with its name at the source; an empty name stands for the number alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    pub id: u32,
    pub name: Vec<u8>,
}
