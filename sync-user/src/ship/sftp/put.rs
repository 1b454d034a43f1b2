//! Puts files: built in the stage, then renamed over what is there, in one act.
//!
//! The requests of one file go out together wherever one need not wait for the answer to another:
//! a small file takes three round trips, of which many files have theirs at the same time.

use std::collections::VecDeque;
use std::time::Duration;

use super::attributes::Attributes;
use super::client::Answer;
use super::content::Pieces;
use super::failure::{Done, Failure};
use super::known::Marks;
use super::old::{OldFile, doubt, in_doubt};
use super::packet::{MAKE, Request};
use super::site::{On, Site, seconds};
use crate::model::{Content, Durability, Expected, FileKind, Lack, Refusal, There, TreePath, Version};
use crate::wire::{self, Piece};

/// Content of one request: every server takes it (draft-ietf-secsh-filexfer-02, section 3).
const WRITE_BYTES: usize = 32 << 10;

/// Requests for content of one file that are on their way: as much as SSH's window of 2 MiB holds.
const WRITES_MAX: usize = 64;

/// What is copied at once within the server, which does nothing else meanwhile: some 4 ms. And how many such
/// requests of one file are on their way.
const COPY_BYTES: u64 = 4 << 20;
const COPIES_MAX: usize = 2;

/// Files of this size have to be known afterwards, if they are of those that change: sending one again takes a
/// second on a line of 100 Mbit/s, which is as long as it takes to be certain of it.
const WORTH_BYTES: u64 = 12 << 20;

/// How long may be waited for that: more, and the clocks differ.
const SECONDS_MAX: u32 = 2;

