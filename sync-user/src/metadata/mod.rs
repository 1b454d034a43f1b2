//! Reads what an entry is besides its content, in the same way at both ends.
//!
//! [`version`] makes the kernel's answer into what is compared; [`XattrPlace`] reads and sets
//! extended attributes; [`acl`] knows whom an access control list names.

pub mod acl;
mod version;
mod xattrs;

pub use version::version;
pub use xattrs::{XattrPlace, is_acl, is_replicated};
