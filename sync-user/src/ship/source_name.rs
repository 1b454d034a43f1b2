//! Names the source to its targets.

use std::os::unix::ffi::OsStrExt as _;

use crate::tree::Tree;

/// The source as a target knows it: its host and its root, hashed, and for people.
pub(super) fn of(tree: &Tree) -> ([u8; 16], String) {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(host.as_bytes()).update(b"\0").update(tree.root().as_os_str().as_bytes());
    let mut number = [0; 16];
    hasher.finalize_xof().fill(&mut number);
    (number, format!("{}:{}", host.display(), tree.root().display()))
}
