//! Finds out whether this kernel may take the processor away from a program of ours.
//!
//! A program at a function's entry (fentry) that is preempted makes the kernel skip all others
//! on that processor, silently; kprobes run with preemption off.

use std::fs;

/// What the kernel says of its mode, where it is compiled with several: `none voluntary (full)`.
const MODE: &str = "/sys/kernel/debug/sched/preempt";

/// Whether the kernel may preempt programs, as far as can be told; when it cannot, it may.
pub(super) fn is_preemptible() -> bool {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    may_preempt(&read(MODE), &read("/proc/cmdline"), &read("/proc/sys/kernel/version"))
}

/// `version` is that of the build, as `uname -v` prints it.
fn may_preempt(mode: &str, command_line: &str, version: &str) -> bool {
    let chosen = mode.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(word, _)| word);
    let asked = command_line.split_whitespace().rev().find_map(|word| word.strip_prefix("preempt="));
    match chosen.or(asked) {
        Some("none" | "voluntary") => false,
        Some(_) => true,
        None => version.contains("PREEMPT"),
    }
}

#[cfg(test)]
mod tests {
    use super::may_preempt;

    #[test]
    fn the_kernel_is_believed_before_its_command_line_and_its_build() {
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian 6.12.57-1";
        assert!(!may_preempt("none (voluntary) full \n", "preempt=full", dynamic));
        assert!(may_preempt("none voluntary full (lazy) \n", "", dynamic));
        assert!(!may_preempt("", "quiet preempt=full preempt=voluntary", dynamic));
        assert!(may_preempt("", "quiet preempt=full", dynamic));
        assert!(may_preempt("", "quiet", dynamic));
        assert!(!may_preempt("", "quiet", "#1 SMP Debian 5.10.223-1"));
    }
}
