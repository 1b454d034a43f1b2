//! Draws latencies by percentile, one line a stage, as an SVG picture.
//!
//! Both scales are logarithmic: the latency, and the share of changes that took longer, so that
//! each nine of a percentile takes as much room as the one before. The same latencies always
//! give the same picture.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::latency::Stage;
use super::table::{View, is_measured};
use super::units::time;

/// Of the picture, in pixels.
const SIZE: (u32, u32) = (960, 540);

/// Room at the right for the names of the stages, in pixels.
const NAMES_WIDTH: u32 = 150;

/// Pixels between two names, at least.
const NAME_HEIGHT: i32 = 18;

/// Points for each halving of what took longer.
const TICKS: u32 = 10;

/// Nines beyond which no percentile is shown: one of a million.
const NINES_MAX: f64 = 6.0;

/// Percentiles that are marked, and how they are called.
const MARKS: &[(f64, &str)] = &[
    (0.0, "0%"),
    (0.5, "50%"),
    (0.9, "90%"),
    (0.99, "99%"),
    (0.999, "99.9%"),
    (0.9999, "99.99%"),
    (0.99999, "99.999%"),
    (0.999_999, "99.9999%"),
];

/// Colours that people tell apart who see some alike.
fn colour(stage: Stage) -> RGBColor {
    match stage {
        Stage::Capture => RGBColor(86, 180, 233),
        Stage::Queue => RGBColor(230, 159, 0),
        Stage::Batch => RGBColor(0, 158, 115),
        Stage::Ship => RGBColor(0, 114, 178),
        Stage::Apply => RGBColor(204, 121, 167),
        Stage::EndToEnd => RGBColor(60, 60, 60),
    }
}

const GRID: RGBColor = RGBColor(226, 226, 226);
const TEXT: RGBColor = RGBColor(70, 70, 70);

/// An axis with marks where they are meant to be.
struct Scale {
    from: f64,
    to: f64,
    /// And what is written there.
    marks: Vec<(f64, String)>,
}

impl Ranged for Scale {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (start, end): (i32, i32)) -> i32 {
        let share = (value - self.from) / (self.to - self.from);
        start + (share * f64::from(end - start)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // Between the marks there is nothing.
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        self.marks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.from..self.to
    }
}

impl ValueFormatter<f64> for Scale {
    fn format_ext(&self, value: &f64) -> String {
        let mark = self.marks.iter().find(|(mark, _)| (mark - value).abs() < 1e-6);
        mark.map_or_else(String::new, |(_, name)| name.clone())
    }
}

/// One stage: at how many nines which latency, as the logarithm of nanoseconds.
struct Line {
    stage: Stage,
    points: Vec<(f64, f64)>,
}

/// The picture. An error says what could not be drawn.
pub(super) fn svg(view: &View<'_>) -> Result<String, String> {
    let mut out = String::new();
    let root = SVGBackend::with_string(&mut out, SIZE).into_drawing_area();
    let drawn = draw(view, &root).and_then(|()| root.present().map_err(|error| error.to_string()));
    drop(root);
    drawn.map(|()| out)
}

fn draw(view: &View<'_>, root: &DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), String> {
    let failed = |error: DrawingAreaErrorKind<_>| error.to_string();
    root.fill(&WHITE).map_err(failed)?;
    let facts = view.facts;
    let targets = match facts.targets.as_slice() {
        few @ ([_] | [_, _]) => few.join(", "),
        many => format!("{} targets", many.len()),
    };
    let title = format!("ksyncd latency: {} to {targets}", facts.source);
    let changes = view.snapshot.of(Stage::EndToEnd).len();
    let below =
        format!("{changes} changes in {}, capture {}", time(facts.running.as_nanos() as f64), facts.backend);
    root.draw_text(&title, &("sans-serif", 18).into_font().color(&TEXT), (24, 16)).map_err(failed)?;
    root.draw_text(&below, &("sans-serif", 13).into_font().color(&TEXT), (24, 40)).map_err(failed)?;
    let lines = lines(view);
    if lines.is_empty() {
        let style = ("sans-serif", 15).into_font().color(&TEXT);
        return root.draw_text("no change has been acknowledged yet", &style, (24, 80)).map_err(failed);
    }
    plot(&lines, root).map_err(failed)
}

/// The percentiles of each stage that is shown, as far as there are changes for them.
fn lines(view: &View<'_>) -> Vec<Line> {
    let is_shown = |stage: &Stage| {
        view.stage.is_none_or(|only| only == *stage)
            && is_measured(*stage, view.facts)
            && !view.snapshot.of(*stage).is_empty()
    };
    let line = |stage: Stage| {
        let histogram = view.snapshot.of(stage);
        let last = nines_of(1.0 - 1.0 / histogram.len() as f64);
        let point = |value: u64| (value.max(1) as f64).log10();
        let mut points: Vec<(f64, f64)> = histogram
            .iter_quantiles(TICKS)
            .map(|value| (nines_of(value.quantile_iterated_to()), point(value.value_iterated_to())))
            .take_while(|(nines, _)| *nines < last)
            .collect();
        points.push((last, point(histogram.value_at_quantile(1.0 - 10_f64.powf(-last)))));
        Line { stage, points }
    };
    Stage::ALL.into_iter().filter(is_shown).map(line).collect()
}

