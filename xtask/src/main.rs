//! Builds, demonstrates and tests ksyncd: `cargo xtask --help` lists the commands.

mod bpf;
mod process;
mod vm;

fn main() {}
