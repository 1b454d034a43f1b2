//! Loads the programs into the kernel, tells them the root, and attaches them.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::path::Path;

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use aya::programs::KProbe;
use aya::programs::ProgramError;
use aya::{Ebpf, EbpfLoader, Pod};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::prctl;
use rustix::fs::{Mode, OFlags};
use sync_ebpf::{Handshake, Settings};

use super::btf::{self, Btf};
use super::epochs::Epochs;
use super::object::OBJECT;
use super::settings::settings;
use crate::capture::{Config, Error};

/// Room for records on their way to user space: about 150,000 of usual length.
const RING_BYTES: u32 = 16 << 20;

/// The programs, by their names in the object, and what they are attached to.
pub(super) const PROGRAMS: [(&str, &str); 3] = [
    ("fsnotify", "fsnotify"),
    ("fsnotify_parent", "__fsnotify_parent"),
    ("file_update_time", "file_update_time"),
];

/// Shared structs as aya wants them marked.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Shared<T>(T);

// SAFETY: the structs have no padding and no bit pattern that is not valid, as their definition
// in `sync_ebpf` asserts.
unsafe impl Pod for Shared<Settings> {}
// SAFETY: as above.
unsafe impl Pod for Shared<Handshake> {}

/// Programs that are attached.
pub(super) struct Loaded {
    pub(super) ring: RingBuf<MapData>,
    pub(super) lost: PerCpuArray<MapData, u64>,
    pub(super) epochs: Epochs,
    /// The descriptors of the programs, which `_ebpf` keeps open.
    programs: Vec<RawFd>,
    /// Keeps the programs in the kernel.
    _ebpf: Ebpf,
    /// Keeps the kernel's notification layer awake for this file system: it asks for no hook
    /// where nobody watches.
    _watch: Inotify,
    /// Keeps the root's dentry in the kernel's memory, by which the programs know it.
    _root: OwnedFd,
}

