//! Does one step: each a function, each all or nothing as far as SFTP allows.

use super::attributes::Attributes;
use super::content::Pieces;
use super::failure::{Done, Failure};
use super::packet::{Request, Status};
use super::put::{Put, Source, no_old_file};
use super::site::{On, Site, seconds};
use crate::model::{Content, Expected, FileKind, Met, PathError, Refusal, There, Time, TreePath, Version};
use crate::wire::{self, Body, Step};

/// The paths that a step names, in whatever way.
pub(super) fn paths(step: &Step) -> Result<Vec<TreePath>, PathError> {
    let named: Vec<&[u8]> = match step {
        Step::MakeDirectory { path, .. }
        | Step::PutFile { path, .. }
        | Step::PutSymlink { path, .. }
        | Step::SetAttributes { path, .. }
        | Step::SetDirectoryTime { path, .. }
        | Step::RemoveFile { path, .. }
        | Step::RemoveDirectory { path } => vec![path],
        Step::Link { path: one, to: other, .. }
        | Step::Rename { from: one, to: other, .. }
        | Step::Exchange { one, other, .. } => vec![one, other],
    };
    named.into_iter().map(TreePath::new).collect()
}

impl Site {
    pub(super) async fn apply(&self, step: Step, pieces: Pieces) -> Result<Done, Failure> {
        match step {
            Step::PutFile { path, expects, size, stored: _, attributes, body } => {
                let put = Self::path(&path).map(|path| Put { path, expects, size, attributes });
                match (put, body) {
                    (Ok(put), Body::Inline { bytes, content: Content(_) }) => {
                        self.put_file(put, Source::Here(bytes)).await
                    }
                    (Ok(put), Body::Streamed) => self.put_streamed(put, pieces).await,
                    (Err(failure), Body::Inline { .. }) => Err(failure),
                    (Err(failure), Body::Streamed | Body::Built { .. }) => {
                        pieces.drain().await;
                        Err(failure)
                    }
                    (Ok(_), Body::Built { .. }) => {
                        pieces.drain().await;
                        Err(no_old_file())
                    }
                }
            }
            Step::MakeDirectory { path, expects, attributes } => {
                self.make_directory(&Self::path_or_root(&path)?, expects, &attributes).await
            }
            Step::PutSymlink { path, expects, destination, attributes } => {
                self.put_symlink(&Self::path(&path)?, expects, &destination, &attributes).await
            }
            Step::Link { path, to, expects, replaces } => {
                self.link(&Self::path(&path)?, &Self::path(&to)?, expects, replaces).await
            }
            Step::SetAttributes { path, expects, kind, size, attributes } => {
                self.set_attributes(&Self::path_or_root(&path)?, expects, (kind, size), &attributes).await
            }
            Step::SetDirectoryTime { path, mtime } => {
                self.set_directory_time(&Self::path_or_root(&path)?, mtime).await
            }
            Step::RemoveFile { path, expects } => self.remove_file(&Self::path(&path)?, expects).await,
            Step::RemoveDirectory { path } => self.remove_directory(&Self::path(&path)?).await,
            Step::Rename { from, to, expects, replaces } => {
                self.rename(&Self::path(&from)?, &Self::path(&to)?, expects, replaces).await
            }
            // Both are looked at again, and what differs is sent.
            Step::Exchange { .. } => Err(Failure::unexpected("SFTP exchanges no names in one act")),
        }
    }

    async fn make_directory(
        &self,
        path: &TreePath,
        expects: Expected,
        attributes: &wire::Attributes,
    ) -> Result<Done, Failure> {
        let (there, now) = self.look_at(path).await?;
        if there.is_directory() {
            let had = now.owner.unwrap_or((self.user, self.group));
            let dressing = self.dress(On::Path(&self.at(path)), FileKind::Directory, had, attributes)?;
            // Whoever made it: what is in it stays, and nothing is replaced.
            return Ok(Done { lacks: dressing.done().await?, met: Met::Already });
        }
        let name = self.new_name();
        let made =
            self.client.send(&Request::MakeDirectory { path: &name, attributes: Attributes::of_mode(0o700) });
        let had = (self.user, self.group);
        let dressing = self.dress(On::Path(&name), FileKind::Directory, had, attributes);
        let looking = self.look(&[path]);
        let placed = async {
            made.done().await.map_err(|status| Failure::of("make the directory", &status))?;
            let lacks = dressing?.done().await?;
            let (there, _) = looking.one().await?;
            self.place_directory(&name, path, there).await?;
            Ok(Done { lacks, met: self.met(there, &expects) })
        };
        let placed = placed.await;
        if placed.is_err() {
            self.client.forget(&Request::RemoveDirectory(&name));
        }
        placed
    }

