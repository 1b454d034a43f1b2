//! Puts files: their content comes, is checked out of sight, and then becomes visible in one act.
//!
//! Between the last two a file may wait for the others of its batch (`--publish batch`).

use std::os::fd::AsFd as _;

use super::apply::{Done, Progress, Root, in_the_way};
use super::contest::Contender;
use super::expect::{self, Wanted, look, met};
use super::failure::Failure;
use super::old::OldFile;
use super::place::place;
use super::stage::{Staged, StagedFile};
use crate::model::{Content, Durability, Expected, FileKind, Lack, Met, Refusal, Time, Version};
use crate::wire::{Arrived, Attributes, Body};

/// A file whose content is still coming; dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    file: StagedFile,
    /// What it is built from, if it is.
    old: Option<OldFile>,
    path: Vec<u8>,
    expects: Expected,
    size: u64,
    /// What has not come yet.
    left: u64,
    attributes: Attributes,
}

/// A file that is all here and checked; dropping it leaves nothing behind.
#[derive(Debug)]
pub struct Whole {
    staged: Staged,
    lacks: Vec<Lack>,
    path: Vec<u8>,
    expects: Expected,
    size: u64,
    mtime: Time,
    content: Content,
}

impl Root {
    pub(super) fn put_file(
        &mut self,
        path: Vec<u8>,
        expects: Expected,
        (size, stored): (u64, u64),
        attributes: Attributes,
        body: Body,
    ) -> Result<Progress, Failure> {
        self.dress.check(&attributes)?;
        let leaf = match self.leaf(&path) {
            // The directory is one of those that wait with it.
            Err(Failure { refusal: Refusal::NoParent, .. }) if self.publishes => None,
            leaf => Some(leaf?),
        };
        if let (Body::Inline { content, .. }, Some(leaf)) = (&body, &leaf) {
            let wanted = Wanted { size, mtime: attributes.mtime, content: *content };
            let there = look(leaf)?;
            if let Some(file) = expect::holds_file(leaf, there, &wanted) {
                self.begins(&[&path]);
                let lacks = if self.may_dress(there, &expects, attributes.mode) {
                    self.dress.put_on(file.as_fd(), false, &attributes)
                } else {
                    Ok(Vec::new())
                };
                let version = self.version_here(&leaf.directory, leaf.name()).filter(|_| lacks.is_ok());
                self.ends(version.map(|version| Arrived::Put {
                    path: path.clone(),
                    version: Version { mode: attributes.mode, ..version },
                    content: Some(*content),
                }));
                let lacks = lacks?;
                return Ok(Progress::Done(Done { lacks, met: Met::Already }));
            }
        }
        let old = match &body {
            Body::Built { old, expects } => Some(self.old_file(old, *expects)?),
            Body::Inline { .. } | Body::Streamed => None,
        };
        let file = self.stage.file(leaf.as_ref(), stored)?;
        let mut incoming = Incoming { file, old, path, expects, size, left: size, attributes };
        match body {
            Body::Streamed | Body::Built { .. } => Ok(Progress::Wants(incoming)),
            Body::Inline { bytes, content } => {
                incoming.write(&bytes)?;
                self.complete(incoming, content).map(|whole| Progress::Whole(Box::new(whole)))
            }
        }
    }

    fn old_file(&self, path: &[u8], expects: Version) -> Result<OldFile, Failure> {
        let leaf = self.leaf(path).map_err(|failure| match failure.refusal {
            Refusal::NoParent => Failure::old_file(failure.detail),
            _ => failure,
        })?;
        OldFile::open(&leaf, expects)
    }

    /// Checks a file whose content has all come. It is not visible yet.
    pub fn complete(&mut self, incoming: Incoming, content: Content) -> Result<Whole, Failure> {
        let Incoming { file, old, path, expects, size, left: _, attributes } = incoming;
        let is_durable = self.durability == Durability::File;
        let finished = file.finish((size, content), is_durable, &attributes, &self.dress);
        let (staged, lacks) = finished.map_err(|failure| match (failure.refusal, &old) {
            (Refusal::Damaged, Some(_)) => Failure::old_file(failure.detail),
            _ => failure,
        })?;
        Ok(Whole { staged, lacks, path, expects, size, mtime: attributes.mtime, content })
    }

    /// Puts a file into place, where readers see it.
    pub fn publish(&mut self, whole: Whole) -> Result<Done, Failure> {
        let Whole { staged, lacks, path, expects, size, mtime, content } = whole;
        // Opened again, since much may have happened while the content came.
        let leaf = self.leaf(&path)?;
        if self.two_way.is_none() {
            let met = met(look(&leaf)?, &expects);
            staged.replace(&leaf).map_err(|error| in_the_way(&leaf, error))?;
            return Ok(Done { lacks, met });
        }
        // Before anybody sees it, and so before anybody else can change it.
        let version = self.version_here(staged.directory(), staged.name());
        let contender = Contender { kind: FileKind::File, size, mtime, content: Some(content) };
        self.begins(&[&path]);
        let placed = place(&staged, &leaf, &expects, &contender, self.loft());
        let arrived = version.filter(|_| placed.is_ok());
        self.ends(arrived.map(|version| Arrived::Put { path, version, content: Some(content) }));
        Ok(Done { lacks, met: placed? })
    }
}

impl Incoming {
    /// Adds content.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.expect(bytes.len() as u64)?;
        self.file.write(bytes)
    }

    /// Adds zeros that take no space.
    pub fn hole(&mut self, length: u64) -> Result<(), Failure> {
        self.expect(length)?;
        self.file.hole(length)
    }

    /// Adds a range of the file that this one is built from.
    pub fn copy(&mut self, from: u64, length: u64) -> Result<(), Failure> {
        self.expect(length)?;
        match &self.old {
            Some(old) => self.file.copy(old, from, length),
            None => Err(Failure::old_file("none was named")),
        }
    }

    /// Refuses what would make the file longer than it shall be.
    fn expect(&mut self, more: u64) -> Result<(), Failure> {
        match self.left.checked_sub(more) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Failure::new(Refusal::Damaged, "more came than was promised")),
        }
    }
}
