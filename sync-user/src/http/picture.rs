//! Draws bars as SVG: the one kind of picture that the page has. Pure.

use std::fmt::{self, Write as _};

use super::escape;

/// Of a picture, in units that are about a pixel each, on a phone as on a desktop: so its letters are
/// as large as others.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 112.0;

/// Where the bars begin and end.
const TOP: f64 = 18.0;
const BASE: f64 = 92.0;

/// Where the words below them stand.
const WORDS: f64 = 107.0;

/// A bar that is there is seen.
const LOWEST: f64 = 1.5;

/// One bar. `title` is shown to who points at it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) value: f64,
    pub(super) title: String,
    /// What it stands for is not as it should be.
    pub(super) is_bad: bool,
}

/// A picture of bars that have the same width.
#[derive(Debug)]
pub(super) struct Picture<'a> {
    /// What it shows, for those who do not see it.
    pub(super) label: String,
    pub(super) bars: &'a [Bar],
    /// The value at the upper end, and how it is called.
    pub(super) top: (f64, String),
    /// Words below the bars, each with the number of the bar at whose beginning it stands.
    pub(super) marks: &'a [(f64, String)],
}

/// Where the text at a mark is, for a mark at the left or right end of the picture.
fn anchor(x: f64) -> &'static str {
    match x {
        x if x < 1.0 => "start",
        x if x > WIDTH - 1.0 => "end",
        _ => "middle",
    }
}

impl Picture<'_> {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        let Self { label, bars, top: (top, top_name), marks } = self;
        write!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\
             <text x=\"0\" y=\"{}\">{}</text><line class=\"top\" x1=\"0\" y1=\"{TOP}\" x2=\"{WIDTH}\" y2=\"{TOP}\"/>",
            escape(label),
            TOP - 5.0,
            escape(top_name)
        )?;
        let width = WIDTH / bars.len().max(1) as f64;
        for (number, bar) in bars.iter().enumerate().filter(|(_, bar)| bar.value > 0.0) {
            let height = ((bar.value / top).min(1.0) * (BASE - TOP)).max(LOWEST);
            write!(
                out,
                "<rect{} x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
                if bar.is_bad { " class=\"bad\"" } else { "" },
                number as f64 * width,
                BASE - height,
                width - 1.0,
                escape(&bar.title)
            )?;
        }
        write!(out, "<line x1=\"0\" y1=\"{BASE}\" x2=\"{WIDTH}\" y2=\"{BASE}\"/>")?;
        for (number, name) in *marks {
            let x = number * width;
            write!(
                out,
                "<text x=\"{x:.1}\" y=\"{WORDS}\" text-anchor=\"{}\">{}</text>",
                anchor(x),
                escape(name)
            )?;
        }
        out.push_str("</svg>");
        Ok(())
    }
}

/// The next of 1, 2 and 5, and of these with zeros, that is not less than `value`; at least `least`.
pub(super) fn round_up(value: f64, least: f64) -> f64 {
    let value = value.max(least);
    let power = 10_f64.powf(value.log10().floor());
    // What is a little more by rounding is the same.
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|step| value <= step * 1.000_001)
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_end_at_round_values() {
        for (value, least, top) in [
            (0.0, 1.0, 1.0),
            (1.0, 1.0, 1.0),
            (1.1, 1.0, 2.0),
            (2.0, 1.0, 2.0),
            (340.0, 1.0, 500.0),
            (0.03, 0.01, 0.05),
        ] {
            let found = round_up(value, least);
            assert!((found - top).abs() < top * 1e-9, "{value}: {found}");
        }
    }

    #[test]
    fn bars_stay_inside_and_nothing_is_drawn_for_nothing() {
        let bar = |value| Bar { value, title: "<&>".to_owned(), is_bad: value > 1.0 };
        let bars = [bar(0.0), bar(1e-9), bar(0.5), bar(7.0)];
        let picture =
            Picture { label: "\"a\"".to_owned(), bars: &bars, top: (1.0, "1".to_owned()), marks: &[] };
        let mut out = String::new();
        picture.write(&mut out).unwrap();
        assert_eq!((out.matches("<rect").count(), out.matches("class=\"bad\"").count()), (3, 1), "{out}");
        assert!(out.contains("height=\"1.5\"") && out.contains("height=\"37.0\""), "{out}");
        assert!(out.contains("height=\"74.0\"") && !out.contains("<&"), "{out}");
    }
}