    async fn place_directory(&self, name: &[u8], path: &TreePath, there: There) -> Result<(), Failure> {
        let at = self.at(path);
        if there == There::Nothing {
            return self.replace(name, path).await;
        }
        // SFTP cannot exchange them in one act: what makes way, and what comes, follow each other at the
        // server at once.
        let out = self.new_name();
        let away = self.client.send(&Request::Replace { from: &at, to: &out });
        let here = self.client.send(&Request::Replace { from: name, to: &at });
        let away = away.done().await;
        if let Err(status) = here.done().await {
            if away.is_ok() {
                self.client.do_it(&Request::Rename { from: &out, to: &at }).await.map_err(|status| {
                    Failure::Ends(format!("{path} cannot be put back: {}", super::failure::cause(&status)))
                })?;
            }
            return Err(Failure::of("put the directory into place", &status));
        }
        self.client.forget(&Request::Remove(&out));
        Ok(())
    }

    async fn put_symlink(
        &self,
        path: &TreePath,
        expects: Expected,
        destination: &[u8],
        attributes: &wire::Attributes,
    ) -> Result<Done, Failure> {
        let at = self.at(path);
        let leads = self.client.send(&Request::ReadLink(&at));
        let (there, now) = self.look_at(path).await?;
        let leads = leads.names().await.ok().and_then(|names| names.into_iter().next());
        let is_there = matches!(there, There::Version(Version { kind: FileKind::Symlink, .. }));
        if is_there && leads.is_some_and(|name| name.name == destination) {
            let had = now.owner.unwrap_or((self.user, self.group));
            let dressing = self.dress(On::Path(&at), FileKind::Symlink, had, attributes)?;
            return Ok(Done { lacks: dressing.done().await?, met: Met::Already });
        }
        let name = self.new_name();
        let made = self.client.send(&Request::Symlink { path: &name, destination });
        let dressing = self.dress(On::Path(&name), FileKind::Symlink, (self.user, self.group), attributes);
        let looking = self.look(&[path]);
        let placed = async {
            made.done().await.map_err(|status| Failure::of("make the link", &status))?;
            let lacks = dressing?.done().await?;
            let (there, _) = looking.one().await?;
            if there.is_directory() {
                return Err(Failure::found(path, there, "a directory is in the way"));
            }
            self.replace(&name, path).await?;
            Ok(Done { lacks, met: self.met(there, &expects) })
        };
        let placed = placed.await;
        if placed.is_err() {
            self.client.forget(&Request::Remove(&name));
        }
        placed
    }

    async fn link(
        &self,
        path: &TreePath,
        to: &TreePath,
        expects: Version,
        replaces: Expected,
    ) -> Result<Done, Failure> {
        if !self.can.links {
            return Err(Failure::new(Refusal::Unlinkable, "link it: the SFTP server makes no hard links"));
        }
        let name = self.new_name();
        let made = self.client.send(&Request::Link { from: &self.at(to), to: &name });
        // What was linked is what counts, whatever has happened to its name since.
        let linked = self.client.send(&Request::LookAt(&name));
        let looking = self.look(&[path, to]);
        let placed = async {
            let made = made.done().await;
            let linked = linked.attributes().await;
            let mut found = looking.all().await?.into_iter();
            let (there, _) = found.next().unwrap_or((There::Nothing, Attributes::default()));
            let (origin, _) = found.next().unwrap_or((There::Nothing, Attributes::default()));
            if let Err(status) = made {
                return Err(match origin {
                    There::Nothing => {
                        Failure::found(to, There::Nothing, "what it is to be a link of is not there")
                    }
                    origin if origin.is_directory() => {
                        Failure::found(to, origin, "what it is to be a link of is a directory")
                    }
                    _ => Failure::new(
                        Refusal::Unlinkable,
                        format!("link it: {}", super::failure::cause(&status)),
                    ),
                });
            }
            let linked = linked.map_err(|status| Failure::of("examine it", &status))?;
            self.require(to, linked.there(), &Expected::This(expects))?;
            if there.is_directory() {
                return Err(Failure::found(path, there, "a directory is in the way"));
            }
            self.replace(&name, path).await?;
            Ok(Done::all(self.met(there, &replaces)))
        };
        let placed = placed.await;
        // Where the inode has that name already both names stay.
        self.client.forget(&Request::Remove(&name));
        placed
    }

    async fn set_attributes(
        &self,
        path: &TreePath,
        expects: Expected,
        (kind, size): (FileKind, u64),
        attributes: &wire::Attributes,
    ) -> Result<Done, Failure> {
        let (there, now) = self.look_at(path).await?;
        let There::Version(version) = there else {
            return Err(Failure::found(path, there, "it is not there"));
        };
        let is_that = (version.kind, version.size) == (kind, size);
        // Another name of the inode, or this step once before, may have made it so.
        let is_already = is_that && attributes.mtime.is_kept_as(version.mtime);
        if !is_already {
            self.require(path, there, &expects)?;
        }
        if !is_that {
            return Err(Failure::found(path, there, "it is of another kind or size"));
        }
        let had = now.owner.unwrap_or((self.user, self.group));
        let lacks = self.dress(On::Path(&self.at(path)), kind, had, attributes)?.done().await?;
        Ok(Done { lacks, met: if is_already { Met::Already } else { Met::Expected } })
    }

