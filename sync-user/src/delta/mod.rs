//! Says how to make a new file from an old one that is elsewhere: pure, with no files.
//!
//! An [`Outline`] is what is remembered of a content: hashes of its chunks, whose bounds follow
//! from the content itself, and of its blocks, which all have one size. It is about 0.5 per cent
//! as long as the content. Given the outline of what the target has, a [`Recipe`] turns new
//! content into parts: ranges of the old file, and bytes that are new. The chunks find what has
//! moved, wherever it went. Between two chunks that were found, the blocks find what stayed around
//! many small changes, as it moved by as much as its neighbours.
//!
//! Neither is ever trusted: the target hashes what it has built.

mod cutter;
mod outline;
mod recipe;
mod scale;

#[cfg(test)]
mod tests;

pub use outline::{Outline, Outliner};
pub use recipe::{Part, Recipe};
pub use scale::SIZE_MAX;
