//! ksyncd replicates a web root to other servers the moment its files change.
//!
//! ```text
//!  kernel │ source side                                                        │ ssh2 │ target side
//!  hooks ─┼─► Event ─► capture ─► Change ─► queue ─► batch ─► Batch ─► plan ─► ship ─┼─Frame──┼─► receive ─► tree
//!         │               ▲ Gap ─► rescan of that subtree        ▲ ledger ◄─Receipt──┼◄───────┼──────┘
//! ```
//!
//! No stage knows another: they share the words of [`model`], and [`daemon`] and [`receiver`]
//! connect them. ARCHITECTURE.md has the map, the invariants (I1 to I9) and who may import whom.

pub mod model;

pub mod bell;
pub mod clock;
pub mod home;
pub mod metadata;
pub mod priority;
pub mod shutdown;
pub mod wire;

#[cfg(feature = "source")]
pub mod aliases;
#[cfg(feature = "source")]
pub mod barrier;
#[cfg(feature = "source")]
pub mod history;
#[cfg(feature = "source")]
pub mod metrics;
#[cfg(feature = "source")]
pub mod tree;

#[cfg(feature = "source")]
pub mod batch;
#[cfg(feature = "source")]
pub mod capture;
#[cfg(feature = "source")]
pub mod delta;
#[cfg(feature = "source")]
pub mod import_lsyncd;
#[cfg(feature = "source")]
pub mod ledger;
#[cfg(feature = "source")]
pub mod plan;
#[cfg(feature = "source")]
pub mod queue;
#[cfg(feature = "source")]
pub mod settings;
#[cfg(feature = "source")]
pub mod ship;
#[cfg(feature = "source")]
pub mod state;

pub mod receive;

#[cfg(feature = "source")]
pub mod daemon;
pub mod receiver;

#[cfg(feature = "source")]
pub mod control;
#[cfg(feature = "source")]
pub mod http;

pub mod cli;
#[cfg(feature = "source")]
pub mod demo;
pub mod exit;
pub mod logging;
