//! Holds what a root needs where the other end is a replica of it, too: its own daemon, which is
//! told what arrives, and a place for what loses a conflict.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::AtFlags;

use super::Root;
use super::contest::may_set_mode;
use super::place::Loft;
use super::resident::Resident;
use crate::metadata::{self, XattrPlace};
use crate::model::{Expected, Mode, There, Version, XattrHash};
use crate::wire::{Arrived, Holding};

/// A source that is a target of this root, too.
#[derive(Debug)]
pub(super) struct TwoWay {
    /// Its name, for people.
    name: String,
    resident: Resident,
}

impl TwoWay {
    /// `root` is the name of the source's own root.
    pub(super) fn with(name: String, root: [u8; 16]) -> Self {
        Self { name, resident: Resident::new(root) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Root {
    /// Looks for this root's own daemon, which may have been started since.
    pub fn reach_resident(&mut self) {
        if let Some(two_way) = &mut self.two_way {
            two_way.resident.reach(self.stage.home());
        }
    }

    /// Has this root's own daemon compare with what the source says that it holds.
    pub fn source_holds(&mut self, entries: Vec<Holding>) {
        if let Some(two_way) = &mut self.two_way {
            two_way.resident.source_holds(self.stage.home(), entries);
        }
    }

    /// Tells this root's own daemon what the source has from a third root.
    pub fn source_holds_too(&mut self, entries: Vec<Holding>) {
        if let Some(two_way) = &mut self.two_way {
            two_way.resident.source_holds_too(self.stage.home(), entries);
        }
    }

    pub(super) fn begins(&mut self, paths: &[&[u8]]) {
        if let Some(two_way) = &mut self.two_way {
            two_way.resident.begins(self.stage.home(), paths);
        }
    }

    pub(super) fn ends(&mut self, arrived: Option<Arrived>) {
        if let Some(two_way) = &mut self.two_way {
            two_way.resident.ends(self.stage.home(), arrived);
        }
    }

    pub(super) fn loft(&self) -> Loft<'_> {
        let by = self.two_way.as_ref().map_or("", TwoWay::name);
        Loft { home: self.stage.home(), by }
    }

    /// Whether what is there already may get the attributes that a step has for it. A step that has
    /// not expected it may be older than they are: then only a stricter mode is taken.
    pub(super) fn may_dress(&self, there: There, expects: &Expected, mode: Mode) -> bool {
        let (Some(_), There::Version(now)) = (&self.two_way, there) else { return true };
        match expects {
            Expected::This(_) if expects.admits(&there) => may_set_mode(&now, expects, mode),
            _ => mode.0 < now.mode.0,
        }
    }

    /// What this machine shows of a path, for its own daemon.
    pub(super) fn version_here(&self, directory: impl AsFd, name: &Path) -> Option<Version> {
        let preserve = self.dress.preserve;
        let stat = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let xattrs = XattrPlace::at(&directory, name).read(preserve).ok()?;
        metadata::version(&stat, XattrHash::of(&xattrs), preserve)
    }

    pub(super) fn version_of(&self, path: &[u8]) -> Option<Version> {
        let leaf = self.leaf_or_root(path).ok()?;
        self.version_here(&leaf.directory, leaf.name())
    }
}