impl Loaded {
    /// How often the kernel has skipped a program because another was running on the processor:
    /// it tells so in the program's descriptor, by Linux 6.12 at the latest.
    pub(super) fn skipped(&self) -> u64 {
        let misses = |descriptor: &RawFd| {
            let facts = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
            let misses = facts.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
            misses.and_then(|misses| misses.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        self.programs.iter().map(misses).sum()
    }
}

/// Loads and attaches everything.
pub(super) fn load(config: &Config) -> Result<Loaded, Error> {
    let root = config.root.as_path();
    let mut ebpf = programs()?;
    let failed =
        |what: &str, cause: &dyn std::fmt::Display| Error::new(what, cause, "use --capture fanotify");
    let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
        .map_err(|error| failed("start inotify", &error))?;
    let awake = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR;
    watch.add_watch(root, awake).map_err(|error| failed(&format!("watch {}", root.display()), &error))?;

    let mut programs = Vec::new();
    for (name, function) in PROGRAMS {
        let program: &mut KProbe = ebpf
            .program_mut(name)
            .and_then(|program| program.try_into().ok())
            .ok_or_else(|| failed("find an eBPF program in the object", &name))?;
        program.load().map_err(|error| explain(name, &error))?;
        let descriptor = program.fd().map_err(|error| explain(name, &error))?;
        programs.push(descriptor.as_fd().as_raw_fd());
        if config.has(function) {
            program.attach(function, 0).map_err(|error| explain(name, &error))?;
        }
    }
    // Before the root is known, since 0 is no epoch.
    let taken =
        |ebpf: &mut Ebpf, name: &str| ebpf.take_map(name).ok_or_else(|| failed("find an eBPF map", &name));
    let epochs = Epochs::open(taken(&mut ebpf, "EPOCHS")?)?;
    let descriptor = shake_hands(&mut ebpf, root)?;
    let ring = RingBuf::try_from(taken(&mut ebpf, "EVENTS")?)
        .map_err(|error| failed("open the ring buffer", &error))?;
    let lost = PerCpuArray::try_from(taken(&mut ebpf, "LOST")?)
        .map_err(|error| failed("open the loss counter", &error))?;
    Ok(Loaded { ring, lost, epochs, programs, _ebpf: ebpf, _watch: watch, _root: descriptor })
}

/// Whether this kernel takes the programs: loads them, attaches nothing, and lets go.
pub(super) fn probe() -> Result<(), Error> {
    let mut ebpf = programs()?;
    for (name, _) in PROGRAMS {
        if let Some(Ok(program)) = ebpf.program_mut(name).map(<&mut KProbe>::try_from) {
            program.load().map_err(|error| explain(name, &error))?;
        }
    }
    Ok(())
}

/// The object with this kernel's settings.
fn programs() -> Result<Ebpf, Error> {
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
        .map_err(|error| Error::new("read the kernel's types", &error, "use --capture fanotify"))
        .and_then(|types| {
            settings(&types)
                .map_err(|error| Error::new("find what to hook", &error, "use --capture fanotify"))
        })?;
    EbpfLoader::new()
        .override_global("SETTINGS", &Shared(settings), true)
        .map_max_entries("EVENTS", RING_BYTES)
        .load(OBJECT)
        .map_err(|error| Error::new("load the eBPF maps", &root_cause(&error), privileges()))
}

/// Makes the kernel side learn the root's dentry: it is the directory that this thread opens
/// while it has a name that nobody else has. Device and inode would not do, since btrfs and
/// overlays show other numbers outside than inside the kernel.
fn shake_hands(ebpf: &mut Ebpf, root: &Path) -> Result<OwnedFd, Error> {
    let failed =
        |what: &str, cause: &dyn std::fmt::Display| Error::new(what, cause, "use --capture fanotify");
    let map = ebpf.map_mut("ROOT").ok_or_else(|| failed("find an eBPF map", &"ROOT"))?;
    let mut map: Array<_, Shared<Handshake>> =
        Array::try_from(map).map_err(|error| failed("open an eBPF map", &error))?;
    let before = prctl::get_name().map_err(|error| failed("read this thread's name", &error))?;
    let token = format!("k{:014x}", fastrand::u64(..) >> 8);
    let mut name = [0; 16];
    name[..token.len()].copy_from_slice(token.as_bytes());
    let mut set =
        |value: Handshake| map.set(0, Shared(value), 0).map_err(|error| failed("set an eBPF map", &error));

    set(Handshake { name, armed: 1, ..Handshake::default() })?;
    let token = CString::new(token).map_err(|error| failed("name this thread", &error))?;
    prctl::set_name(&token).map_err(|error| failed("name this thread", &error))?;
    let opened = rustix::fs::open(root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let renamed = prctl::set_name(&before);
    let opened = opened.map_err(|error| failed(&format!("open {}", root.display()), &error))?;
    renamed.map_err(|error| failed("name this thread", &error))?;

    let Shared(learned) = map.get(&0, 0).map_err(|error| failed("read an eBPF map", &error))?;
    let inode = rustix::fs::fstat(&opened).map_err(|error| failed("examine the root", &error))?.st_ino;
    if learned.dentry == 0 || learned.inode != inode {
        return Err(failed(
            "tell the kernel which directory is the root",
            &"the programs did not see it being opened",
        ));
    }
    map.set(0, Shared(Handshake { armed: 0, ..learned }), 0)
        .map_err(|error| failed("set an eBPF map", &error))?;
    Ok(opened)
}

/// What went wrong, with the verifier's last words if it was the verifier.
fn explain(program: &str, error: &ProgramError) -> Error {
    let cause = match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let lines: Vec<&str> = log.lines().collect();
            let last = lines[lines.len().saturating_sub(12)..].join(" | ");
            format!("{io_error}{}{last}", if last.is_empty() { "" } else { ": " })
        }
        other => root_cause(other),
    };
    Error::new(&format!("load the eBPF program `{program}`"), &cause, privileges())
}

/// An error with all the causes behind it.
fn root_cause(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn privileges() -> &'static str {
    "run as root, or give ksyncd CAP_BPF and CAP_PERFMON; a container or a locked kernel may refuse even so, and then fanotify remains"
}
