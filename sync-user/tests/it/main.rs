//! Tests the whole program as its users meet it: processes, real SSH on loopback, real trees.
//!
//! They need root, or the capabilities of fanotify, and an OpenSSH server; they change nothing
//! outside of folders of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod agreement;
mod article;
mod browser;
mod config;
mod convergence;
mod crossing;
mod cuts;
mod delta;
mod disks;
mod excludes;
mod extraneous;
mod guards;
mod hdrhistogram;
mod host;
mod hostile;
mod http;
mod import;
mod lanes;
mod latency;
mod ledger;
mod mesh;
mod messages;
mod metadata;
mod openssh;
mod overtaking;
mod page;
mod pair;
mod prescribed;
mod progress;
mod publish;
mod pump;
mod questions;
mod rate;
mod recovery;
mod service;
mod sftp;
mod site;
mod status;
mod surprises;
mod tail;
mod terminal;
mod top;
mod torture;
mod trash;
mod two_way;
mod verify;
mod wait;
mod why;
