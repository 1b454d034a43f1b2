//! Holds the compiled eBPF programs.

/// The object that `cargo xtask build` makes; empty where no eBPF toolchain was at hand.
pub(super) const OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/capture.bpf.o"));
