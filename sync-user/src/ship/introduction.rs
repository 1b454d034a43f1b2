//! Says who we are to a target, and what to do about a receiver that is not of our version.

use std::os::unix::ffi::OsStrExt as _;

use super::event::SessionError;
use crate::tree::Tree;
use crate::wire;

/// The source as a target knows it: its host and its root, hashed, and for people.
pub(super) fn name_of(tree: &Tree) -> ([u8; 16], String) {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(host.as_bytes()).update(b"\0").update(tree.root().as_os_str().as_bytes());
    let mut number = [0; 16];
    hasher.finalize_xof().fill(&mut number);
    (number, format!("{}:{}", host.display(), tree.root().display()))
}

/// A receiver that was not brought along: the target prescribes it.
pub(super) fn another_version(theirs: &str) -> SessionError {
    SessionError::Fatal {
        what: format!(
            "the receiver that the target prescribes is {theirs}; this is ksyncd {}, protocol {}",
            env!("CARGO_PKG_VERSION"),
            wire::VERSION
        ),
        remedy: "install this very version of ksyncd on the target, or take the command out of its \
                 authorized_keys: then the receiver is brought along"
            .to_owned(),
    }
}
