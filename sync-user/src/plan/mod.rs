//! Turns what was seen at the source into steps for one target: pure, with no files and no clock.
//!
//! The steps are in an order that is valid at every prefix: parents before children, removals of
//! children before their directory, times of directories last.
//!
//! First the renames that the target can repeat (`moves`), then the differences between what
//! was seen and what the ledger says (`differences`; `pages` puts some of them last), at the end the times of the directories that
//! the steps disturb (`times`). The ledger follows every step as it is planned.

mod differences;
mod groups;
mod moves;
mod pages;
mod removals;
mod times;

#[cfg(test)]
mod tests;

pub use differences::{Hashed, Observed, State, differences, worth_hashing};
pub use moves::moves;
pub use pages::pages_last;
pub use removals::{keep, removals};
pub use times::directory_times;

use crate::ledger::{Held, Ledger, Undo};
use crate::model::{OldFile, Step};

/// A step that the ledger has followed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub step: Step,
    /// What the step leaves at its path; `None` for removals and renames.
    pub becomes: Option<Held>,
    /// Takes it back out of the ledger.
    pub undo: Undo,
    /// What the target has, before the step, that it may build the step's file from.
    pub old_files: Vec<OldFile>,
}

impl Planned {
    fn follow(step: Step, becomes: Option<Held>, ledger: &mut Ledger) -> Self {
        let old_files = match &step {
            Step::PutFile { path, entry, .. } => ledger.old_files(path, entry.version.size),
            _ => Vec::new(),
        };
        let undo = ledger.follow(&step, becomes);
        Self { step, becomes, undo, old_files }
    }
}
