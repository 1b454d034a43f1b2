//! Draws one sync: pure, from what was seen to the cells of a terminal of at least 80×24.

use bytesize::ByteSize;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Sparkline, Table, Wrap};

use super::look::{Latencies, Looks};
use crate::control::{CatchingUp, Status, TargetStatus, time_of};
use crate::metrics::{Stage, time};

/// Targets that have a line of their own.
const TARGETS_SHOWN: usize = 5;

/// Rows of the picture of the last minutes.
const PICTURE_ROWS: u16 = 3;

/// Columns of a stage's bar: four for each order of magnitude from 10 µs to 100 s.
const BAR_COLUMNS: usize = 28;
const BAR_COLUMNS_A_DECADE: f64 = 4.0;
const BAR_FROM_NS: f64 = 1e4;

/// What stands above the bars.
const SCALE: &str = "10us    1ms     .1s     10s";

/// Which colours and weights are used: none but weights where the reader wants no colours.
#[derive(Debug, Clone, Copy)]
struct Look {
    colours: bool,
}

impl Look {
    fn of_the_environment() -> Self {
        // As https://no-color.org has it: set, and not empty.
        Self { colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn heading(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn bar(self) -> Style {
        self.coloured(Color::Blue)
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }
}

/// Draws the sync of `looks`, which is the one at `place.0` of `place.1`.
pub(super) fn draw(frame: &mut Frame<'_>, looks: Option<&Looks>, place: (usize, usize)) {
    draw_as(frame, looks, place, Look::of_the_environment());
}

fn draw_as(frame: &mut Frame<'_>, looks: Option<&Looks>, place: (usize, usize), look: Look) {
    let Some((looks, status)) = looks.and_then(|looks| Some((looks, looks.status()?))) else {
        let text = "No daemon is running any more; this goes on when one does. q ends it.";
        return frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), frame.area());
    };
    let targets =
        status.targets.len().min(TARGETS_SHOWN) + 1 + usize::from(status.targets.len() > TARGETS_SHOWN);
    let rows = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1 + PICTURE_ROWS),
        Constraint::Length(targets as u16),
        Constraint::Length(1 + Stage::ALL.len() as u16),
        Constraint::Min(3),
        Constraint::Length(2),
    ];
    let [head, rates, picture, targets, stages, rest, sentence] = Layout::vertical(rows).areas(frame.area());
    frame.render_widget(head_line(status, place, look), head);
    frame.render_widget(rates_line(looks, status, look), rates);
    draw_picture(frame, looks, look, picture);
    draw_targets(frame, looks, status, look, targets);
    draw_stages(frame, looks.latencies(), look, stages);
    let columns = [Constraint::Percentage(40), Constraint::Length(2), Constraint::Fill(1)];
    let [busiest, _, problems] = Layout::horizontal(columns).areas(rest);
    draw_busiest(frame, status, look, busiest);
    draw_problems(frame, status, look, problems);
    let text = Paragraph::new(looks.diagnosis().unwrap_or_default());
    frame.render_widget(text.wrap(Wrap { trim: true }), sentence);
}

fn head_line(status: &Status, (at, of): (usize, usize), look: Look) -> Line<'static> {
    let mut spans = vec![Span::styled("ksyncd top  ", look.heading()), Span::raw(status.name.clone())];
    match (&status.ended, &status.capture) {
        (Some(why), _) => spans.push(Span::styled(format!("  ended: {why}"), look.bad())),
        (None, Some(capture)) => {
            spans.push(format!("  {}  running {}", capture.backend, time_of(capture.running_seconds)).into());
        }
        (None, None) => spans.push("  starting".into()),
    }
    if of > 1 {
        spans.push(format!("  [{}/{of}, Tab]", at + 1).into());
    }
    spans.push("  q quits".into());
    Line::from(spans)
}

