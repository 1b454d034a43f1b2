//! Builds the eBPF object.
