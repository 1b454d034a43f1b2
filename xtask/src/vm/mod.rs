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
use kernel::Series;
use machine::{Clock, Hardware};
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
    /// How much memory it has, in MiB
    #[arg(long, value_name = "MIB", default_value_t = machine::MEMORY)]
    memory: u32,
    /// What is mounted at /place besides
    #[arg(long, value_enum)]
    place: Option<Place>,
    /// The command and its arguments; /data is a disk with ext4, PATH holds ksyncd, busybox and,
    /// when they are named, the tests `differential` and `integration`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// Runs one command in one machine; its failure is ours.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    install()?;
    let names = |name| arguments.command.iter().any(|word| word.contains(name));
    // The integration tests start the one that is built with them.
    let daemon = if names(INTEGRATION) { build::for_tests()? } else { build::build()? };
    let mut programs = vec![(daemon, DAEMON)];
    if names(DIFFERENTIAL) {
        programs.push((build::differential()?, DIFFERENTIAL));
    }
    if names(INTEGRATION) {
        programs.push((build::integration()?, INTEGRATION));
    }
    let mut command = quote(&arguments.command);
    if let Some(place) = arguments.place {
        command = format!("{} && {} && {command}", Place::load(), place.mount());
    }
    let kernel = kernel::fetch(arguments.kernel)?;
    let image = image::make(IMAGE, &kernel, &command, &programs, Place::disks(arguments.place.is_some()))?;
    // Nobody reads it when standard output is closed.
    let show = |line: &str| drop(writeln!(std::io::stdout().lock(), "{line}"));
    let hardware = Hardware { memory: arguments.memory, ..machine::USUAL };
    machine::run(&kernel, &image, hardware, &arguments.append, &mut { show })
}

/// The folder of a machine's image.
const IMAGE: &str = "image";

/// The name that the program has in a machine.
const DAEMON: &str = "ksyncd";

/// The name that the differential test has in a machine.
const DIFFERENTIAL: &str = "differential";

/// The name that the integration tests have in a machine.
const INTEGRATION: &str = "integration";

/// Replicates in machines: the scripted operations and colliding writers, by each backend, and
/// the differential test by eBPF, on each kernel. On one, each hook is left out in turn, and a
/// storm overruns the smallest ring; on another, both ends change.
pub(crate) fn test() -> Result<()> {
    install()?;
    let daemon = build::for_tests()?;
    if !build::has_bpf() {
        bail!("the eBPF programs could not be built, so there is nothing to try on other kernels");
    }
    let programs =
        [(daemon, DAEMON), (build::differential()?, DIFFERENTIAL), (build::integration()?, INTEGRATION)];
    let attempt = |series, append, more| Attempt { series, append, more };
    let mutates = vec![differential("ebpf", "--mutate"), differential("ebpf", "--storm 200000")];
    // Preemptible kernels skip eBPF trampolines silently, so both ways count.
    let rows = [
        vec![attempt(Series::Trixie, "", mutates)],
        vec![
            attempt(Series::Bookworm, "", vec![two_way()]),
            attempt(Series::Trixie, "preempt=full", Vec::new()),
        ],
    ];
    for attempt in rows.iter().flatten() {
        kernel::fetch(attempt.series)?;
    }
    in_rows(&rows, |attempt| attempt.make(&programs))
}

/// Does what is in each row in its order, and all rows at the same time: two are about right, since most of
/// what a machine does one processor does.
fn in_rows<T: Sync>(rows: &[Vec<T>], make: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let row = |row: &Vec<T>| row.iter().try_for_each(&make);
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = rows.iter().map(|each| scope.spawn(|| row(each))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    for result in results {
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    }
    Ok(())
}

/// What one machine is to try.
struct Attempt {
    series: Series,
    /// For the kernel's command line.
    append: &'static str,
    /// Commands besides those that are tried on each kernel.
    more: Vec<String>,
}

impl Attempt {
    fn make(&self, programs: &[(PathBuf, &str)]) -> Result<()> {
        let Self { series, append, more } = self;
        let name = [series.name(), append].join(" ").trim().to_owned();
        eprintln!("xtask: Linux {name}");
        let demonstration = |backend: &str| format!("ksyncd demo --capture {backend} --writers 10s");
        let mut commands = vec![
            demonstration("ebpf"),
            demonstration("fanotify"),
            differential("ebpf", &format!("--seeds {SEEDS}")),
        ];
        commands.extend_from_slice(more);
        let show = |line: &str| drop(writeln!(std::io::stdout().lock(), "Linux {name}: {line}"));
        let folder = format!("{IMAGE} {name}").replace(' ', "-");
        let kernel = kernel::fetch(*series)?;
        let image = image::make(&folder, &kernel, &commands.join(" && "), programs, Place::disks(false))?;
        machine::run(&kernel, &image, machine::USUAL, append, &mut { show })
            .with_context(|| format!("Linux {name}"))
    }
}

/// Seeds that a machine tries: it takes ten times as long as the host.
const SEEDS: &str = "0..6";

/// The command for one run of the differential test in a machine.
fn differential(backend: &str, arguments: &str) -> String {
    format!("{DIFFERENTIAL} --ksyncd /bin/ksyncd --capture {backend} {arguments}")
}

/// The command for tests in which both ends change, and daemons are killed meanwhile: as many as there is time
/// for in a machine.
fn two_way() -> String {
    const TESTS: &str = "two_way::changes_go two_way::of_two_edits torture::nothing_is_lost_whatever";
    format!("KSYNCD_TEST_CAPTURE=ebpf {INTEGRATION} --test-threads 1 {TESTS}")
}

fn install() -> Result<()> {
    [packages::BUILD, packages::RUN, packages::VM].into_iter().try_for_each(packages::install)
}

/// Whose time is the same in every run.
const COUNTING: Hardware = Hardware { clock: Clock::Instructions, ..machine::USUAL };

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
    machine::run(&kernel, &image, COUNTING, "", &mut show)?;
    Ok(printed)
}
