//! Sends a large file in pieces: as it is, or as a recipe for building it from what the target has.
//!
//! Its outline is made on the way, for the next time: no file is read once more for that.

use std::collections::VecDeque;
use std::io;

use super::content::{self, Finished, Reading};
use super::event::Ticket;
use crate::delta::{self, Outline, Outliner, Part, Recipe};
use crate::model::{Content, OldFile, Sequence, TreePath};
use crate::tree::Tree;
use crate::wire::{self, Piece};

/// Gives the outline of a content, if it is remembered.
pub type Recall<'a> = dyn Fn(Content) -> Option<Outline> + 'a;

/// A file that is on its way.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) ticket: Ticket,
    pub(super) sequence: Sequence,
    pub(super) reading: Reading,
    making: Making,
    /// Parts that are known and not sent yet.
    parts: VecDeque<Part>,
    outline: Option<Outline>,
    /// Content that was sent, in bytes.
    pub(super) shipped: u64,
}

/// What is made of the content besides sending it.
#[derive(Debug)]
enum Making {
    Nothing,
    Outline(Outliner),
    Recipe(Box<Recipe>),
}

/// What comes next of a file.
pub(super) enum Next {
    /// To be sent.
    Piece(Piece),
    /// Nothing is to be sent yet for what was read.
    Read,
    End,
}

/// How a file ended that was sent.
pub(super) struct Sent {
    pub(super) content: Content,
    pub(super) outline: Option<Outline>,
    pub(super) torn: bool,
}

impl Stream {
    /// `old` is what the target shall build it from, if anything.
    pub(super) fn new(ticket: Ticket, sequence: Sequence, reading: Reading, old: Option<Outline>) -> Self {
        let size = reading.version.size;
        let limits = (wire::CONTENT_BYTES_MAX, wire::COPY_BYTES_MAX);
        let making = match old {
            Some(old) => Making::Recipe(Box::new(Recipe::new(old, size, limits))),
            None if is_outlined(&reading) => Making::Outline(Outliner::new(size)),
            None => Making::Nothing,
        };
        Self { ticket, sequence, reading, making, parts: VecDeque::new(), outline: None, shipped: 0 }
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        if let Some(part) = self.parts.pop_front() {
            return Ok(Next::Piece(self.piece(part)));
        }
        Ok(match (self.reading.next(wire::CONTENT_BYTES_MAX, wire::HOLE_BYTES_MAX)?, &mut self.making) {
            (content::Piece::Bytes(bytes), Making::Recipe(recipe)) => {
                recipe.push(&bytes);
                self.parts.extend(std::iter::from_fn(|| recipe.next_part()));
                Next::Read
            }
            (content::Piece::Bytes(bytes), making) => {
                if let Making::Outline(outliner) = making {
                    outliner.push(&bytes);
                }
                Next::Piece(self.piece(Part::New(bytes)))
            }
            (content::Piece::Hole(length), _) => Next::Piece(Piece::Hole { length }),
            (content::Piece::End, making) => match std::mem::replace(making, Making::Nothing) {
                Making::Nothing => Next::End,
                Making::Outline(outliner) => {
                    self.outline = Some(outliner.finish());
                    Next::End
                }
                Making::Recipe(recipe) => {
                    let (parts, outline) = recipe.finish();
                    (self.parts, self.outline) = (parts, Some(outline));
                    Next::Read
                }
            },
        })
    }

    fn piece(&mut self, part: Part) -> Piece {
        match part {
            Part::New(bytes) => {
                self.shipped += bytes.len() as u64;
                Piece::Bytes(bytes)
            }
            Part::Old { from, length } => Piece::Copy { from, length },
        }
    }

    /// What ends it at the target; and what was sent, unless it is taken back: because it cannot be
    /// read, or has become shorter meanwhile.
    pub(super) fn finish(self, tree: &Tree) -> (Piece, Option<Sent>) {
        let Self { reading, outline, .. } = self;
        let (content, torn) = match reading.finish(tree) {
            Ok(Finished::Whole(content)) => (content, false),
            Ok(Finished::Torn(Some(content))) => (content, true),
            Ok(Finished::Torn(None)) | Err(_) => return (Piece::Abort, None),
        };
        (Piece::End(content), Some(Sent { content, outline, torn }))
    }
}

/// Holes are neither in outlines nor in recipes, so a file that has some is sent as it is.
fn is_outlined(reading: &Reading) -> bool {
    !reading.has_holes() && reading.version.size <= delta::SIZE_MAX
}

/// Chooses what the target shall build the file at `path` from: what it has there if that begins
/// and ends alike, or another file that does; or else what it has there, whatever that is like.
pub(super) fn choose(
    path: &TreePath,
    reading: &Reading,
    old_files: Vec<OldFile>,
    recall: &Recall<'_>,
) -> Option<(OldFile, Outline)> {
    if !is_outlined(reading) {
        return None;
    }
    let mut own = None;
    for old_file in old_files {
        let Some(outline) = recall(old_file.content) else { continue };
        let is_copy = outline.size() == reading.version.size
            && reading
                .ends(outline.sample_bytes())
                .is_ok_and(|[beginning, end]| outline.resembles(&beginning, &end));
        if is_copy {
            return Some((old_file, outline));
        }
        if old_file.path == *path {
            own = Some((old_file, outline));
        }
    }
    own
}
