//! Turns the configuration of lsyncd into one of ksyncd.
//!
//! An lsyncd.conf is a program in Lua, so it is run ([`sandbox`]), without anything of the system;
//! loops over hosts and variables need no care then. What it declares becomes sections, and of
//! each setting it is said whether it is carried over, done in another way, not needed, or needs
//! a hand. Keys and values are checked as those of a configuration file are.

mod convert;
mod data;
mod delay;
mod error;
mod merge;
mod part;
mod place;
mod rsync;
mod rules;
mod sandbox;
mod ssh;
mod sync;
mod whole;
mod words;
mod write;

#[cfg(test)]
mod tests;

pub use error::ImportError;

use part::{Kind, Part};

/// What was made of an lsyncd.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The configuration file of ksyncd.
    pub toml: String,
    /// What a person should know, a line each, and a last one that sums it up.
    pub notes: String,
    /// Whether anything needs a hand before it does what lsyncd did.
    pub needs_a_hand: bool,
}

/// Imports `program`, which is what is in `file`.
pub fn import(file: &str, program: &[u8]) -> Result<Imported, ImportError> {
    let sandbox::Declared { settings, syncs } = sandbox::run(program)?;
    if syncs.is_empty() {
        return Err(ImportError::NoSync);
    }
    let whole = whole::whole(settings);
    let sections: Vec<Part> = syncs.into_iter().map(|(table, line)| sync::section(table, line)).collect();
    let sections = merge::merge(sections);
    let is_hand = |part: &Part| part.notes.iter().any(|note| note.kind == Kind::Hand);
    Ok(Imported {
        toml: write::toml(file, &whole, &sections),
        notes: write::list(file, &whole, &sections),
        needs_a_hand: is_hand(&whole) || sections.iter().any(is_hand),
    })
}
