//! Demonstrates ksyncd on this machine alone, over real SSH on loopback.