/// The clock by which a file gets its time is behind by one tick: 10 ms, where the kernel has 100 in a second.
const TICK: Duration = Duration::from_millis(20);

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
    /// Whole seconds that were let pass since the last write.
    waited: u32,
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

    async fn copy(&mut self, old: &OldFile, from: u64, length: u64) -> Result<(), Failure> {
        let (mut offset, end) = (from, from.saturating_add(length));
        while offset < end {
            let (length, to, at) = ((end - offset).min(COPY_BYTES), &self.handle, self.written);
            let copy = Request::Copy { from: &old.handle, offset, length, to, at };
            self.writes.push_back(self.site.client.send(&copy));
            self.written += length;
            offset += length;
            self.settle(COPIES_MAX).await?;
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

/// A file that only has to be put into place.
struct Finished {
    lacks: Vec<Lack>,
    /// What is in that place.
    there: There,
    /// When it was written last, and what was let pass since, in seconds since 1970 by the target's clock.
    written: Option<u32>,
}

/// Where a file's content comes from.
pub(super) enum Source<'a> {
    Here(Vec<u8>),
    Coming(Pieces),
    /// Parts of it are in an old file.
    Built(Pieces, &'a OldFile),
}

impl Site {
    /// Puts a file whose content follows, and takes all of that whatever happens.
    pub(super) async fn put_streamed(&self, put: Put, pieces: Pieces) -> Result<Done, Failure> {
        let result = self.put_file(put, Source::Coming(pieces.clone())).await;
        pieces.drain().await;
        result
    }

    /// The same for a file of which parts are in the one that the source expects at `old`.
    pub(super) async fn put_built(
        &self,
        put: Put,
        (old, expects): (&[u8], Version),
        pieces: Pieces,
    ) -> Result<Done, Failure> {
        let built = async {
            let old = self.open_old(&Self::path(old)?, expects).await?;
            let result = self.put_file(put, Source::Built(pieces.clone(), &old)).await;
            self.close(&old);
            result.map_err(in_doubt)
        };
        let result = built.await;
        pieces.drain().await;
        result
    }

    pub(super) async fn put_file(&self, put: Put, source: Source<'_>) -> Result<Done, Failure> {
        let name = self.new_name();
        let result = self.build_and_place(&put, source, &name).await;
        if result.is_err() {
            // It may never have been there.
            self.client.forget(&Request::Remove(&name));
        }
        result
    }

    async fn build_and_place(&self, put: &Put, source: Source<'_>, name: &[u8]) -> Result<Done, Failure> {
        let open = self.client.send(&Request::Open {
            path: name,
            flags: MAKE,
            attributes: Attributes::of_mode(0o600),
        });
        let handle = open.handle().await.map_err(|status| Failure::of("stage it", &status))?;
        let mut file = Growing {
            site: self,
            handle: handle.clone(),
            writes: VecDeque::new(),
            written: 0,
            ends_in_hole: false,
            waited: 0,
        };
        let filled = self.fill(&mut file, source, put).await;
        let finished = match filled {
            Ok(()) => self.finish(&mut file, put).await,
            Err(failure) => {
                self.client.forget(&Request::Close(&handle));
                Err(failure)
            }
        };
        let Finished { lacks, there, written } = finished?;
        if there.is_directory() {
            return Err(Failure::found(&put.path, there, "a directory is in the way"));
        }
        self.known.forget(&put.path);
        self.replace(name, &put.path).await?;
        if let Some(written) = written {
            let marks = Marks { size: put.size, mtime: seconds(put.attributes.mtime)? };
            self.known.put(&put.path, marks, written);
        }
        Ok(Done { lacks, met: self.met(there, &put.expects) })
    }

    /// Writes all content, and makes sure of what it was built from.
    async fn fill(&self, file: &mut Growing<'_>, source: Source<'_>, put: &Put) -> Result<(), Failure> {
        let old = if let Source::Built(_, old) = &source { Some(*old) } else { None };
        fill(file, source, put.size).await?;
        if let Some(old) = old {
            file.settle(0).await?;
            self.is_as_it_was(old).await?;
        }
        self.let_its_second_pass(file, put).await
    }

    /// Waits until the target's clock is past the second that a large file gets as its time, if it may soon be
    /// built upon. Else it would have to be sent again when it changes.
    async fn let_its_second_pass(&self, file: &mut Growing<'_>, put: &Put) -> Result<(), Failure> {
        let changes = matches!(put.expects, Expected::This(_));
        if !self.can.copies || !changes || put.size < WORTH_BYTES {
            return Ok(());
        }
        file.settle(0).await?;
        let written = self.client.send(&Request::LookAtHandle(&file.handle)).attributes().await;
        let written = written.map_err(|status| Failure::of("examine it", &status))?.mtime.unwrap_or(0);
        let missing = seconds(put.attributes.mtime)?.saturating_add(1).saturating_sub(written);
        if (1..=SECONDS_MAX).contains(&missing) {
            self.client.pause(Duration::from_secs(missing.into()) + TICK).await;
            file.waited = missing;
        }
        Ok(())
    }

    /// Dresses a file, checks its size, closes it, and looks at the place where it is to go.
    async fn finish(&self, file: &mut Growing<'_>, put: &Put) -> Result<Finished, Failure> {
        let handle = &file.handle;
        let attributes = Attributes { size: Some(put.size), ..Attributes::default() };
        let resized =
            file.ends_in_hole.then(|| self.client.send(&Request::SetOnHandle { handle, attributes }));
        let synced = (self.can.syncs && self.durability != Durability::None)
            .then(|| self.client.send(&Request::Sync(handle)));
        // Before it gets the source's time it has that of the last write.
        let may_be_built_upon = self.can.copies && put.size > wire::INLINE_BYTES_MAX as u64;
        let written = may_be_built_upon.then(|| self.client.send(&Request::LookAtHandle(handle)));
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
        let written = match written {
            Some(written) => written.attributes().await.ok().and_then(|written| written.mtime),
            None => None,
        };
        let written = written.map(|written| written.saturating_add(file.waited));
        let (there, _) = looking.one().await?;
        Ok(Finished { lacks, there, written })
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
async fn fill(file: &mut Growing<'_>, source: Source<'_>, size: u64) -> Result<(), Failure> {
    let too_much = || Failure::new(Refusal::Damaged, "more came than was promised");
    let (pieces, old) = match source {
        Source::Here(bytes) if bytes.len() as u64 == size => return file.write(&bytes).await,
        Source::Here(_) => return Err(Failure::new(Refusal::Damaged, "its content is of another size")),
        Source::Coming(pieces) => (pieces, None),
        Source::Built(pieces, old) => (pieces, Some(old)),
    };
    loop {
        let left = size.saturating_sub(file.written);
        match pieces.next().await {
            Piece::Bytes(bytes) if bytes.len() as u64 <= left => file.write(&bytes).await?,
            Piece::Hole { length } if length <= left => {
                file.written += length;
                file.ends_in_hole = true;
            }
            Piece::Copy { from, length } if length <= left => match old {
                Some(old) => file.copy(old, from, length).await?,
                None => return Err(doubt("none was named")),
            },
            Piece::Bytes(_) | Piece::Hole { .. } | Piece::Copy { .. } => return Err(too_much()),
            Piece::Abort => return Err(Failure::new(Refusal::Withdrawn, "the source took it back")),
            Piece::End(Content(_)) if left == 0 => return Ok(()),
            Piece::End(Content(_)) => {
                return Err(Failure::new(Refusal::Damaged, format!("{left} of {size} bytes did not come")));
            }
        }
    }
}
