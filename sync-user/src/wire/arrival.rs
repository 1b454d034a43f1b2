//! Defines what a receiver tells the daemon that replicates the same root from its own machine.
//!
//! With two-way replication each root has both. The daemon sees what the receiver does like all
//! changes, and has to know that the other side has them already; so it is told of each step
//! before and after, over a socket of the machine, in the frames of the protocol.

use serde::{Deserialize, Serialize};

use crate::model::{Content, Version};

/// From a receiver to the daemon of the same root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arrival {
    /// The first message, once: whose steps these are, by the name of the source's own root.
    From { root: [u8; 16] },
    /// What is at these paths is about to change. Sent before anything is visible.
    Begins { paths: Vec<Vec<u8>> },
    /// It was done.
    Done(Arrived),
    /// It was not done, or not all of it.
    Failed,
    /// What the source holds: what this end's ledger says of it may be wrong.
    Holds { entries: Vec<Holding> },
    /// What the source has got from a third root: nothing is to be done about it.
    HoldsToo { entries: Vec<Holding> },
}

/// What one end holds at a path, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    pub path: Vec<u8>,
    /// `None` where nothing is, or nothing that is to stay.
    pub version: Option<Version>,
}

/// A step that was applied, by what both roots hold since then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arrived {
    /// The version is the one that this machine shows, by its own numbers of owners.
    Put {
        path: Vec<u8>,
        version: Version,
        content: Option<Content>,
    },
    /// Only attributes: the content is as it was.
    Attributes {
        path: Vec<u8>,
        version: Version,
    },
    Link {
        path: Vec<u8>,
        to: Vec<u8>,
        version: Version,
    },
    Removed {
        path: Vec<u8>,
    },
    Renamed {
        from: Vec<u8>,
        to: Vec<u8>,
        version: Version,
    },
    Exchanged {
        one: Vec<u8>,
        other: Vec<u8>,
        versions: (Version, Version),
    },
}
