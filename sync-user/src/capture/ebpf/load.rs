//! Loads the programs into the kernel, tells them the root, and attaches them.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader, Pod};
use nix::sys::statfs::{FsType, OVERLAYFS_SUPER_MAGIC, statfs};
use sync_ebpf::{EXCLUDED_LENGTHS_MAX, Settings};

use super::btf::{self, Btf};
use super::epochs::Epochs;
use super::exclusions::Exclusions;
use super::handshake::shake_hands;
use super::hooks::{self, Attached, FILE_UPDATE_TIME, FSNOTIFY, FSNOTIFY_PARENT, Form, HOOKS, Hook};
use super::object::OBJECT;
use super::preemption::is_preemptible;
use super::settings::settings;
use super::watch::Watch;
use crate::capture::{Config, Error};

/// What helps when the kernel refuses.
pub(super) const PRIVILEGES: &str = "run as root, or give ksyncd CAP_BPF and CAP_PERFMON; a container or a locked kernel may refuse even so, and then fanotify remains";

/// The smallest ring that a kernel gives: a page.
const RING_BYTES_MIN: u64 = 4096;

/// The largest: the kernel keeps 32-bit positions.
const RING_BYTES_MAX: u64 = 1 << 30;

/// The struct as aya wants it marked.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Shared(Settings);

// SAFETY: the struct has no padding and no bit pattern that is not valid, as its definition in
// `sync_ebpf` asserts.
unsafe impl Pod for Shared {}

/// Programs that are attached.
pub(super) struct Loaded {
    pub(super) ring: RingBuf<MapData>,
    pub(super) lost: PerCpuArray<MapData, u64>,
    pub(super) epochs: Epochs,
    pub(super) attached: Attached,
    /// Why it is that form, where another would cost less.
    why: String,
    ebpf: Ebpf,
    watch: Watch,
    /// Keeps the root's dentry in the kernel's memory, by which the programs know it.
    _root: OwnedFd,
}

impl Loaded {
    /// How changes are seen, for people.
    pub(super) fn how(&self) -> String {
        let reads = match self.watch {
            Watch::Changes { .. } => "reads are not looked at",
            Watch::Root { .. } => "this file system shows reads as well, which costs a little",
        };
        format!("by {}{}, {reads}", self.attached.form.name(), self.why)
    }

    /// Attaches the programs in the form that no kernel skips; whether that was needed and done.
    pub(super) fn stop_being_skipped(&mut self) -> bool {
        if self.attached.form == Form::Kprobe {
            return false;
        }
        let hooks = self.attached.hooks().to_vec();
        let Ok(attached) = hooks::attach(&mut self.ebpf, &hooks, Form::Kprobe) else { return false };
        // Both were attached for a moment: nothing is missed, and what is told twice does no harm.
        std::mem::replace(&mut self.attached, attached).detach(&mut self.ebpf);
        self.why = String::from(" (the kernel has skipped fentry programs)");
        true
    }
}

/// Loads and attaches everything.
pub(super) fn load(config: &Config) -> Result<Loaded, Error> {
    let exclusions = Exclusions::new(&config.excluded);
    let mut ebpf = programs(config.ring_bytes, exclusions.lengths, kind_of(&config.root)?)?;
    exclusions.set(&mut ebpf)?;
    let watch = Watch::open(config)?;
    let mut hooks = match watch {
        Watch::Changes { .. } => vec![FSNOTIFY, FILE_UPDATE_TIME],
        Watch::Root { .. } => vec![FSNOTIFY, FSNOTIFY_PARENT, FILE_UPDATE_TIME],
    };
    hooks.retain(|hook| config.has(hook.function));
    let (attached, why) = attach(&mut ebpf, &hooks)?;
    // Before the root is known, since 0 is no epoch.
    let epochs = Epochs::open(take(&mut ebpf, "EPOCHS")?)?;
    let root = shake_hands(&mut ebpf, config)?;
    let ring = RingBuf::try_from(take(&mut ebpf, "EVENTS")?)
        .map_err(|error| failed("open the ring buffer", &error))?;
    let lost = PerCpuArray::try_from(take(&mut ebpf, "LOST")?)
        .map_err(|error| failed("open the loss counter", &error))?;
    Ok(Loaded { ring, lost, epochs, attached, why, ebpf, watch, _root: root })
}

/// Attaches in the cheaper form where the kernel has it and does not skip programs in it; else
/// says why not.
fn attach(ebpf: &mut Ebpf, hooks: &[Hook]) -> Result<(Attached, String), Error> {
    let why = if is_preemptible() {
        " (this kernel may preempt fentry programs, and then skips others)".to_owned()
    } else {
        match hooks::attach(ebpf, hooks, Form::Fentry) {
            Ok(attached) => return Ok((attached, String::new())),
            Err(refusal) => format!(" ({})", refusal.what),
        }
    };
    Ok((hooks::attach(ebpf, hooks, Form::Kprobe)?, why))
}

fn take(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| failed("find an eBPF map", &name))
}

/// Whether this kernel takes the programs: attaches them, which tell nothing while they know no
/// root, and lets go.
pub(super) fn probe() -> Result<(), Error> {
    let mut ebpf = programs(RING_BYTES_MIN, [0; EXCLUDED_LENGTHS_MAX], OVERLAYFS_SUPER_MAGIC)?;
    attach(&mut ebpf, &HOOKS)?;
    Ok(())
}

/// The kind of file system that `root` lies on, to load the programs for it.
fn kind_of(root: &Path) -> Result<FsType, Error> {
    let facts = statfs(root).map_err(|error| failed(&format!("examine {}", root.display()), &error))?;
    Ok(facts.filesystem_type())
}

/// The object with this kernel's settings.
fn programs(
    ring_bytes: u64,
    excluded_lengths: [u32; EXCLUDED_LENGTHS_MAX],
    kind: FsType,
) -> Result<Ebpf, Error> {
    if OBJECT.is_empty() {
        let what = "this build has no eBPF programs in it".to_owned();
        return Err(Error { what, remedy: "build it by `cargo xtask build`".to_owned() });
    }
    let bytes = fs::read(btf::PATH).map_err(|error| {
        Error::new(
            &format!("read {}", btf::PATH),
            &error,
            "use a kernel with CONFIG_DEBUG_INFO_BTF (Linux 5.10 or newer)",
        )
    })?;
    let settings = Btf::parse(bytes)
        .map_err(|error| failed("read the kernel's types", &error))
        .and_then(|types| settings(&types, kind).map_err(|error| failed("find what to hook", &error)))?;
    // The kernel takes powers of two.
    let ring_bytes = ring_bytes.clamp(RING_BYTES_MIN, RING_BYTES_MAX).next_power_of_two() as u32;
    EbpfLoader::new()
        .override_global("SETTINGS", &Shared(settings), true)
        .override_global("EXCLUDED_LENGTHS", &excluded_lengths, true)
        .map_max_entries("EVENTS", ring_bytes)
        .load(OBJECT)
        .map_err(|error| Error::new("load the eBPF maps", &root_cause(&error), PRIVILEGES))
}

/// An error with all the causes behind it.
pub(super) fn root_cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn failed(what: &str, cause: &dyn std::fmt::Display) -> Error {
    Error::new(what, cause, "use --capture fanotify")
}
