//! Reads rates as rsync's `--bwlimit` does.

use std::num::NonZeroU64;

/// Bytes per second; `None` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bandwidth(pub Option<NonZeroU64>);

/// rsync takes a number of KiB, or one with a suffix: `K`, `M` or `G`, with `iB` or nothing behind it for powers of
/// 1,024 and with `B` for powers of 1,000; `B` alone for bytes.
pub(super) fn bandwidth(text: &str) -> Result<Bandwidth, String> {
    let wrong =
        || format!("\"{text}\" is no rate: give KiB per second, or a suffix as in 10m, 1.5MB or 800KiB");
    let digits = text.find(|character: char| !character.is_ascii_digit() && character != '.');
    let (number, suffix) = text.split_at(digits.unwrap_or(text.len()));
    let number: f64 = number.parse().map_err(|_no_number| wrong())?;
    let suffix = suffix.to_ascii_lowercase();
    let (power, base) = match suffix.as_str() {
        "b" => (0, 1_024_f64),
        "" | "k" | "kib" => (1, 1_024.0),
        "m" | "mib" => (2, 1_024.0),
        "g" | "gib" => (3, 1_024.0),
        "kb" => (1, 1_000.0),
        "mb" => (2, 1_000.0),
        "gb" => (3, 1_000.0),
        _ => return Err(wrong()),
    };
    let rate = (number * base.powi(power)) as u64;
    match rate {
        0 if number > 0.0 => Err("at least 512 bytes per second are needed".to_owned()),
        1..512 => Err("at least 512 bytes per second are needed".to_owned()),
        rate => Ok(Bandwidth(NonZeroU64::new(rate))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_rsync_does() {
        let read = |text| bandwidth(text).map(|rate| rate.0.map_or(0, NonZeroU64::get));
        for (text, expected) in [
            ("0", 0),
            ("100", 102_400),
            ("1.5m", 1_572_864),
            ("1.5MB", 1_500_000),
            ("2GiB", 2 << 30),
            ("512b", 512),
            ("64k", 65_536),
        ] {
            assert_eq!(read(text), Ok(expected), "{text}");
        }
        for text in ["", "fast", "10x", "-1", "1..2", "0.1b", "100b", "1e9"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
