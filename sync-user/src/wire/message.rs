//! Defines the messages; the direction is in the type, so a message cannot go the wrong way.
//!
//! Paths are bytes here, since a peer may send anything: the receiving side checks them by
//! [`TreePath::new`](crate::model::TreePath::new).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arrival::Holding;
use super::examination::{Answer, Question};
use crate::model::{
    Content, Durability, Expected, FileKind, Inode, Mode, Named, Owner, Preserve, Receipt, Sequence, Time,
    Version, Xattr,
};

/// From the source to the receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToReceiver {
    /// The first message, once.
    Hello(SourceHello),
    /// The first message instead, on a connection that only brings pieces to another one's receiver.
    Lane(Lane),
    /// Names users and groups, before anything speaks of them by their numbers.
    Named { users: Vec<Named>, groups: Vec<Named> },
    /// Asks for the listing of the whole tree.
    List,
    /// Asks what a directory holds, by hash. Steps do not wait for the answer.
    Examine(Question),
    /// One step; steps are numbered from 1 and applied in order.
    Step { sequence: Sequence, step: Step },
    /// The next piece of the content of a step whose body is [`Body::Streamed`] or [`Body::Built`].
    /// All pieces that a source sends are counted from 0, whatever file they belong to, so that
    /// their order is known whichever lanes they have taken.
    Piece { place: u64, sequence: Sequence, piece: Piece },
    /// A batch is complete: its steps are to become visible.
    Publish,
    /// What the source holds, where it is in doubt what was agreed on: the daemon of this root is to
    /// compare anew (two-way).
    Holds { entries: Vec<Holding> },
    /// What the source has got from a third root, which this one may have from there, too (two-way).
    HoldsToo { entries: Vec<Holding> },
    /// Asks for a sign of life.
    Ping { token: u64 },
    /// Nothing follows: answer everything, then end.
    Goodbye,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceHello {
    pub version: u16,
    /// The same for every connection of one source, and another for every other.
    pub source: [u8; 16],
    /// The source for people: its host and its root.
    pub name: String,
    /// Whether it may be one of several that replicate into this root.
    pub shares: bool,
    /// What versions tell of, and what steps set.
    pub preserve: Preserve,
    pub durability: Durability,
    /// Whether steps become visible only by [`ToReceiver::Publish`].
    pub publishes: bool,
    /// With two-way replication the name of the source's own root, which this target's daemon
    /// replicates to: then of two versions that both are new the later one stays.
    pub two_way: Option<[u8; 16]>,
    /// For how long what steps remove is kept in the trash; `None` removes it for good.
    pub trash: Option<Duration>,
    /// How many lanes may bring pieces besides this connection.
    pub lanes: u8,
}

/// What a connection says that becomes a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    pub version: u16,
    /// The source, and the process that its steps go to: see [`SourceHello`] and [`ReceiverHello`].
    pub source: [u8; 16],
    pub process: u32,
    /// Which of the lanes it is, from 0.
    pub number: u8,
}

/// A part of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Piece {
    /// At once and not byte by byte, which would take longer than to encrypt them.
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    /// So many zeros, which the source does not store.
    Hole { length: u64 },
    /// So many bytes of the old file that [`Body::Built`] names, from this place on.
    Copy { from: u64, length: u64 },
    /// All was sent, and this is the hash of the content.
    End(Content),
    /// The source takes the step back: nothing of it may become visible.
    Abort,
}

/// What an entry shall be besides its content. What is not preserved is not looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    pub owner: Owner,
    pub mode: Mode,
    /// All that it shall have, in the order of their names.
    pub xattrs: Vec<Xattr>,
    pub mtime: Time,
}

/// A [`crate::model::Step`] with its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    MakeDirectory {
        path: Vec<u8>,
        expects: Expected,
        attributes: Attributes,
    },
    PutFile {
        path: Vec<u8>,
        expects: Expected,
        size: u64,
        /// What of it the source stores: less than `size` if it has holes.
        stored: u64,
        attributes: Attributes,
        body: Body,
    },
    PutSymlink {
        path: Vec<u8>,
        expects: Expected,
        destination: Vec<u8>,
        attributes: Attributes,
    },
    Link {
        path: Vec<u8>,
        to: Vec<u8>,
        expects: Version,
        replaces: Expected,
    },
    /// If it is of this kind and size.
    SetAttributes {
        path: Vec<u8>,
        expects: Expected,
        kind: FileKind,
        size: u64,
        attributes: Attributes,
    },
    SetDirectoryTime {
        path: Vec<u8>,
        mtime: Time,
    },
    RemoveFile {
        path: Vec<u8>,
        expects: Expected,
    },
    RemoveDirectory {
        path: Vec<u8>,
    },
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
        expects: Version,
        replaces: Expected,
    },
    Exchange {
        one: Vec<u8>,
        other: Vec<u8>,
        expects_one: Version,
        expects_other: Version,
    },
}

