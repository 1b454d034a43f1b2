//! Sees changes by eBPF programs on the kernel's notification functions.
