//! Every way to change a file or a name, as data that can be drawn, shrunk and kept.

use proptest::prelude::*;
use proptest::sample::select;
use serde::{Deserialize, Serialize};

/// Names that all processes share, few enough to collide all the time: those of directories
/// come as files too, and the other way round.
const NAMES: [&str; 14] =
    ["f", "g", "h", "a", "b", "a/f", "a/g", "a/c", "a/c/f", "a/c/g", "b/f", "b/c", "b/c/f", "b/\u{e4} x"];

/// Names outside of the root, on the same file system.
const OUTSIDE: [&str; 2] = ["x", "y"];

/// Processes that change the tree at the same time.
pub(crate) const PROCESSES: u8 = 3;

/// Files that each process can hold open.
pub(crate) const SLOTS: u8 = 2;

/// A run of the test: bursts of operations, each by one of the processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Whether the processes run at the same time, or take turns: then the outcome is known.
    pub(crate) together: bool,
    pub(crate) bursts: Vec<Vec<(u8, Operation)>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Operation {
    /// Creates or empties, writes, closes.
    Write {
        at: String,
        bytes: u16,
    },
    Append {
        at: String,
    },
    /// Appends so much that the file is one of which only changes are sent.
    Enlarge {
        at: String,
    },
    /// `pwrite`, or `pwritev`.
    Overwrite {
        at: String,
        offset: u16,
        vectored: bool,
    },
    /// By its name, without opening it.
    Truncate {
        at: String,
        size: u16,
    },
    /// By opening it with `O_TRUNC`.
    Empty {
        at: String,
    },
    Allocate {
        at: String,
        how: Allocation,
    },
    Copy {
        from: String,
        to: String,
        by: Copying,
    },
    /// A write through `io_uring`.
    Uring {
        at: String,
    },
    /// A write by `io_submit`, of which most file systems tell only when the file is closed.
    Async {
        at: String,
    },
    /// A store through a shared memory map.
    Map {
        at: String,
    },
    /// A file without a name, given one between two writes.
    Temporary {
        at: String,
    },
    /// A fifo, or a socket.
    Special {
        at: String,
        socket: bool,
    },
    Rename {
        from: String,
        to: String,
        how: Renaming,
    },
    Link {
        from: String,
        to: String,
    },
    Symlink {
        at: String,
    },
    Mode {
        at: String,
        mode: u16,
    },
    Owner {
        at: String,
        group: u16,
    },
    Times {
        at: String,
        seconds: u32,
    },
    SetAttribute {
        at: String,
    },
    RemoveAttribute {
        at: String,
    },
    /// `group` is the permission of one more user, and of the mask.
    Acl {
        at: String,
        group: u8,
    },
    Unlink {
        at: String,
    },
    MakeDirectory {
        at: String,
    },
    RemoveDirectory {
        at: String,
    },
    /// A directory with all that is in it.
    RemoveTree {
        at: String,
    },
    MoveOut {
        at: String,
        to: String,
    },
    MoveIn {
        from: String,
        at: String,
    },
    /// Gives a file a name outside of the root.
    LinkOut {
        at: String,
        to: String,
    },
    /// Gives a file that is outside of the root a name below it.
    LinkIn {
        from: String,
        at: String,
    },
    /// Creates or empties a file outside of the root, writes, closes.
    WriteOutside {
        to: String,
    },
    UnlinkOutside {
        to: String,
    },
    /// Opens a file outside of the root, and keeps it open: it may move in meanwhile.
    HoldOutside {
        slot: u8,
        to: String,
    },
    /// Appends by a name outside of the root, which may be one of several.
    AppendOutside {
        to: String,
    },
    /// The same with another way to change it.
    ModeOutside {
        to: String,
        mode: u16,
    },
    /// Opens a file, and keeps it open.
    Hold {
        slot: u8,
        at: String,
    },
    WriteHeld {
        slot: u8,
    },
    /// Stores through a map that stays.
    StoreHeld {
        slot: u8,
    },
    Release {
        slot: u8,
    },
    /// Writes as an NFS server does: by handle, with nothing in the caches.
    ByHandle {
        at: String,
    },
}

impl Operation {
    /// Its name, with the way in which it is done.
    pub(crate) fn name(&self) -> String {
        let (whole, way) = (
            format!("{self:?}"),
            match self {
                Self::Allocate { how, .. } => format!("{how:?}"),
                Self::Copy { by, .. } => format!("{by:?}"),
                Self::Rename { how, .. } => format!("{how:?}"),
                _ => String::new(),
            },
        );
        let name = whole.split([' ', '{']).next().unwrap_or_default();
        if way.is_empty() { name.to_owned() } else { format!("{name} {way}") }
    }
}

/// Modes of `fallocate`, on the first 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Allocation {
    Extend,
    KeepSize,
    PunchHole,
    ZeroRange,
    CollapseRange,
    InsertRange,
}

/// How content goes from the beginning of one file to that of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Copying {
    CopyFileRange,
    Sendfile,
    Splice,
    Clone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Renaming {
    Plain,
    NoReplace,
    Exchange,
    /// Leaves a whiteout, as overlays do.
    Whiteout,
}

/// Cases whose processes run together if `together`.
pub(crate) fn cases(together: bool) -> impl Strategy<Value = Case> {
    let step = (0..PROCESSES, operation());
    let burst = prop::collection::vec(step, 1..40);
    let bursts = prop::collection::vec(burst, 1..4);
    (furniture(), bursts).prop_map(move |(furniture, bursts)| Case {
        together,
        bursts: std::iter::once(furniture).chain(bursts).collect(),
    })
}

