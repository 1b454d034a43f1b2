//! Prints how long changes take: of running daemons, or of a log that one has kept.

mod json;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::ask::{Ask, told};
use super::{fail, print};
use crate::control::{Daemon, Error};
use crate::exit::Exit;
use crate::metrics::{CodecError, LogError, Report, Stage, Wanted, hgrm, read_log};

/// Flags of `ksyncd latency`.
#[derive(Debug, Args)]
pub(super) struct Latency {
    #[command(flatten)]
    ask: Ask,

    /// Read a file that `ksyncd run --latency-log` has written, instead of asking a daemon
    #[arg(long, value_name = "FILE", conflicts_with_all = ["state_dir", "source"])]
    from: Option<PathBuf>,

    /// Only the last TIME of the latency log, such as 10m: of the file, or of the one that the running
    /// daemon keeps; what lies in it in part counts
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<Duration>,

    /// Only this target, by its name in `ksyncd status` or a part of it; counts are those of all targets
    #[arg(long, value_name = "NAME")]
    target: Option<String>,

    /// Only this stage [default: all; end-to-end with --hgrm]
    #[arg(long, value_name = "STAGE", value_enum)]
    stage: Option<StageFlag>,

    /// Print it anew every second, or every TIME, until stopped: on a terminal in place
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "1s",
        value_parser = super::ask::interval, conflicts_with_all = ["hgrm", "hlog", "svg"])]
    watch: Option<Duration>,

    /// Print JSON: one object a line for each daemon, with times in seconds
    #[arg(long, conflicts_with_all = ["hgrm", "hlog", "svg"])]
    json: bool,

    /// Print the percentiles of one stage as plotters of `HdrHistogram` read them, in milliseconds
    #[arg(long, conflicts_with_all = ["hlog", "svg"])]
    hgrm: bool,

    /// Print an interval log of `HdrHistogram` with one interval, in nanoseconds, and a tag for each stage
    #[arg(long, conflicts_with = "svg")]
    hlog: bool,

    /// Draw the percentiles of each stage into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum StageFlag {
    /// From the kernel's event to its being read
    Capture,
    /// From there to the batcher
    Queue,
    /// From there until the batch closes
    Batch,
    /// From there until the receipt is back, less `apply`
    Ship,
    /// What the target takes
    Apply,
    /// From the kernel's event to the receipt
    EndToEnd,
}

impl From<StageFlag> for Stage {
    fn from(flag: StageFlag) -> Self {
        match flag {
            StageFlag::Capture => Self::Capture,
            StageFlag::Queue => Self::Queue,
            StageFlag::Batch => Self::Batch,
            StageFlag::Ship => Self::Ship,
            StageFlag::Apply => Self::Apply,
            StageFlag::EndToEnd => Self::EndToEnd,
        }
    }
}

pub(super) fn latency(flags: &Latency) -> Exit {
    let texts = || -> Result<String, Exit> {
        let reports = reports(flags)?;
        let texts = reports.iter().map(|report| text(flags, report));
        let texts =
            texts.collect::<Result<Vec<_>, _>>().map_err(|error| fail(Exit::Failure, &error, None))?;
        Ok(texts.join("\n"))
    };
    if let Some(interval) = flags.watch {
        return watch::watch(interval, texts);
    }
    let done = match &flags.svg {
        Some(file) => draw(flags, file),
        None => texts().map(|text| print(&text)),
    };
    done.err().unwrap_or(Exit::Success)
}

fn reports(flags: &Latency) -> Result<Vec<Report>, Exit> {
    if let Some(file) = &flags.from {
        return Ok(vec![read(flags, file)?]);
    }
    let (mut reports, mut last) = (Vec::new(), None);
    for mut daemon in flags.ask.daemons()? {
        match asked(flags, &mut daemon) {
            Ok(Report { log: Some(log), .. }) if flags.since.is_some() => reports.push(read(flags, &log)?),
            Ok(report) if flags.since.is_some() => return Err(without_log(&report)),
            Ok(report) => reports.push(report),
            // A target is one of one daemon, and not of others.
            Err(error) if flags.target.is_some() => last = Some(error),
            Err(error) => return Err(told(&error)),
        }
    }
    match last {
        Some(error) if reports.is_empty() => Err(told(&error)),
        _ => Ok(reports),
    }
}

fn asked(flags: &Latency, daemon: &mut Daemon) -> Result<Report, Error> {
    daemon.latency(flags.target.as_deref())
}

fn read(flags: &Latency, file: &Path) -> Result<Report, Exit> {
    let wanted = Wanted { since: flags.since, target: flags.target.as_deref() };
    read_log(file, &wanted).map_err(|error| {
        let what = format!("read {}: {error}", file.display());
        let remedy = match error {
            LogError::NoTarget(_) => "name one of these as --target",
            _ => "give a file that ksyncd run --latency-log has written, and that this user may read",
        };
        fail(Exit::Failure, &what, Some(remedy))
    })
}

fn without_log(report: &Report) -> Exit {
    let what =
        format!("the daemon of {} keeps no latency log, so nobody knows what was when", report.facts.source);
    let remedy = "set latency_log, or leave out --since for all since the daemon was started";
    fail(Exit::Failure, &what, Some(remedy))
}

fn text(flags: &Latency, report: &Report) -> Result<String, CodecError> {
    let stage = flags.stage.map(Stage::from);
    if flags.json {
        return Ok(json::json(report, stage)?.to_string());
    }
    if flags.hgrm {
        return Ok(hgrm(report.snapshot()?.of(stage.unwrap_or(Stage::EndToEnd))));
    }
    if flags.hlog {
        return report.hlog(stage);
    }
    report.table(stage)
}

fn draw(flags: &Latency, file: &Path) -> Result<(), Exit> {
    let reports = reports(flags)?;
    let [report] = reports.as_slice() else {
        let what = format!("{} daemons run, and a picture is of one", reports.len());
        return Err(fail(Exit::Usage, &what, Some("say of which: --source DIR")));
    };
    let picture = report.svg(flags.stage.map(Stage::from));
    let picture = picture.map_err(|error| fail(Exit::Failure, &error, None))?;
    std::fs::write(file, picture).map_err(|error| {
        let what = format!("write {}: {error}", file.display());
        fail(Exit::Failure, &what, Some("give a file that this user may write: --svg FILE"))
    })
}
