//! Carries steps to one target, and its receipts back.
//!
//! [`connect`] gets from an address to a [`Link`] with a receiver at its other end, which it
//! brings along if need be. One connection is one thread, one SSH session and one channel.
//! Where no receiver can run, the target's SFTP server stands in for one (`sftp`).
//! [`Session`] speaks the protocol over it: many steps are on their way at once, content is
//! read from the source as late as its step is sent, and receipts come back in order.

mod address;
mod auth;
mod backoff;
mod connect;
mod content;
mod deploy;
mod dial;
mod embedded;
mod event;
mod extents;
mod holding;
mod hostkeys;
mod introduction;
mod lane;
mod lanes;
mod link;
mod names;
mod openssh;
mod outbox;
mod questions;
mod sending;
mod session;
mod sftp;
mod ssh;
mod stream;
mod throttle;
mod turns;
mod unpublished;
mod waiting;
mod window;

pub use address::{AddressError, TargetAddress};
pub use backoff::Backoff;
pub use connect::{Access, ConnectError, Reached, Transport, connect};
pub use embedded::{has_static_receiver, receiver};
pub use event::{Event, SessionError, Ticket};
pub use lane::Open;
pub use link::{Link, LinkError, Received};
pub use session::{CONNECTIONS_MAX, Session, Terms};
pub use stream::Recall;
