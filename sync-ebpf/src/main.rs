//! Sees every change below the root, in the kernel, and tells user space.
//!
//! Three functions of the kernel's own notification layer are all it takes: each completed
//! operation passes through one of them, whatever system call it came by. The modules in the
//! order in which an event meets them: `hooks` takes the kernel's `arguments`, `names` and
//! `content` decide what they mean, `walk` finds the path and whether it is ours (below the `root`,
//! and not `excluded`), `record` and `emit` tell.
#![no_std]
#![no_main]
// Built only for the kernel: elsewhere there is nothing to build.
#![cfg(target_arch = "bpf")]

mod arguments;
mod content;
mod emit;
mod excluded;
mod hooks;
mod kernel;
mod maps;
mod names;
mod outside;
mod record;
mod root;
mod walk;

/// The helpers that are used may be called by programs of this licence alone.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: nothing here can panic, or the verifier would not take it.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
