//! Has a thread stand back: what it does can wait, and others need the processor and the disk.

/// Steps of courtesy, of 19 (`setpriority(2)`). It still gets on where others are always busy.
const NICE: i32 = 10;

/// `ioprio_set(2)`: this thread, best effort, the lowest of eight levels.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;
const BEST_EFFORT_LOWEST: libc::c_int = (2 << 13) | 7;

/// Lowers the priority of the calling thread, for good. Where that cannot be, it goes on as it is.
pub fn stand_back() {
    // SAFETY: neither call takes a pointer; 0 stands for the calling thread in both.
    unsafe {
        let _unchanged = libc::setpriority(libc::PRIO_PROCESS, 0, NICE);
        let _unchanged = libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, BEST_EFFORT_LOWEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_stands_back_and_the_others_do_not() {
        // SAFETY: it takes no pointer.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        let lowered = std::thread::spawn(move || {
            stand_back();
            nice()
        });
        assert_eq!(lowered.join().unwrap(), before.max(NICE));
        assert_eq!(nice(), before);
    }
}
