//! Encodes steps as late as can be, with what is read at the source by then.

use super::content::{self, Opened};
use super::event::{Event, Ticket};
use super::session::Session;
use super::stream::{self, Recall, Stream};
use super::waiting::Queued;
use crate::model::{Entry, Expected, OldFile, Step, TreePath, Version, Xattr, XattrHash};
use crate::wire::{self, Attributes, Body, ToReceiver};

/// Something that is not as it was when its step was planned; or why it could not be read.
struct Unread {
    failure: Option<String>,
}

impl Session {
    /// Encodes a large file, of which a small one may have become.
    pub(super) fn send_large(&mut self, queued: Queued, events: &mut Vec<Event>, recall: &Recall<'_>) {
        let (path, ticket) = (queued.step.path().clone(), queued.ticket);
        self.send(queued, events, recall);
        if self.stream.is_none() {
            self.resume(&path, ticket, false);
        }
    }

    /// Encodes a step, with its content unless that is large: then it follows as a stream.
    pub(super) fn send(&mut self, queued: Queued, events: &mut Vec<Event>, recall: &Recall<'_>) {
        let Queued { ticket, step, old_files, twins: _ } = queued;
        let bytes = |path: &TreePath| path.as_bytes().to_vec();
        let step = match step {
            Step::PutFile { path, entry, expects } => {
                self.put_file(ticket, (path, entry, expects), old_files, events, recall);
                return;
            }
            Step::MakeDirectory { path, entry, expects } => self
                .attributes(&path, entry.version)
                .map(|attributes| wire::Step::MakeDirectory { path: bytes(&path), expects, attributes }),
            Step::PutSymlink { path, entry, expects } => {
                let destination = entry.destination.unwrap_or_default();
                self.attributes(&path, entry.version).map(|attributes| wire::Step::PutSymlink {
                    path: bytes(&path),
                    expects,
                    destination,
                    attributes,
                })
            }
            Step::Link { path, to, expects, replaces } => {
                Ok(wire::Step::Link { path: bytes(&path), to: bytes(&to), expects, replaces })
            }
            Step::SetAttributes { path, version, expects } => {
                self.attributes(&path, version).map(|attributes| wire::Step::SetAttributes {
                    path: bytes(&path),
                    expects,
                    kind: version.kind,
                    size: version.size,
                    attributes,
                })
            }
            Step::SetDirectoryTime { path, mtime } => {
                Ok(wire::Step::SetDirectoryTime { path: bytes(&path), mtime })
            }
            Step::RemoveFile { path, expects } => Ok(wire::Step::RemoveFile { path: bytes(&path), expects }),
            Step::RemoveDirectory { path } => Ok(wire::Step::RemoveDirectory { path: bytes(&path) }),
            Step::Rename { from, to, expects, replaces } => {
                Ok(wire::Step::Rename { from: bytes(&from), to: bytes(&to), expects, replaces })
            }
            Step::Exchange { one, other, expects_one, expects_other } => Ok(wire::Step::Exchange {
                one: bytes(&one),
                other: bytes(&other),
                expects_one,
                expects_other,
            }),
        };
        match step {
            Ok(step) => {
                self.fly(ticket, step);
            }
            Err(Unread { failure }) => events.push(Event::Unsent { ticket, failure }),
        }
    }

    /// What `path` shall be by `version`, with the extended attributes as they are now. They are
    /// read as late as content is, and for the same reason.
    fn attributes(&mut self, path: &TreePath, version: Version) -> Result<Attributes, Unread> {
        let xattrs = if version.xattrs == XattrHash::NONE {
            Vec::new()
        } else {
            match self.tree.xattrs(path) {
                Ok(xattrs) if XattrHash::of(&xattrs) == version.xattrs => xattrs,
                // They have changed, or what had them is gone: a later change tells.
                Ok(_) => return Err(Unread { failure: None }),
                Err(error) if content::vanished(&error) => return Err(Unread { failure: None }),
                Err(error) => {
                    let failure = Some(format!("read its extended attributes: {error}"));
                    return Err(Unread { failure });
                }
            }
        };
        Ok(self.named(version, xattrs))
    }

    /// Attributes whose owners the receiver knows by name.
    fn named(&mut self, version: Version, xattrs: Vec<Xattr>) -> Attributes {
        let Version { kind: _, size: _, mtime, mode, owner, xattrs: _ } = version;
        let names = self.names.of(owner, &xattrs);
        self.push_all(names);
        Attributes { owner, mode, xattrs, mtime }
    }

    pub(super) fn push_all(&mut self, messages: Vec<ToReceiver>) {
        for message in messages {
            self.outbox.push(&message);
        }
    }

    /// What follows expects of a file what was sent, if that is not what was `planned`.
    fn expect(&mut self, path: &TreePath, planned: Version, sent: Version) {
        if planned == sent {
            return;
        }
        let queued = self.queue.iter_mut().map(|queued| &mut queued.step);
        for step in self.waiting.steps_mut().chain(queued) {
            step.expect_instead(path, planned, sent);
        }
    }

    fn put_file(
        &mut self,
        ticket: Ticket,
        (path, entry, expects): (TreePath, Entry, Expected),
        old_files: Vec<OldFile>,
        events: &mut Vec<Event>,
        recall: &Recall<'_>,
    ) {
        let name = path.as_bytes().to_vec();
        let put = |size, stored, attributes, body| wire::Step::PutFile {
            path: name,
            expects,
            size,
            stored,
            attributes,
            body,
        };
        let planned = entry.version;
        match content::open(&self.tree, &path, wire::INLINE_BYTES_MAX) {
            Ok(Opened::Small(loaded)) => {
                let content::Loaded { version, xattrs, bytes, content, settled, torn } = loaded;
                self.expect(&path, planned, version);
                let attributes = self.named(version, xattrs);
                let shipped = version.size;
                let step = put(shipped, shipped, attributes, Body::Inline { bytes, content });
                self.fly(ticket, step);
                events.push(Event::Sent { ticket, version, content, settled, torn, shipped });
            }
            // It has grown since it was planned, and there is one on its way.
            Ok(Opened::Large(_)) if !self.may_begin() => {
                let step = Step::PutFile { path, entry, expects };
                self.waiting.push_large(Queued { ticket, step, old_files, twins: Vec::new() });
            }
            Ok(Opened::Large(mut reading)) => {
                self.waiting.begin(&path, ticket);
                self.lanes.begin(reading.stored);
                self.expect(&path, planned, reading.version);
                let attributes = self.named(reading.version, std::mem::take(&mut reading.xattrs));
                let old_files = if self.builds { old_files } else { Vec::new() };
                let (body, outline) = match stream::choose(&path, &reading, old_files, recall) {
                    Some((OldFile { path, version, content }, outline)) => {
                        let old = path.as_bytes().to_vec();
                        events.push(Event::Built { ticket, from: path, old: content });
                        (Body::Built { old, expects: version }, Some(outline))
                    }
                    None => (Body::Streamed, None),
                };
                let (size, stored) = (reading.version.size, reading.stored);
                let sequence = self.fly(ticket, put(size, stored, attributes, body));
                if let Some(flight) = self.flying.back_mut() {
                    flight.large = Some(path);
                }
                self.stream = Some(Stream::new(ticket, sequence, reading, outline));
            }
            Ok(Opened::Vanished) => events.push(Event::Unsent { ticket, failure: None }),
            Err(error) => events.push(Event::Unsent { ticket, failure: Some(format!("read it: {error}")) }),
        }
    }
}