/// What is there at first, for in an empty tree most operations are impossible. One process
/// makes all of it, in this order.
fn furniture() -> impl Strategy<Value = Vec<(u8, Operation)>> {
    let directory = |at: &str| Operation::MakeDirectory { at: at.to_owned() };
    let file = |at: &str, bytes| Operation::Write { at: at.to_owned(), bytes };
    let all = vec![
        (0, directory("a")),
        (0, directory("b")),
        (0, directory("a/c")),
        (0, file("f", 8192)),
        (0, file("g", 100)),
        (0, file("a/f", 5000)),
        (0, file("a/c/f", 300)),
        (0, file("a/c/g", 9000)),
        (0, file("b/f", 0)),
        (0, Operation::Enlarge { at: "a/c/g".to_owned() }),
        (0, Operation::Link { from: "f".to_owned(), to: "b/c".to_owned() }),
    ];
    let count = all.len();
    prop_oneof![
        1 => prop::sample::subsequence(all.clone(), 0..=count),
        3 => Just(all),
    ]
}

fn name() -> impl Strategy<Value = String> {
    select(&NAMES[..]).prop_map(str::to_owned)
}

fn outside() -> impl Strategy<Value = String> {
    select(&OUTSIDE[..]).prop_map(str::to_owned)
}

/// The weights keep the tree from running empty, and most operations possible.
fn operation() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let allocation = select(
        &[
            Allocation::Extend,
            Allocation::KeepSize,
            Allocation::PunchHole,
            Allocation::ZeroRange,
            Allocation::CollapseRange,
            Allocation::InsertRange,
        ][..],
    );
    let copying = select(&[Copying::CopyFileRange, Copying::Sendfile, Copying::Splice, Copying::Clone][..]);
    let renaming = || {
        prop_oneof![
            4 => Just(Renaming::Plain),
            1 => Just(Renaming::NoReplace),
            2 => Just(Renaming::Exchange),
            1 => Just(Renaming::Whiteout),
        ]
    };
    let content = prop_oneof![
        24 => (name(), 0..9000_u16).prop_map(|(at, bytes)| O::Write { at, bytes }),
        4 => name().prop_map(|at| O::Append { at }),
        6 => name().prop_map(|at| O::Enlarge { at }),
        4 => (name(), 0..6000_u16, any::<bool>())
            .prop_map(|(at, offset, vectored)| O::Overwrite { at, offset, vectored }),
        3 => (name(), 0..9000_u16).prop_map(|(at, size)| O::Truncate { at, size }),
        2 => name().prop_map(|at| O::Empty { at }),
        5 => (name(), allocation).prop_map(|(at, how)| O::Allocate { at, how }),
        5 => (name(), name(), copying).prop_map(|(from, to, by)| O::Copy { from, to, by }),
        2 => name().prop_map(|at| O::Uring { at }),
        2 => name().prop_map(|at| O::Async { at }),
        3 => name().prop_map(|at| O::Map { at }),
        1 => name().prop_map(|at| O::ByHandle { at }),
    ];
    let names = prop_oneof![
        4 => name().prop_map(|at| O::Temporary { at }),
        2 => (name(), any::<bool>()).prop_map(|(at, socket)| O::Special { at, socket }),
        12 => (name(), name(), renaming()).prop_map(|(from, to, how)| O::Rename { from, to, how }),
        4 => (name(), name()).prop_map(|(from, to)| O::Link { from, to }),
        3 => name().prop_map(|at| O::Symlink { at }),
        5 => name().prop_map(|at| O::Unlink { at }),
        14 => name().prop_map(|at| O::MakeDirectory { at }),
        2 => name().prop_map(|at| O::RemoveDirectory { at }),
        2 => name().prop_map(|at| O::RemoveTree { at }),
        2 => (name(), outside()).prop_map(|(at, to)| O::MoveOut { at, to }),
        3 => (outside(), name()).prop_map(|(from, at)| O::MoveIn { from, at }),
        3 => (name(), outside()).prop_map(|(at, to)| O::LinkOut { at, to }),
        3 => (outside(), name()).prop_map(|(from, at)| O::LinkIn { from, at }),
        1 => outside().prop_map(|to| O::UnlinkOutside { to }),
    ];
    let attributes = prop_oneof![
        (name(), 0..0o1000_u16).prop_map(|(at, mode)| O::Mode { at, mode }),
        (name(), 1..100_u16).prop_map(|(at, group)| O::Owner { at, group }),
        (name(), any::<u32>()).prop_map(|(at, seconds)| O::Times { at, seconds }),
        name().prop_map(|at| O::SetAttribute { at }),
        name().prop_map(|at| O::RemoveAttribute { at }),
        (name(), 0..8_u8).prop_map(|(at, group)| O::Acl { at, group }),
    ];
    let held = prop_oneof![
        3 => (0..SLOTS, name()).prop_map(|(slot, at)| O::Hold { slot, at }),
        2 => (0..SLOTS).prop_map(|slot| O::WriteHeld { slot }),
        2 => (0..SLOTS).prop_map(|slot| O::StoreHeld { slot }),
        1 => (0..SLOTS).prop_map(|slot| O::Release { slot }),
        1 => (0..SLOTS, outside()).prop_map(|(slot, to)| O::HoldOutside { slot, to }),
    ];
    let elsewhere = prop_oneof![
        1 => outside().prop_map(|to| O::WriteOutside { to }),
        3 => outside().prop_map(|to| O::AppendOutside { to }),
        1 => (outside(), 0..0o1000_u16).prop_map(|(to, mode)| O::ModeOutside { to, mode }),
    ];
    prop_oneof![6 => elsewhere, 50 => content, 40 => names, 10 => attributes, 15 => held]
}
