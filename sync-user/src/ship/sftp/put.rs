//! Puts files: built in the stage, then renamed over what is there, in one act.
//!
//! The requests of one file go out together wherever one need not wait for the answer to another:
//! a small file takes three round trips, of which many files have theirs at the same time.

use std::collections::VecDeque;

use super::attributes::Attributes;
use super::client::Answer;
use super::content::Pieces;
use super::failure::{Done, Failure};
use super::packet::{MAKE, Request};
use super::site::{On, Site};
use crate::model::{Content, Durability, Expected, FileKind, Lack, Refusal, There, TreePath};
use crate::wire::{self, Piece};

/// Content of one request: every server takes it (draft-ietf-secsh-filexfer-02, section 3).
const WRITE_BYTES: usize = 32 << 10;

/// Requests for content of one file that are on their way: as much as SSH's window of 2 MiB holds.
const WRITES_MAX: usize = 64;

/// A file to put.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) path: TreePath,
    pub(super) expects: Expected,
    pub(super) size: u64,
    pub(super) attributes: wire::Attributes,
}

/// A file in the stage that is being written.
struct Growing<'a> {
    site: &'a Site,
    handle: Vec<u8>,
    writes: VecDeque<Answer>,
    written: u64,
    ends_in_hole: bool,
}

impl Growing<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        for bytes in bytes.chunks(WRITE_BYTES) {
            let (handle, offset) = (&self.handle, self.written);
            self.writes.push_back(self.site.client.send(&Request::Write { handle, offset, bytes }));
            self.written += bytes.len() as u64;
            self.settle(WRITES_MAX).await?;
        }
        self.ends_in_hole = false;
        Ok(())
    }

    /// Waits until no more than so many writes are without an answer.
    async fn settle(&mut self, most: usize) -> Result<(), Failure> {
        while self.writes.len() > most
            && let Some(write) = self.writes.pop_front()
        {
            write.done().await.map_err(|status| Failure::of("write its content", &status))?;
        }
        Ok(())
    }
}

/// Where a file's content comes from.
pub(super) enum Source {
    Here(Vec<u8>),
    Coming(Pieces),
}

impl Site {
    /// Puts a file whose content follows, and takes all of that whatever happens.
    pub(super) async fn put_streamed(&self, put: Put, pieces: Pieces) -> Result<Done, Failure> {
        let result = self.put_file(put, Source::Coming(pieces.clone())).await;
        pieces.drain().await;
        result
    }

    pub(super) async fn put_file(&self, put: Put, source: Source) -> Result<Done, Failure> {
        let name = self.new_name();
        let result = self.build_and_place(&put, source, &name).await;
        if result.is_err() {
            // It may never have been there.
            self.client.forget(&Request::Remove(&name));
        }
        result
    }

    async fn build_and_place(&self, put: &Put, source: Source, name: &[u8]) -> Result<Done, Failure> {
        let open = self.client.send(&Request::Open {
            path: name,
            flags: MAKE,
            attributes: Attributes::of_mode(0o600),
        });
        let handle = open.handle().await.map_err(|status| Failure::of("stage it", &status))?;
        let writes = VecDeque::new();
        let mut file =
            Growing { site: self, handle: handle.clone(), writes, written: 0, ends_in_hole: false };
        let filled = fill(&mut file, source, put.size).await;
        let finished = match filled {
            Ok(()) => self.finish(&mut file, put).await,
            Err(failure) => {
                self.client.forget(&Request::Close(&handle));
                Err(failure)
            }
        };
        let (lacks, there) = finished?;
        if there.is_directory() {
            return Err(Failure::found(&put.path, there, "a directory is in the way"));
        }
        self.replace(name, &put.path).await?;
        Ok(Done { lacks, met: self.met(there, &put.expects) })
    }

    /// Dresses a file, checks its size, closes it, and looks at the place where it is to go.
    async fn finish(&self, file: &mut Growing<'_>, put: &Put) -> Result<(Vec<Lack>, There), Failure> {
        let handle = &file.handle;
        let attributes = Attributes { size: Some(put.size), ..Attributes::default() };
        let resized =
            file.ends_in_hole.then(|| self.client.send(&Request::SetOnHandle { handle, attributes }));
        let synced = (self.can.syncs && self.durability != Durability::None)
            .then(|| self.client.send(&Request::Sync(handle)));
        let had = (self.user, self.group);
        let dressing = self.dress(On::Handle(handle), FileKind::File, had, &put.attributes);
        let look = self.client.send(&Request::LookAtHandle(handle));
        let close = self.client.send(&Request::Close(handle));
        let looking = self.look(&[&put.path]);
        let lacks = dressing?.done().await?;
        file.settle(0).await?;
        if let Some(resized) = resized {
            resized.done().await.map_err(|status| Failure::of("set its size", &status))?;
        }
        if let Some(synced) = synced {
            synced.done().await.map_err(|status| Failure::of("write it to the disk", &status))?;
        }
        let size = look.attributes().await.map_err(|status| Failure::of("examine it", &status))?.size;
        close.done().await.map_err(|status| Failure::of("close it", &status))?;
        if size != Some(put.size) {
            let detail = format!("it has {size:?} bytes there instead of {}", put.size);
            return Err(Failure::new(Refusal::Damaged, detail));
        }
        let (there, _) = looking.one().await?;
        Ok((lacks, there))
    }

    /// Renames what is staged over whatever is at `path`.
    pub(super) async fn replace(&self, name: &[u8], path: &TreePath) -> Result<(), Failure> {
        let replaced = self.client.do_it(&Request::Replace { from: name, to: &self.at(path) }).await;
        let Err(status) = replaced else { return Ok(()) };
        // What has come between is told by the directories above, or by what is there.
        let (there, _) = self.look_at(path).await?;
        Err(if there.is_directory() {
            Failure::found(path, there, "a directory is in the way")
        } else {
            Failure::of("put it into place", &status)
        })
    }
}

/// Writes all content, and no more than was promised.
async fn fill(file: &mut Growing<'_>, source: Source, size: u64) -> Result<(), Failure> {
    let too_much = || Failure::new(Refusal::Damaged, "more came than was promised");
    let pieces = match source {
        Source::Here(bytes) if bytes.len() as u64 == size => return file.write(&bytes).await,
        Source::Here(_) => return Err(Failure::new(Refusal::Damaged, "its content is of another size")),
        Source::Coming(pieces) => pieces,
    };
    loop {
        let left = size.saturating_sub(file.written);
        match pieces.next().await {
            Piece::Bytes(bytes) if bytes.len() as u64 <= left => file.write(&bytes).await?,
            Piece::Hole { length } if length <= left => {
                file.written += length;
                file.ends_in_hole = true;
            }
            Piece::Bytes(_) | Piece::Hole { .. } => return Err(too_much()),
            Piece::Copy { .. } => return Err(no_old_file()),
            Piece::Abort => return Err(Failure::new(Refusal::Withdrawn, "the source took it back")),
            Piece::End(Content(_)) if left == 0 => return Ok(()),
            Piece::End(Content(_)) => {
                return Err(Failure::new(Refusal::Damaged, format!("{left} of {size} bytes did not come")));
            }
        }
    }
}

/// By size and whole seconds alone what is there cannot be told from another version of it, and a file
/// that was built from that would be wrong.
pub(super) fn no_old_file() -> Failure {
    Failure::new(Refusal::NoOldFile, "over SFTP files are not built from others")
}
