//! Holds the receiver that is brought to targets.

use std::borrow::Cow;

/// The static, receive-only build for this architecture, if this program was built with one
/// inside (`cargo xtask build` does that); else empty.
const RECEIVER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/receiver"));

/// Whether the static receiver is in this program.
pub fn has_static_receiver() -> bool {
    !RECEIVER.is_empty()
}

/// The program to bring along: the receiver from inside, or else this program itself, which
/// needs the same shared libraries on the target.
pub fn receiver() -> std::io::Result<Cow<'static, [u8]>> {
    if RECEIVER.is_empty() {
        std::fs::read("/proc/self/exe").map(Cow::Owned)
    } else {
        Ok(Cow::Borrowed(RECEIVER))
    }
}
