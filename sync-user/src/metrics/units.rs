//! Prints times for people.

/// Nanoseconds as three significant digits with a unit: "1.23 ms".
pub fn time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        0.0 => return "0".to_owned(),
        n if n >= 60e9 => (n / 60e9, "min"),
        n if n >= 1e9 => (n / 1e9, "s"),
        n if n >= 1e6 => (n / 1e6, "ms"),
        n if n >= 1e3 => (n / 1e3, "us"),
        n => (n, "ns"),
    };
    let digits = match value {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_three_digits_and_a_unit() {
        for (nanoseconds, text) in [
            (5.0, "5 ns"),
            (1_234.0, "1.23 us"),
            (12_340_000.0, "12.3 ms"),
            (2e9, "2 s"),
            (90e9, "1.5 min"),
            (100e6, "100 ms"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }
}
