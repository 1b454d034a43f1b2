//! Reads what the target has already, while a file is built from it (`copy-data`, OpenSSH 9.0).
//!
//! Only of files that are known ([`Known`](super::known::Known)): nothing checks what is built. On any doubt
//! the step is refused, and the source sends all of the content.

use super::attributes::Attributes;
use super::failure::{Failure, cause};
use super::known::Marks;
use super::packet::{READ, Request};
use super::site::Site;
use crate::model::{Expected, Refusal, TreePath, Version};

/// A file that is open at the server.
#[derive(Debug)]
pub(super) struct OldFile {
    pub(super) handle: Vec<u8>,
    marks: Marks,
}

impl Site {
    /// Opens a file that is what was put at `path`, and what the source `expects` there.
    pub(super) async fn open_old(&self, path: &TreePath, expects: Version) -> Result<OldFile, Failure> {
        let Some(marks) = self.known.marks(path).filter(|_| self.can.copies) else {
            return Err(Failure::new(Refusal::Unbuilt, "it is not certain what is in the old file"));
        };
        let looking = self.look(&[path]);
        let (at, attributes) = (self.at(path), Attributes::default());
        let open = self.client.send(&Request::Open { path: &at, flags: READ, attributes });
        let (looked, handle) = (looking.one().await, open.handle().await);
        let handle = handle.map_err(|status| doubt(&format!("open the old file: {}", cause(&status))))?;
        let old = OldFile { handle, marks };
        let result = match looked {
            Ok((there, _)) if !self.admits(&Expected::This(expects), &there) => {
                Err(doubt("another old file is there"))
            }
            Ok(_) => self.is_as_it_was(&old).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result {
            self.known.forget(path);
            self.close(&old);
            return Err(in_doubt(failure));
        }
        Ok(old)
    }

    /// Whether nobody has written to it since it was put.
    pub(super) async fn is_as_it_was(&self, old: &OldFile) -> Result<(), Failure> {
        let now = self.client.send(&Request::LookAtHandle(&old.handle)).attributes().await;
        let is_same =
            now.is_ok_and(|now| (now.size, now.mtime) == (Some(old.marks.size), Some(old.marks.mtime)));
        if is_same { Ok(()) } else { Err(doubt("somebody has written to the old file")) }
    }

    pub(super) fn close(&self, old: &OldFile) {
        self.client.forget(&Request::Close(&old.handle));
    }
}

/// Refuses to build from an old file.
pub(super) fn doubt(detail: &str) -> Failure {
    Failure::new(Refusal::NoOldFile, detail)
}

/// Has the source send all of the content of a file that could not be built, but for one that it took back.
pub(super) fn in_doubt(failure: Failure) -> Failure {
    match failure {
        Failure::Refused { refusal: Refusal::Withdrawn | Refusal::Unbuilt, .. } | Failure::Ends(_) => failure,
        Failure::Refused { detail, .. } => doubt(&detail),
    }
}
