//! Prints how long changes take: of running daemons, or of a log that one has kept.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::ask::{Ask, told};
use super::{fail, print};
use crate::exit::Exit;
use crate::metrics::{CodecError, Report, Stage, hgrm, read_log};

/// Flags of `ksyncd latency`.
#[derive(Debug, Args)]
pub(super) struct Latency {
    #[command(flatten)]
    ask: Ask,

    /// Read a file that `ksyncd run --latency-log` has written, instead of asking a daemon
    #[arg(long, value_name = "FILE", conflicts_with_all = ["state_dir", "source"])]
    from: Option<PathBuf>,

    /// Print JSON: one object a line for each daemon, with times in seconds
    #[arg(long, conflicts_with = "hgrm")]
    json: bool,

    /// Print the percentiles of one stage as plotters of `HdrHistogram` read them, in milliseconds
    #[arg(long)]
    hgrm: bool,

    /// The stage for --hgrm
    #[arg(long, value_name = "STAGE", value_enum, default_value_t = StageFlag::EndToEnd)]
    stage: StageFlag,
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
    let reports = match reports(flags) {
        Ok(reports) => reports,
        Err(exit) => return exit,
    };
    let mut texts = Vec::new();
    for report in &reports {
        match text(flags, report) {
            Ok(text) => texts.push(text),
            Err(error) => return fail(Exit::Failure, &error, None),
        }
    }
    print(&texts.join("\n"));
    Exit::Success
}

fn reports(flags: &Latency) -> Result<Vec<Report>, Exit> {
    if let Some(file) = &flags.from {
        let report = read_log(file).map_err(|error| {
            let what = format!("read {}: {error}", file.display());
            fail(Exit::Failure, &what, Some("give a file that ksyncd run --latency-log has written"))
        })?;
        return Ok(vec![report]);
    }
    let ask = |mut daemon: crate::control::Daemon| daemon.latency().map_err(|error| told(&error));
    flags.ask.daemons()?.into_iter().map(ask).collect()
}

fn text(flags: &Latency, report: &Report) -> Result<String, CodecError> {
    if flags.json {
        return Ok(json(report)?.to_string());
    }
    if flags.hgrm {
        return Ok(hgrm(report.snapshot()?.of(flags.stage.into())));
    }
    report.table()
}

/// The table as data. A stage that is not measured is `null`.
fn json(report: &Report) -> Result<Value, CodecError> {
    let snapshot = report.snapshot()?;
    let mut stages = Map::new();
    for stage in Stage::ALL {
        let histogram = snapshot.of(stage);
        let measured = !histogram.is_empty() && (stage != Stage::Capture || report.facts.stamps_in_kernel);
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e9;
        let value = measured.then(|| {
            json!({
                "count": histogram.len(),
                "p50_seconds": at(0.5),
                "p90_seconds": at(0.9),
                "p99_seconds": at(0.99),
                "p999_seconds": at(0.999),
                "max_seconds": at(1.0),
                "mean_seconds": histogram.mean() / 1e9,
            })
        });
        stages.insert(stage.tag().to_owned(), value.unwrap_or(Value::Null));
    }
    let facts = &report.facts;
    Ok(json!({
        "source": facts.source,
        "targets": facts.targets,
        "capture": facts.backend,
        "running_seconds": facts.running.as_secs_f64(),
        "counts": report.counts,
        "stages": stages,
    }))
}
