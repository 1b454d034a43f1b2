//! Writes the latency table as data.

use serde_json::{Map, Value, json};

use crate::metrics::{CodecError, Report, Stage};

/// All stages, or one. A stage that is not measured is `null`.
pub(super) fn json(report: &Report, only: Option<Stage>) -> Result<Value, CodecError> {
    let snapshot = report.snapshot()?;
    let mut stages = Map::new();
    for stage in Stage::ALL.into_iter().filter(|stage| only.is_none_or(|only| only == *stage)) {
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
    let slowest = report.slowest.as_ref().map(
        |slowest| json!({ "target": slowest.target, "ship_p99_seconds": slowest.ship_p99_ns as f64 / 1e9 }),
    );
    Ok(json!({
        "source": facts.source,
        "targets": facts.targets,
        "capture": facts.backend,
        "running_seconds": facts.running.as_secs_f64(),
        "counts": report.counts,
        "slowest": slowest,
        "stages": stages,
    }))
}
