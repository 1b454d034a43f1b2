//! Writes one histogram as the percentile table that plotters of `HdrHistogram` read (`.hgrm`).

use std::fmt::Write as _;

use hdrhistogram::Histogram;

/// Lines for each halving of the distance to 100 %.
const TICKS: u32 = 5;

/// Values are in milliseconds, as those plotters expect.
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut count = 0;
    for value in histogram.iter_quantiles(TICKS) {
        count += value.count_since_last_iteration();
        let (milliseconds, quantile) = (value.value_iterated_to() as f64 / 1e6, value.quantile_iterated_to());
        // Writing to a string does not fail.
        let _infallible = if quantile < 1.0 {
            writeln!(
                out,
                "{milliseconds:>12.3} {quantile:>14.12} {count:>10} {:>14.2}",
                1.0 / (1.0 - quantile)
            )
        } else {
            writeln!(out, "{milliseconds:>12.3} {quantile:>14.12} {count:>10}")
        };
    }
    let _infallible = write!(
        out,
        "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]\n#[Max     = {:>12.3}, Total count    = {:>12}]\n\
         #[Buckets = {:>12}, SubBuckets     = {:>12}]\n",
        histogram.mean() / 1e6,
        histogram.stdev() / 1e6,
        histogram.max() as f64 / 1e6,
        histogram.len(),
        histogram.buckets(),
        2048,
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_grow_to_the_total() {
        let mut histogram = Histogram::<u64>::new(3).unwrap();
        for milliseconds in 1..=100 {
            histogram.record(milliseconds * 1_000_000).unwrap();
        }
        let text = hgrm(&histogram);
        let lines: Vec<&str> = text.lines().skip(2).filter(|line| !line.starts_with('#')).collect();
        assert!(lines.first().unwrap().trim().starts_with("1.0"), "{text}");
        assert!(lines.last().unwrap().contains("1.000000000000        100"), "{text}");
        assert!(text.contains("Total count    =          100]"), "{text}");
    }
}
