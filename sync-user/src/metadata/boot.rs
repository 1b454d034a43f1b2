//! Tells one start of this machine from another.

/// A number that is drawn whenever the kernel starts (`random(4)`).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// What differs whenever this machine was started anew; empty where the kernel does not tell.
pub fn boot() -> String {
    let id = std::fs::read_to_string(BOOT_ID).unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_machine_has_one_while_it_runs() {
        assert!(!super::boot().is_empty());
        assert_eq!(super::boot(), super::boot());
    }
}
