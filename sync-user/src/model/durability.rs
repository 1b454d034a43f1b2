//! Says what an acknowledgement promises about the target's disk.

use serde::{Deserialize, Serialize};

/// What is on the target's disk before a step is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// Nothing: the kernel there writes when it likes. What a crash of that machine takes is found
    /// by the listing that follows one.
    None,
    /// All steps that are acknowledged at once, by one `syncfs`.
    Batch,
    /// Each file before it takes its name (`fdatasync`), and then as [`Durability::Batch`].
    File,
}