    async fn set_directory_time(&self, path: &TreePath, mtime: Time) -> Result<Done, Failure> {
        let mtime = Some(seconds(mtime)?);
        let (there, _) = self.look_at(path).await?;
        if !there.is_directory() {
            return Err(Failure::found(path, there, "it is not a directory"));
        }
        let attributes = Attributes { mtime, ..Attributes::default() };
        let set = self.set(On::Path(&self.at(path)), FileKind::Directory, attributes);
        set.done().await.map_err(|status| Failure::of("set its time", &status))?;
        Ok(Done::all(Met::Expected))
    }

    /// What is to be removed goes to the stage first, and is looked at there once more: only so nothing
    /// else can have taken its name meanwhile (I3). It also keeps a connection that was cut, and has
    /// lost its stage to the next one, from removing anything.
    async fn remove_file(&self, path: &TreePath, expects: Expected) -> Result<Done, Failure> {
        let (there, _) = match self.look_at(path).await {
            Err(Failure::Refused { refusal: Refusal::NoParent, .. }) => return Ok(Done::all(Met::Already)),
            looked => looked?,
        };
        if there == There::Nothing {
            return Ok(Done::all(Met::Already));
        }
        self.require(path, there, &expects)?;
        if there.is_directory() {
            return Err(Failure::found(path, there, "it is a directory"));
        }
        let (at, out) = (self.at(path), self.new_name());
        let away = self.client.send(&Request::Replace { from: &at, to: &out });
        let look = self.client.send(&Request::LookAt(&out));
        if let Err(status) = away.done().await {
            return match self.look_at(path).await? {
                (There::Nothing, _) => Ok(Done::all(Met::Already)),
                _ => Err(Failure::of("remove it", &status)),
            };
        }
        let now = look.attributes().await.map(|attributes| attributes.there());
        if !now.is_ok_and(|now| now == there) {
            self.client.do_it(&Request::Rename { from: &out, to: &at }).await.map_err(|status| {
                Failure::Ends(format!("{path} cannot be put back: {}", super::failure::cause(&status)))
            })?;
            return Err(Failure::unexpected("it was changed meanwhile"));
        }
        let removed = self.client.do_it(&Request::Remove(&out)).await;
        removed.map_err(|status| Failure::of("remove it", &status))?;
        Ok(Done::all(Met::Expected))
    }

    async fn remove_directory(&self, path: &TreePath) -> Result<Done, Failure> {
        let (there, _) = match self.look_at(path).await {
            Err(Failure::Refused { refusal: Refusal::NoParent, .. }) => return Ok(Done::all(Met::Already)),
            looked => looked?,
        };
        if there == There::Nothing {
            return Ok(Done::all(Met::Already));
        }
        if !there.is_directory() {
            return Err(Failure::found(path, there, "it is not a directory"));
        }
        let at = self.at(path);
        match self.client.do_it(&Request::RemoveDirectory(&at)).await {
            Ok(()) => Ok(Done::all(Met::Expected)),
            Err(Status { code: Status::NO_SUCH_FILE, .. }) => Ok(Done::all(Met::Already)),
            Err(status) if status.code == Status::FAILURE && self.has_entries(&at).await => {
                Err(Failure::new(Refusal::NotEmpty, "the directory is not empty"))
            }
            Err(status) => Err(Failure::of("remove it", &status)),
        }
    }

    /// Whether a directory is known to have anything in it.
    async fn has_entries(&self, at: &[u8]) -> bool {
        let Ok(handle) = self.client.send(&Request::OpenDirectory(at)).handle().await else { return false };
        let mut has = false;
        while !has && let Ok(names) = self.client.send(&Request::ReadDirectory(&handle)).names().await {
            if names.is_empty() {
                break;
            }
            has = names.iter().any(|name| name.name != b"." && name.name != b"..");
        }
        self.client.forget(&Request::Close(&handle));
        has
    }

    async fn rename(
        &self,
        from: &TreePath,
        to: &TreePath,
        expects: Version,
        replaces: Expected,
    ) -> Result<Done, Failure> {
        let mut found = self.look(&[from, to]).all().await?.into_iter();
        let (there, _) = found.next().unwrap_or((There::Nothing, Attributes::default()));
        let (before, _) = found.next().unwrap_or((There::Nothing, Attributes::default()));
        self.require(from, there, &Expected::This(expects))?;
        let met = self.met(before, &replaces);
        let renamed = self.client.send(&Request::Replace { from: &self.at(from), to: &self.at(to) });
        let left = self.client.send(&Request::LookAt(&self.at(from)));
        if let Err(status) = renamed.done().await {
            let detail = "it cannot be renamed to that name";
            return Err(match status.code {
                Status::DENIED => Failure::of("rename it", &status),
                _ if met == Met::Expected => Failure::unexpected(detail),
                _ => Failure::found(to, before, detail),
            });
        }
        if left.attributes().await.is_ok() {
            // Of two names of one inode the server leaves both; what is left is looked at again.
            return Err(Failure::unexpected("it has kept its old name, too"));
        }
        Ok(Done::all(met))
    }
}
