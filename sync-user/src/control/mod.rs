//! Lets others ask a running daemon how it is: by a socket that speaks JSON, line by line.
//!
//! ```text
//! {"request":"status"}                                          asks
//! {"answer":{"version":"0.1.0","process":4242, …}}              answers
//! {"error":"…"}                                                 or says why not
//! ```
//!
//! The socket is in the state directory, or in the runtime directory that systemd names, and
//! only the user that runs the daemon may use it. Sizes, connections and waits are bounded (I6).

mod client;
mod connections;
mod deletes;
mod explain;
mod place;
mod protocol;
mod reload;
mod roster;
mod sentence;
mod server;
mod status;
mod summary;
mod verify;
mod wait;
mod watched;
mod why;

pub use client::{Daemon, Error, daemons};
pub use connections::{Connections, read_until};
pub use deletes::{Deletes, HeldPath, HeldTarget};
pub use explain::{Explained, explain};
pub use place::{Place, Socket};
pub use protocol::Request;
pub use reload::{Reload, Reloaded};
pub use roster::Roster;
pub use server::serve;
pub use status::{
    BusyDirectory, Capture, CatchingUp, GapStatus, Occurrence, PathProblem, Status, TargetStatus,
};
pub use summary::{summary, time_of};
pub use verify::Verifying;
pub use wait::{Missing, Waited, below};
pub use watched::Watched;
pub use why::{LeftOut, Why, WhyHappening, WhyState, WhyTarget};