fn rates_line(looks: &Looks, status: &Status, look: Look) -> Line<'static> {
    let shipped = looks.per_second(|status| sum(status, |target| target.changes_shipped));
    let bytes = looks.per_second(|status| sum(status, |target| target.bytes_shipped));
    let seen = looks.per_second(|status| status.changes_captured);
    let mut spans = vec![
        format!("seen {}  shipped {}  sent {}", rate(seen), rate(shipped), byte_rate(bytes)).into(),
        format!("  queue {}", status.queue_length).into(),
    ];
    let lost = format!("  lost {}", status.lost_events);
    spans.push(if status.lost_events > 0 { Span::styled(lost, look.bad()) } else { lost.into() });
    spans.push(format!("  gaps {}, {} healed", status.gaps, status.gaps_healed).into());
    Line::from(spans)
}

fn sum(status: &Status, number: impl Fn(&TargetStatus) -> u64) -> u64 {
    status.targets.iter().map(number).sum()
}

fn draw_picture(frame: &mut Frame<'_>, looks: &Looks, look: Look, area: Rect) {
    let [title, picture] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let mut rates: Vec<u64> = looks.rates().rev().take(picture.width.into()).collect();
    rates.reverse();
    let most = rates.iter().max().copied().unwrap_or(0);
    let text = format!("changes seen a second, at most {most}");
    frame.render_widget(Line::styled(text, look.heading()), title);
    frame.render_widget(Sparkline::default().data(&rates).style(look.bar()), picture);
}

fn draw_targets(frame: &mut Frame<'_>, looks: &Looks, status: &Status, look: Look, area: Rect) {
    let shown = status.targets.iter().take(TARGETS_SHOWN).enumerate();
    let rows = shown.map(|(at, target)| {
        let style = if target.is_up() { look.good() } else { look.bad() };
        let shipped = looks.of_target(at, |target| target.changes_shipped);
        let bytes = looks.of_target(at, |target| target.bytes_shipped);
        Row::new([
            Line::from(target.name.clone()),
            Line::styled(state(target), style),
            Line::from(time_of(target.lag_seconds)),
            Line::from(target.lag_changes.to_string()),
            Line::from(rate(shipped)),
            Line::from(byte_rate(bytes)),
        ])
    });
    let more = status.targets.len().saturating_sub(TARGETS_SHOWN);
    let more = (more > 0).then(|| Row::new([format!("and {more} more: ksyncd status")]));
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(16),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(9),
        Constraint::Length(12),
    ];
    let head = Row::new(["target", "state", "lag", "behind", "shipped", "sent"]).style(look.heading());
    frame.render_widget(Table::new(rows.chain(more), widths).header(head), area);
}

/// What it is at, and for how long; while it catches up, how far it is.
fn state(target: &TargetStatus) -> String {
    match target.catching_up.filter(|_| target.is_up()) {
        Some(CatchingUp { steps_done, steps, .. }) => {
            format!("{}%, catching up", steps_done * 100 / steps.max(1))
        }
        None => format!("{} {}", target.state, time_of(target.state_seconds)),
    }
}