impl Step {
    /// What it takes in memory, about, without the content of a file.
    pub fn kept_bytes(&self) -> usize {
        let of = |attributes: &Attributes| {
            attributes.xattrs.iter().map(|xattr| xattr.name.len() + xattr.value.len()).sum::<usize>()
        };
        let own = match self {
            Self::MakeDirectory { path, attributes, .. }
            | Self::SetAttributes { path, attributes, .. }
            | Self::PutFile { path, attributes, .. } => path.len() + of(attributes),
            Self::PutSymlink { path, destination, attributes, .. } => {
                path.len() + destination.len() + of(attributes)
            }
            Self::SetDirectoryTime { path, .. }
            | Self::RemoveFile { path, .. }
            | Self::RemoveDirectory { path } => path.len(),
            Self::Link { path: one, to: other, .. }
            | Self::Rename { from: one, to: other, .. }
            | Self::Exchange { one, other, .. } => one.len() + other.len(),
        };
        size_of::<Self>() + own
    }
}

/// How a file's content travels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    /// Here, with its hash.
    Inline {
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        content: Content,
    },
    /// In pieces that follow.
    Streamed,
    /// The same, but some of it is in a file that the target has, if that is what the source
    /// believes: the one that is replaced, or another.
    Built { old: Vec<u8>, expects: Version },
}

/// From the receiver to the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToSource {
    /// The first message after the preamble, once.
    Hello(ReceiverHello),
    /// The answer to the source's hello, before anything else: no other receiver of the same
    /// source is at work any more.
    Claimed(Claimed),
    /// Part of the listing: parents come before children.
    Listing(Vec<Listed>),
    /// The listing is complete, but for these places.
    ListingEnd {
        unreadable: Vec<Unreadable>,
    },
    /// Answers to questions, in order.
    Examined(Answer),
    /// Answers to steps, in order; but those whose content comes in pieces may take longer than others.
    Receipts(Vec<Receipt>),
    Pong {
        token: u64,
    },
    /// Whatever comes on this connection goes to the receiver that was named.
    Joined,
    /// So many bytes have come on this lane since it joined; told every few milliseconds.
    Came {
        bytes: u64,
    },
    /// The receiver cannot go on, and ends.
    Fatal {
        what: String,
        remedy: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiverHello {
    pub version: u16,
    /// The program's version and build, for logs.
    pub program: String,
    /// Process id of the receiver on the target.
    pub process: u32,
    /// Effective user id: only 0 may set every owner and mode.
    pub user: u32,
    /// The root as the receiver was told it: the target decides, if it prescribes the command.
    pub root: Vec<u8>,
    /// The same, by the whole name of the directory.
    pub place: Vec<u8>,
    /// Why the kernel does not lock the receiver into its root; `None` when it does.
    pub unlocked: Option<String>,
}

/// Which root this is, so that a ledger of an earlier run is not taken for that of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    pub root: Inode,
    /// The root's own name.
    pub id: [u8; 16],
    /// The name of the connection before this one, of whatever source.
    pub last_visit: Option<[u8; 16]>,
    /// The name of this connection.
    pub visit: [u8; 16],
    /// The start of the target's machine: what was not forced to its disk before is in doubt.
    pub boot: String,
    /// Other sources replicate into it as well.
    pub is_shared: bool,
}

/// One entry of the target's tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    pub path: Vec<u8>,
    /// By the source's numbers of owners; [`Owner::LEFT`] where the target cannot set them.
    pub version: Version,
    /// Where a symbolic link leads; `None` for the other kinds.
    pub destination: Option<Vec<u8>>,
    /// The inode, of what has several names.
    pub inode: Option<Inode>,
}

/// A place of the target's tree that could not be read: nothing is known of what is below it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    pub path: Vec<u8>,
    pub cause: String,
}
