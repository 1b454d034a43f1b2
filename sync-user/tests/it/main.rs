//! Tests the whole program as its users meet it: processes, real SSH on loopback, real trees.
//!
//! They need root, or the capabilities of fanotify, and an OpenSSH server; they change nothing
//! outside of folders of their own.

mod convergence;
mod host;
mod hostile;
mod messages;
mod recovery;