fn draw_stages(frame: &mut Frame<'_>, latencies: Option<&Latencies>, look: Look, area: Rect) {
    let of = match latencies {
        Some(Latencies { is_recent: true, .. }) => "last 10 s",
        Some(_) => "whole run",
        None => "none yet",
    };
    let rows = latencies.into_iter().flat_map(|latencies| {
        Stage::ALL.iter().map(|stage| {
            let histogram = latencies.snapshot.of(*stage);
            let shown = |ns: u64| if histogram.is_empty() { "-".to_owned() } else { time(ns as f64) };
            let at = |quantile| shown(histogram.value_at_quantile(quantile));
            Row::new([
                Line::from(stage.name()),
                Line::from(at(0.5)),
                Line::from(at(0.9)),
                Line::from(at(0.99)),
                Line::from(shown(histogram.max())),
                Line::styled(bar(histogram.value_at_quantile(0.5), histogram.max()), look.bar()),
            ])
        })
    });
    let widths = [
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Fill(1),
    ];
    let head = Row::new([of, "p50", "p90", "p99", "max", SCALE]).style(look.heading());
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

/// From 10 µs on a column for each quarter of an order of magnitude: full up to the median, thin up to
/// the longest.
fn bar(median_ns: u64, longest_ns: u64) -> String {
    let columns = |ns: u64| {
        let columns = (ns.max(1) as f64 / BAR_FROM_NS).log10() * BAR_COLUMNS_A_DECADE;
        // Shorter than the scale begins is one column where there is anything at all.
        (columns.ceil().max(f64::from(u8::from(ns > 0))) as usize).min(BAR_COLUMNS)
    };
    let (median, longest) = (columns(median_ns), columns(longest_ns));
    "█".repeat(median) + &"░".repeat(longest.saturating_sub(median))
}

fn draw_busiest(frame: &mut Frame<'_>, status: &Status, look: Look, area: Rect) {
    let rows = status.busiest.iter().take(usize::from(area.height).saturating_sub(1));
    let rows = rows.map(|busy| Row::new([format!("{:.1}", busy.changes_per_second), busy.path.clone()]));
    let head = Row::new(["/s", "busiest directories"]).style(look.heading());
    let widths = [Constraint::Length(7), Constraint::Fill(1)];
    frame.render_widget(Table::new(rows, widths).header(head), area);
}

/// What is wrong now, connections first.
fn draw_problems(frame: &mut Frame<'_>, status: &Status, look: Look, area: Rect) {
    let room = usize::from(area.height).saturating_sub(1);
    let connections = status.targets.iter().filter(|target| !target.is_up());
    let connections = connections.filter_map(|target| {
        let error = target.error.as_ref()?;
        Some((error.what.clone(), error.since_seconds))
    });
    let held = status.targets.iter().filter(|target| target.held_removals > 0).map(|target| {
        (format!("{} removals held: ksyncd deletes list", target.held_removals), target.held_seconds)
    });
    let paths = status.targets.iter().flat_map(|target| &target.problems);
    let paths =
        paths.map(|at| (format!("{}: cannot {}", at.path, at.problem.what), at.problem.since_seconds));
    let problems: Vec<(String, f64)> = connections.chain(held).chain(paths).collect();
    let title = match problems.len() {
        0 => Line::styled("no problems", look.heading()),
        more if more > room => Line::styled(format!("problems, {more}: ksyncd status"), look.heading()),
        _ => Line::styled("problems", look.heading()),
    };
    let lines = problems.iter().take(room).map(|(what, since)| {
        Line::from(vec![Span::styled(format!("{} ", time_of(*since)), look.bad()), what.clone().into()])
    });
    let lines: Vec<Line<'_>> = std::iter::once(title).chain(lines).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

fn rate(per_second: Option<f64>) -> String {
    match per_second {
        None => "-".to_owned(),
        Some(rate) if rate > 0.0 && rate < 9.95 => format!("{rate:.1}/s"),
        Some(rate) => format!("{rate:.0}/s"),
    }
}

fn byte_rate(per_second: Option<f64>) -> String {
    per_second.map_or_else(|| "-".to_owned(), |rate| format!("{}/s", ByteSize(rate.round() as u64)))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::control::{BusyDirectory, Capture, Occurrence, PathProblem};
    use crate::metrics::{Counts, Facts, Latency, Report};
    use crate::model::Stamp;
    use std::time::Duration;

    fn target(name: &str, state: &str, shipped: u64) -> TargetStatus {
        TargetStatus {
            name: name.to_owned(),
            state: state.to_owned(),
            state_seconds: 95.0,
            lag_seconds: 0.25,
            lag_changes: 12,
            changes_shipped: shipped,
            bytes_shipped: shipped * 4096,
            bytes_written: shipped * 4200,
            rescans: 1,
            ..TargetStatus::default()
        }
    }

    fn status(seen: u64) -> Status {
        let occurrence =
            |what: &str| Occurrence { what: what.to_owned(), since_seconds: 95.0, last_seconds: 1.0 };
        let problem =
            PathProblem { path: "img/a.jpg".to_owned(), problem: occurrence("read it: permission denied") };
        let down = TargetStatus {
            error: Some(occurrence("web3 port 22 cannot be reached")),
            problems: vec![problem],
            ..target("web3:/srv/www", "down", 0)
        };
        Status {
            version: "0.1.0".to_owned(),
            process: 1,
            name: "/srv/www".to_owned(),
            source: "/srv/www".to_owned(),
            ended: None,
            capture: Some(Capture {
                backend: "ebpf".to_owned(),
                reason: String::new(),
                running_seconds: 8_100.0,
            }),
            changes_captured: seen,
            queue_length: 3,
            lost_events: 0,
            gaps: 1,
            gaps_healed: 1,
            gaps_by_reason: Vec::new(),
            rescans: 2,
            busiest: [("img", 812.5), (".", 3.0)]
                .map(|(path, changes_per_second)| BusyDirectory { path: path.to_owned(), changes_per_second })
                .to_vec(),
            targets: vec![target("web2:/srv/www", "up", seen / 2), down],
        }
    }

    fn report(milliseconds: &[u64]) -> Report {
        let latency = Latency::new();
        for milliseconds in milliseconds {
            for stage in Stage::ALL {
                latency.record(stage, Duration::from_millis(*milliseconds));
            }
        }
        let facts = Facts {
            source: "/srv/www".to_owned(),
            targets: vec!["web2:/srv/www".to_owned()],
            backend: "ebpf".to_owned(),
            stamps_in_kernel: true,
            batch_delay: Duration::ZERO,
            batch_max_delay: Duration::from_millis(50),
            batch_max_changes: 10_000,
            running: Duration::from_mins(135),
        };
        let latencies = crate::metrics::Latencies { all: latency.snapshot(), by_target: Vec::new() };
        Report::new(&facts, Counts::default(), &latencies, None, Duration::from_secs(1)).unwrap()
    }

    fn screen(looks: Option<&Looks>, colours: bool) -> ratatui::buffer::Buffer {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw_as(frame, looks, (0, 2), Look { colours })).unwrap();
        terminal.backend().buffer().clone()
    }

    fn text(buffer: &ratatui::buffer::Buffer) -> String {
        let rows = buffer.content().chunks(80);
        let line =
            |row: &[ratatui::buffer::Cell]| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>();
        rows.map(|row| line(row).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn everything_that_matters_fits_on_the_smallest_terminal() {
        let second = Duration::from_secs(1);
        let looks = Looks::default().then(status(1_000), Some(report(&[1, 2])), Stamp(1));
        let looks = looks.then(status(2_000), Some(report(&[1, 2, 3, 40])), Stamp(1).plus(second));
        let screen = screen(Some(&looks), true);
        insta::assert_snapshot!(text(&screen), @r"
        ksyncd top  /srv/www  ebpf  running 2.2 h  [1/2, Tab]  q quits
        seen 1000/s  shipped 500/s  sent 2.0 MiB/s  queue 3  lost 0  gaps 1, 1 healed
        changes seen a second, at most 1000
        █
        █
        █
        target                  state            lag      behind  shipped   sent
        web2:/srv/www           up 1.58 min      250 ms   12      500/s     2.0 MiB/s
        web3:/srv/www           down 1.58 min    250 ms   12      0/s       0 B/s
        last 10 s  p50       p90       p99       max       10us    1ms     .1s     10s
        capture    3 ms      40 ms     40 ms     40 ms     ██████████░░░░░
        queue      3 ms      40 ms     40 ms     40 ms     ██████████░░░░░
        batch      3 ms      40 ms     40 ms     40 ms     ██████████░░░░░
        ship       3 ms      40 ms     40 ms     40 ms     ██████████░░░░░
        apply      3 ms      40 ms     40 ms     40 ms     ██████████░░░░░
        end to end 3 ms      40 ms     40 ms     40 ms     ██████████░░░░░
        /s      busiest directories       problems
        812.5   img                       1.58 min web3 port 22 cannot be reached
        3.0     .                         1.58 min img/a.jpg: cannot read it: permission



        the batcher cannot keep up, queue p99 is 40 ms: leave out by --exclude what
        nobody needs at the targets
        ");
        assert!(screen.content().iter().any(|cell| cell.fg != Color::Reset));
    }

    #[test]
    fn there_are_no_colours_where_none_are_wanted() {
        let looks = Looks::default().then(status(1_000), None, Stamp(1));
        let screen = screen(Some(&looks), false);
        assert!(text(&screen).contains("none yet"));
        assert!(screen.content().iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    }

    #[test]
    fn a_daemon_that_is_gone_is_said_to_be() {
        assert!(text(&screen(None, true)).starts_with("No daemon is running any more"));
    }
}
