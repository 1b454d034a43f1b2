//! Tells what this machine offers for capture, and what each miss takes to be mended.

use std::fs;
use std::path::Path;

use super::{Error, ebpf, fanotify};

/// One thing that capture can make use of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    pub name: &'static str,
    pub state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there; the text says what was found.
    Met(String),
    Missing {
        what: String,
        remedy: String,
    },
}

impl State {
    pub fn is_met(&self) -> bool {
        matches!(self, Self::Met(_))
    }
}

/// What the machine offers to replicate `root`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirements {
    /// In the order in which they build on each other.
    pub all: Vec<Requirement>,
    /// What `--capture auto` takes here; `None` when nothing works.
    pub backend: Option<&'static str>,
}

/// Finds out by trying: attaches the programs and marks the file system, and lets go of both.
pub fn requirements(root: &Path) -> Requirements {
    let attempt = |result: Result<(), Error>, found: &str| match result {
        Ok(()) => State::Met(found.to_owned()),
        Err(Error { what, remedy }) => State::Missing { what, remedy },
    };
    let on_root = format!("watches the file system of {}", root.display());
    let all = vec![
        Requirement { name: "kernel", state: kernel(nix::sys::utsname::uname().as_ref().ok()) },
        Requirement { name: "capabilities", state: capabilities(&read("/proc/self/status")) },
        Requirement { name: "BTF", state: btf(fs::metadata(ebpf::BTF)) },
        Requirement { name: "eBPF", state: attempt(ebpf::probe(), "the kernel takes the programs") },
        Requirement { name: "fanotify", state: attempt(fanotify::probe(root), &on_root) },
    ];
    let works = |name| all.iter().any(|one| one.name == name && one.state.is_met());
    let backend = if works("eBPF") {
        Some("ebpf")
    } else if works("fanotify") {
        Some("fanotify")
    } else {
        None
    };
    Requirements { all, backend }
}

/// Below 5.9 there is no `FAN_REPORT_DFID_NAME`, and no ring buffer for eBPF below 5.8.
fn kernel(uname: Option<&nix::sys::utsname::UtsName>) -> State {
    let release = uname.map(|uname| uname.release().to_string_lossy().into_owned()).unwrap_or_default();
    match version(&release) {
        Some(version) if version < (5, 9) => State::Missing {
            what: format!("Linux {release} has neither the fanotify nor the eBPF that is needed"),
            remedy: "use Linux 5.10 or newer".to_owned(),
        },
        _ => State::Met(format!("Linux {release}")),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The capabilities that matter, by their bit in `/proc/self/status`.
const CAPABILITIES: [(&str, u32); 4] =
    [("CAP_DAC_READ_SEARCH", 2), ("CAP_SYS_ADMIN", 21), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

fn capabilities(status: &str) -> State {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let Some(effective) = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()) else {
        return State::Met("unknown, as /proc is not there".to_owned());
    };
    let missing: Vec<&str> =
        CAPABILITIES.iter().filter(|(_, bit)| effective & (1 << bit) == 0).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return State::Met("all that capture can use".to_owned());
    }
    State::Missing {
        what: format!("this process has not {}", missing.join(", ")),
        remedy: "run as root, or give them by AmbientCapabilities= in the unit or by setcap".to_owned(),
    }
}

fn btf(found: std::io::Result<fs::Metadata>) -> State {
    match found {
        Ok(_) => State::Met(ebpf::BTF.to_owned()),
        Err(error) => State::Missing {
            what: format!("{}: {error}", ebpf::BTF),
            remedy: "use a kernel with CONFIG_DEBUG_INFO_BTF, as all big distributions have, or fanotify"
                .to_owned(),
        },
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_any_release() {
        for (release, expected) in [
            ("6.1.0-50-cloud-amd64", Some((6, 1))),
            ("5.9-rc1", Some((5, 9))),
            ("5.10", Some((5, 10))),
            ("unknown", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }

    #[test]
    fn missing_capabilities_are_named() {
        let all = "Name:\tksyncd\nCapEff:\t000001ffffffffff\n";
        assert!(capabilities(all).is_met());
        let without = format!("CapEff:\t{:016x}\n", !(1_u64 << 21 | 1 << 39) & 0x1ff_ffff_ffff);
        let State::Missing { what, .. } = capabilities(&without) else { panic!("none missing") };
        assert_eq!(what, "this process has not CAP_SYS_ADMIN, CAP_BPF");
    }
}
