//! Reads what an entry is besides its content, in the same way at both ends.
//!
//! [`version`] makes the kernel's answer into what is compared; [`XattrPlace`] reads and sets
//! extended attributes; [`acl`] knows whom an access control list names; [`boot`] tells one start
//! of this machine from another.

pub mod acl;
mod boot;
mod version;
mod xattrs;

pub use boot::boot;
pub use version::version;
pub use xattrs::{XattrPlace, is_acl, is_replicated};
