//! Runs a command in a virtual machine on a Debian kernel.
