//! Runs commands on Debian's kernels in virtual machines, with the built programs inside.
//!
//! The machine is QEMU without hardware acceleration, which works everywhere, at a tenth of the
//! speed. Its root is an archive in memory; what is replicated lies on a disk with ext4.

mod image;
mod kernel;
mod machine;
mod matrix;
mod place;

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::process::quote;
use crate::{build, packages};
use image::FileSystem;
use kernel::Series;
use machine::Clock;
pub(crate) use matrix::matrix;
use place::Place;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The series of Debian's kernel
    #[arg(long, value_enum, default_value_t = Series::Bookworm)]
    kernel: Series,
    /// More for the kernel's command line, such as `preempt=full`
    #[arg(long, value_name = "WORDS", default_value = "")]
    append: String,
    /// What is mounted at /place besides
    #[arg(long, value_enum)]
    place: Option<Place>,
    /// The command and its arguments; /data is a disk with ext4, PATH holds ksyncd, busybox and,
    /// when it is named, the test `differential`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// Runs one command in one machine; its failure is ours.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    install()?;
    let mut programs = vec![(build::build()?, DAEMON)];
    if arguments.command.iter().any(|word| word.contains(DIFFERENTIAL)) {
        programs.push((build::differential()?, DIFFERENTIAL));
    }
    let mut command = quote(&arguments.command);
    if let Some(place) = arguments.place {
        command = format!("{} && {} && {command}", Place::load(), place.mount());
    }
    let disks = Place::disks(arguments.place.is_some());
    // Nobody reads it when standard output is closed.
    let show = |line: &str| drop(writeln!(std::io::stdout().lock(), "{line}"));
    boot(IMAGE, arguments.kernel, &arguments.append, &command, &programs, disks, &mut { show })
}

/// The name that the program has in a machine.
const DAEMON: &str = "ksyncd";

/// The name that the differential test has in a machine.
const DIFFERENTIAL: &str = "differential";

/// Replicates in machines: the scripted operations and colliding writers, by each backend, and
/// the differential test by eBPF, on each kernel. On one, each hook is left out in turn, and a
/// storm overruns the smallest ring.
pub(crate) fn test() -> Result<()> {
    install()?;
    let daemon = build::for_tests()?;
    if !build::has_bpf() {
        bail!("the eBPF programs could not be built, so there is nothing to try on other kernels");
    }
    let programs = [(daemon, DAEMON), (build::differential()?, DIFFERENTIAL)];
    let attempt = |series, append, mutates| Attempt { series, append, mutates };
    // Preemptible kernels skip eBPF trampolines silently, so both ways count.
    let rows = [
        vec![attempt(Series::Trixie, "", true)],
        vec![attempt(Series::Bookworm, "", false), attempt(Series::Trixie, "preempt=full", false)],
    ];
    for attempt in rows.iter().flatten() {
        kernel::fetch(attempt.series)?;
    }
    // Two at a time, since most of what a machine does one processor does.
    let results = std::thread::scope(|scope| {
        let row = |attempts: Vec<Attempt>| {
            let programs = &programs;
            scope.spawn(move || attempts.iter().try_for_each(|attempt| attempt.make(programs)))
        };
        rows.map(row).map(std::thread::ScopedJoinHandle::join)
    });
    for result in results {
        result.map_err(|_panic| anyhow::anyhow!("a thread that ran a machine has panicked"))??;
    }
    Ok(())
}

/// What one machine is to try.
struct Attempt {
    series: Series,
    /// For the kernel's command line.
    append: &'static str,
    /// Whether hooks are left out, and the smallest ring is overrun.
    mutates: bool,
}

impl Attempt {
    fn make(&self, programs: &[(PathBuf, &str)]) -> Result<()> {
        let Self { series, append, mutates } = self;
        let name = [series.name(), append].join(" ").trim().to_owned();
        eprintln!("xtask: Linux {name}");
        let demonstration = |backend: &str| format!("ksyncd demo --capture {backend} --writers 10s");
        let mut commands = vec![
            demonstration("ebpf"),
            demonstration("fanotify"),
            differential("ebpf", &format!("--seeds {SEEDS}")),
        ];
        if *mutates {
            commands.push(differential("ebpf", "--mutate"));
            commands.push(differential("ebpf", "--storm 200000"));
        }
        let show = |line: &str| drop(writeln!(std::io::stdout().lock(), "Linux {name}: {line}"));
        let folder = format!("{IMAGE} {name}").replace(' ', "-");
        boot(&folder, *series, append, &commands.join(" && "), programs, Place::disks(false), &mut { show })
            .with_context(|| format!("Linux {name}"))
    }
}

/// Seeds that a machine tries: it takes ten times as long as the host.
const SEEDS: &str = "0..6";

/// The command for one run of the differential test in a machine.
fn differential(backend: &str, arguments: &str) -> String {
    format!("{DIFFERENTIAL} --ksyncd /bin/ksyncd --capture {backend} {arguments}")
}

fn install() -> Result<()> {
    [packages::BUILD, packages::RUN, packages::VM].into_iter().try_for_each(packages::install)
}

/// The folder of a machine's image.
const IMAGE: &str = "image";

/// Boots once.
fn boot(
    folder: &str,
    series: Series,
    append: &str,
    command: &str,
    programs: &[(PathBuf, &str)],
    disks: &[FileSystem],
    console: &mut dyn FnMut(&str),
) -> Result<()> {
    let kernel = kernel::fetch(series)?;
    let image = image::make(folder, &kernel, command, programs, disks)?;
    machine::run(&kernel, &image, Clock::Real, append, console)
}

/// Runs `command` with a program of ours called `name`, in a machine whose time is the number of
/// its instructions, on the kernel that Debian's stable release has; gives what it printed.
pub(crate) fn count(name: &str, program: PathBuf, command: &str) -> Result<String> {
    install()?;
    let programs = [(build::build()?, DAEMON), (program, name)];
    let kernel = kernel::fetch(Series::Trixie)?;
    let image = image::make(IMAGE, &kernel, command, &programs, Place::disks(false))?;
    let mut printed = String::new();
    let mut show = |line: &str| {
        eprintln!("{line}");
        printed.push_str(line);
        printed.push('\n');
    };
    machine::run(&kernel, &image, Clock::Instructions, "", &mut show)?;
    Ok(printed)
}