/// 1 for 90 %, 2 for 99 %.
fn nines_of(quantile: f64) -> f64 {
    (-(1.0 - quantile).max(1e-12).log10()).clamp(0.0, NINES_MAX)
}

fn plot<'a>(
    lines: &[Line],
    root: &DrawingArea<SVGBackend<'a>, Shift>,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    // At least up to 99 %, and a whole power of ten high.
    let right = points().map(|(nines, _)| *nines).fold(2.0, f64::max);
    let low = points().map(|(_, log)| *log).fold(f64::INFINITY, f64::min).floor();
    let high = points().map(|(_, log)| *log).fold(low + 1.0, f64::max).ceil();
    let marks = MARKS.iter().map(|(quantile, name)| (nines_of(*quantile), (*name).to_owned()));
    let marks = marks.filter(|(nines, _)| *nines <= right);
    let powers = (low as i32..=high as i32).map(|power| (f64::from(power), time(10_f64.powi(power))));
    let mut chart = ChartBuilder::on(root)
        .margin_top(64)
        .margin_left(16)
        .margin_bottom(12)
        .margin_right(NAMES_WIDTH)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d(
            Scale { from: 0.0, to: right, marks: marks.collect() },
            Scale { from: low, to: high, marks: powers.collect() },
        )?;
    chart
        .configure_mesh()
        .x_desc("percentile of changes")
        .y_desc("latency")
        .bold_line_style(GRID)
        .axis_style(TEXT)
        .label_style(("sans-serif", 13).into_font().color(&TEXT))
        .axis_desc_style(("sans-serif", 13).into_font().color(&TEXT))
        .draw()?;
    for Line { stage, points } in lines {
        let width = if *stage == Stage::EndToEnd { 3 } else { 2 };
        chart.draw_series(LineSeries::new(points.iter().copied(), colour(*stage).stroke_width(width)))?;
    }
    // Each name stands where its line ends, as far as the others leave room.
    let ends = lines.iter().filter_map(|line| Some((line, chart.backend_coord(line.points.last()?))));
    let mut ends: Vec<_> = ends.collect();
    ends.sort_by_key(|(_, (_, y))| *y);
    let mut free = 0;
    for (Line { stage, points }, (x, y)) in ends {
        let y = y.max(free);
        free = y + NAME_HEIGHT;
        let longest = points.last().map_or(0.0, |(_, log)| 10_f64.powf(*log));
        let style =
            ("sans-serif", 13).into_font().color(&colour(*stage)).pos(Pos::new(HPos::Left, VPos::Center));
        root.draw_text(&format!("{} {}", stage.name(), time(longest.round())), &style, (x + 8, y))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::table::tests::simulated;
    use crate::metrics::{Counts, Facts, Snapshot};

    fn drawn(snapshot: &Snapshot, stage: Option<Stage>) -> String {
        let (counts, facts) = (Counts::default(), Facts::sample(100));
        svg(&View { stage, ..View::whole(snapshot, &counts, &facts) }).unwrap()
    }

    /// What is written in a picture.
    fn texts(svg: &str) -> Vec<&str> {
        let inside = |part: &str| -> Option<usize> { part.find("</text>") };
        let part = |part| -> Option<&str> {
            let part: &str = part;
            let end = inside(part)?;
            part[..end].split_once('>').map(|(_, text)| text.trim())
        };
        svg.split("<text").skip(1).filter_map(part).collect()
    }

    #[test]
    fn scales_have_units_and_lines_have_names() {
        let snapshot = simulated(10_000);
        let picture = drawn(&snapshot, None);
        let texts = texts(&picture);
        for text in ["50%", "99%", "99.99%", "10 us", "1 ms", "100 ms", "latency", "percentile of changes"] {
            assert!(texts.contains(&text), "{text} is not among {texts:?}");
        }
        for stage in Stage::ALL {
            let named = texts.iter().filter(|text| text.starts_with(stage.name())).count();
            let RGBColor(red, green, blue) = colour(stage);
            let lines = picture.matches(&format!("stroke=\"#{red:02X}{green:02X}{blue:02X}\"")).count();
            assert_eq!((named, lines), (1, 1), "{}: {picture}", stage.name());
        }
        assert_eq!(picture, drawn(&snapshot, None), "the same latencies give the same picture");
    }

    #[test]
    fn one_stage_and_no_changes_can_be_drawn() {
        let one = drawn(&simulated(10), Some(Stage::Ship));
        assert!(texts(&one).iter().any(|text| text.starts_with("ship ")), "{one}");
        assert!(!texts(&one).iter().any(|text| text.starts_with("apply")), "{one}");
        let none = drawn(&simulated(0), None);
        assert!(texts(&none).contains(&"no change has been acknowledged yet"), "{none}");
    }

    #[test]
    fn names_do_not_break_the_picture() {
        let (counts, mut facts) = (Counts::default(), Facts::sample(1));
        facts.source = "/srv/<b>&\"x".to_owned();
        let snapshot = simulated(1);
        let picture = svg(&View::whole(&snapshot, &counts, &facts)).unwrap();
        assert!(!picture.contains("<b>") && picture.contains("&lt;b&gt;&amp;"), "{picture}");
    }
}
