//! Names what is hooked, and attaches the programs to it.

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use aya::programs::{FEntry, KProbe, Program, ProgramError};
use aya::{Btf, Ebpf};

use super::load::{PRIVILEGES, root_cause};
use crate::capture::Error;

/// A function of the kernel that a program is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hook {
    pub(super) function: &'static str,
    /// How many arguments the program relies on.
    pub(super) arguments: usize,
}

/// Every change that somebody asked for on the file system, and all names.
pub(super) const FSNOTIFY: Hook = Hook { function: "fsnotify", arguments: 7 };

/// Everything that happens to files, reads as well; needed only where nobody can ask for changes
/// alone.
pub(super) const FSNOTIFY_PARENT: Hook = Hook { function: "__fsnotify_parent", arguments: 4 };

/// Stores through memory maps.
pub(super) const FILE_UPDATE_TIME: Hook = Hook { function: "file_update_time", arguments: 1 };

/// All of them.
pub(super) const HOOKS: [Hook; 3] = [FSNOTIFY, FSNOTIFY_PARENT, FILE_UPDATE_TIME];

/// How a program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Through a trampoline at the function's entry: half the cost of a kprobe. A kernel that
    /// preempts the program skips events meanwhile.
    Fentry,
    /// Through a breakpoint: never preempted.
    Kprobe,
}

impl Form {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
        }
    }
}

impl Hook {
    /// The program's name in the object.
    fn program(self, form: Form) -> String {
        format!("{}_{}", self.function.trim_start_matches('_'), form.name())
    }
}

/// Programs that are attached in one form.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) form: Form,
    hooks: Vec<Hook>,
    /// The programs' descriptors, which the [`Ebpf`] keeps open.
    descriptors: Vec<RawFd>,
}

impl Attached {
    /// How often the kernel has skipped a program because another was running on the processor:
    /// it tells so in the program's descriptor, by Linux 6.12 at the latest.
    pub(super) fn skipped(&self) -> u64 {
        let misses = |descriptor: &RawFd| {
            let facts = fs::read_to_string(format!("/proc/self/fdinfo/{descriptor}")).unwrap_or_default();
            let misses = facts.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
            misses.and_then(|misses| misses.trim().parse::<u64>().ok()).unwrap_or(0)
        };
        self.descriptors.iter().map(misses).sum()
    }

    /// Detaches the programs.
    pub(super) fn detach(self, ebpf: &mut Ebpf) {
        for hook in self.hooks {
            unload(ebpf, hook, self.form);
        }
    }

    pub(super) fn hooks(&self) -> &[Hook] {
        &self.hooks
    }
}

/// Why the kernel does not take a program.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Which program, and the kernel's error.
    pub(super) what: String,
    /// The verifier's last words, if it was the verifier.
    log: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { what, log } = refusal;
        Self {
            what: if log.is_empty() { what } else { format!("{what}: {log}") },
            remedy: PRIVILEGES.to_owned(),
        }
    }
}

/// Attaches the programs of all `hooks`, or none.
pub(super) fn attach(ebpf: &mut Ebpf, hooks: &[Hook], form: Form) -> Result<Attached, Refusal> {
    let mut attached = Attached { form, hooks: Vec::new(), descriptors: Vec::new() };
    for hook in hooks {
        attached.hooks.push(*hook);
        match load(ebpf, *hook, form) {
            Ok(descriptor) => attached.descriptors.push(descriptor),
            Err(error) => {
                attached.detach(ebpf);
                return Err(error);
            }
        }
    }
    Ok(attached)
}

/// Loads and attaches the program of a hook; gives its descriptor.
fn load(ebpf: &mut Ebpf, hook: Hook, form: Form) -> Result<RawFd, Refusal> {
    let name = hook.program(form);
    let missing = || Refusal { what: format!("the object has no eBPF program `{name}`"), log: String::new() };
    let result = match ebpf.program_mut(&name).ok_or_else(missing)? {
        Program::FEntry(program) => Btf::from_sys_fs().map_err(ProgramError::from).and_then(|btf| {
            program.load(hook.function, &btf)?;
            program.attach()?;
            Ok(program.fd()?.as_fd().as_raw_fd())
        }),
        Program::KProbe(program) => program.load().and_then(|()| {
            program.attach(hook.function, 0)?;
            Ok(program.fd()?.as_fd().as_raw_fd())
        }),
        _ => return Err(missing()),
    };
    result.map_err(|error| refusal(&name, &error))
}

fn unload(ebpf: &mut Ebpf, hook: Hook, form: Form) {
    let program = ebpf.program_mut(&hook.program(form));
    // An error would mean that it was not loaded.
    let _unloaded = match program {
        Some(Program::FEntry(program)) => FEntry::unload(program),
        Some(Program::KProbe(program)) => KProbe::unload(program),
        _ => Ok(()),
    };
}

fn refusal(program: &str, error: &ProgramError) -> Refusal {
    let (cause, log) = match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            (io_error.to_string(), verifier_log.to_string())
        }
        other => (root_cause(other), String::new()),
    };
    let lines: Vec<&str> = log.lines().collect();
    let log = lines[lines.len().saturating_sub(12)..].join(" | ");
    Refusal { what: format!("load the eBPF program `{program}`: {cause}"), log }
}
