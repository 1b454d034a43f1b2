//! Prints what capture sees, as it sees it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytesize::ByteSize;
use serde::Serialize;

use super::{fail, signals};
use crate::capture::{self, Backend, RING_BYTES};
use crate::clock;
use crate::exit::Exit;
use crate::model::{Captured, Change, Gap, Kind, Stamp, Time, TreePath};
use crate::queue;
use crate::settings::{CaptureFlag, ring_size};
use crate::shutdown::Stop;

/// Changes that may wait to be printed; a terminal is slower than the kernel.
const QUEUE_CAPACITY: usize = 1 << 16;

/// Flags of `ksyncd tail`.
#[derive(Debug, clap::Args)]
pub(super) struct Tail {
    /// The directory to look at
    #[arg(value_name = "DIR")]
    root: PathBuf,

    /// How to see changes
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t = CaptureFlag::Auto)]
    capture: CaptureFlag,

    /// How much room records of changes have on their way from the kernel (eBPF only)
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(RING_BYTES), value_parser = ring_size)]
    ring_size: ByteSize,

    /// Leave out what this process changes; may be given several times. What is printed below
    /// DIR by ksyncd itself is always left out
    #[arg(long = "ignore-process", value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    ignored: Vec<u32>,

    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn tail(flags: Tail) -> Exit {
    let Tail { root, capture, ring_size, ignored, json } = flags;
    let (stop, blocked) = match Stop::new().and_then(|stop| Ok((stop, signals::block(&signals::USUAL)?))) {
        Ok(prepared) => prepared,
        Err(error) => return fail(Exit::Failure, &format!("prepare for signals: {error}"), None),
    };
    let asked = {
        let stop = stop.clone();
        move |asked| {
            if asked == signals::Asked::Stop {
                stop.request();
            }
        }
    };
    if let Err(error) = signals::serve(blocked, stop.clone(), asked) {
        return fail(Exit::Failure, &format!("start a thread: {error}"), None);
    }
    let root = match root.canonicalize() {
        Ok(root) => root,
        Err(error) => {
            let remedy = "name a directory that exists and that this user may enter";
            return fail(Exit::NoSource, &format!("find {}: {error}", root.display()), Some(remedy));
        }
    };
    // What goes to a file below the root would be told, and be printed, and be told.
    let config = capture::Config::new(root, Backend::from(capture))
        .with_ring_bytes(ring_size.0)
        .ignoring([std::process::id()].into_iter().chain(ignored));
    let (source, reason) = match capture::open(&config) {
        Ok(opened) => opened,
        Err(error) => return fail(Exit::NoCapture, &error, Some(&error.remedy)),
    };
    // On standard error, so that standard output has changes only.
    let _closed = writeln!(io::stderr(), "ksyncd: {reason}");
    let style = Style { json, latency: source.stamps_in_kernel() };
    let (entrance, exit) = queue::bounded(QUEUE_CAPACITY);
    let printer = {
        let stop = stop.clone();
        thread::spawn(move || {
            let result = print(&exit, &style, io::stdout().lock());
            stop.request();
            result
        })
    };
    let mut deliver = |captured: Captured| match &captured {
        Captured::Change(change) if change.origin.ignored => {}
        _ => entrance.push(captured),
    };
    let result = source.run(&mut deliver, &stop);
    drop(entrance);
    let written = printer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match (result, written) {
        (Err(error), _) => fail(Exit::NoCapture, &error, Some(&error.remedy)),
        // Whoever reads has seen enough.
        (Ok(()), Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        (Ok(()), Err(error)) => fail(Exit::Failure, &format!("write to standard output: {error}"), None),
        (Ok(()), Ok(())) => Exit::Success,
    }
}

/// Prints until capture ends; what was printed is flushed as soon as nothing more waits.
fn print(exit: &queue::Exit, style: &Style, out: impl Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    loop {
        let captured = match exit.changes().try_recv() {
            Ok(captured) => captured,
            Err(crossbeam::channel::TryRecvError::Disconnected) => return out.flush(),
            Err(crossbeam::channel::TryRecvError::Empty) => {
                out.flush()?;
                match exit.changes().recv_timeout(queue::LOSS_CHECK) {
                    Ok(captured) => captured,
                    Err(_) => match exit.lost() {
                        Some(gap) => Captured::Gap(gap),
                        None => continue,
                    },
                }
            }
        };
        writeln!(out, "{}", style.line(&captured, clock::now(), clock::wall()))?;
    }
}

/// How a change is printed.
struct Style {
    json: bool,
    /// Whether the kernel's own times are known.
    latency: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    /// When the kernel saw it (by fanotify: when it was read), as RFC 3339.
    time: String,
    kind: &'static str,
    path: String,
    /// The path's bytes, where they are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    /// From the kernel's event to its being read here.
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<f64>,
    /// Of a gap: why, and how many events were lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
}

impl Style {
    /// `now` and `wall` are one moment on two clocks.
    fn line(&self, captured: &Captured, now: Stamp, wall: Time) -> String {
        let at = |seen: Stamp| moment(wall, now.since(seen));
        match captured {
            Captured::Change(change) => {
                let command = command(change);
                let latency = self.latency.then(|| change.read.since(change.seen));
                let from = match &change.kind {
                    Kind::Moved { from, .. } => Some(from),
                    _ => None,
                };
                let line = Line {
                    time: at(change.seen),
                    kind: name(&change.kind),
                    path: change.path.to_string(),
                    path_base64: not_utf8(&change.path),
                    from: from.map(ToString::to_string),
                    from_base64: from.and_then(not_utf8),
                    process: (change.origin.tgid > 0).then_some(change.origin.tgid),
                    command: command.as_deref(),
                    latency_us: latency.map(|latency| latency.as_nanos() as f64 / 1e3),
                    reason: None,
                    lost: None,
                };
                self.render(&line)
            }
            Captured::Gap(Gap { place, reason, lost, seen }) => self.render(&Line {
                time: at(*seen),
                kind: "gap",
                path: place.to_string(),
                path_base64: not_utf8(place),
                from: None,
                from_base64: None,
                process: None,
                command: None,
                latency_us: None,
                reason: Some(reason.to_string()),
                lost: Some(*lost),
            }),
        }
    }

    fn render(&self, line: &Line<'_>) -> String {
        if self.json {
            // Strings and numbers are always JSON.
            return serde_json::to_string(line).unwrap_or_default();
        }
        let clock = line.time.split('T').nth(1).unwrap_or(&line.time).trim_end_matches('Z');
        let mut text = format!("{clock}  {:<10} ", line.kind);
        if let Some(from) = &line.from {
            let _written = write!(text, "{from} -> ");
        }
        let _written = write!(text, "{}", line.path);
        if let Some(process) = line.process {
            let _written = write!(text, "  {}[{process}]", line.command.unwrap_or("?"));
        }
        if let Some(latency) = line.latency_us {
            let _written = write!(text, "  {latency:.0} us");
        }
        if let (Some(reason), Some(lost)) = (&line.reason, line.lost) {
            let _written = write!(text, "  {lost} lost: {reason}");
        }
        text
    }
}

fn name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Created => "created",
        Kind::Writing => "writing",
        Kind::Written => "written",
        Kind::Named => "named",
        Kind::Attributes => "attributes",
        Kind::Removed => "removed",
        Kind::Moved { .. } => "moved",
        Kind::MovedIn => "moved-in",
    }
}

/// The name of the process: as the kernel told it, or as long as the process lives.
fn command(change: &Change) -> Option<String> {
    let told = change.origin.command().map(std::borrow::Cow::into_owned);
    told.or_else(|| {
        let name = fs::read_to_string(format!("/proc/{}/comm", change.origin.tgid)).ok()?;
        Some(name.trim_end().to_owned())
    })
}

fn not_utf8(path: &TreePath) -> Option<String> {
    std::str::from_utf8(path.as_bytes()).is_err().then(|| STANDARD.encode(path.as_bytes()))
}

/// The moment that was `ago` before `wall`, as RFC 3339 in UTC.
fn moment(wall: Time, ago: Duration) -> String {
    let since_1970 = Duration::new(wall.seconds.max(0).cast_unsigned(), wall.nanoseconds);
    let moment = std::time::UNIX_EPOCH + since_1970.saturating_sub(ago);
    humantime::format_rfc3339_micros(moment).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Origin, Reason};

    fn lines(style: &Style) -> String {
        let path = |text: &[u8]| TreePath::new(text).unwrap();
        let change = |kind, at: &[u8]| {
            let origin = Origin { tgid: u32::MAX, comm: *b"php-fpm\0\0\0\0\0\0\0\0\0", ignored: false };
            let (seen, read) = (Stamp(1_000_000_000), Stamp(1_000_085_000));
            Captured::Change(Change { kind, path: path(at), origin, seen, read })
        };
        let gap =
            Gap { place: TreePath::root(), reason: Reason::RingFull, lost: 7, seen: Stamp(2_000_000_000) };
        let moved = Kind::Moved { from: path(b"draft"), directory: false };
        let all = [
            change(Kind::Written, b"news/index.html"),
            change(moved, b"page"),
            change(Kind::Removed, b"caf\xe9"),
            Captured::Gap(gap),
        ];
        let wall = Time { seconds: 1_700_000_002, nanoseconds: 0 };
        all.iter()
            .map(|captured| style.line(captured, Stamp(2_000_000_000), wall))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_change_is_one_line_for_people() {
        insta::assert_snapshot!(lines(&Style { json: false, latency: true }), @r"
        22:13:21.000000  written    news/index.html  php-fpm[4294967295]  85 us
        22:13:21.000000  moved      draft -> page  php-fpm[4294967295]  85 us
        22:13:21.000000  removed    caf\xe9  php-fpm[4294967295]  85 us
        22:13:22.000000  gap        .  7 lost: the eBPF ring buffer was full
        ");
    }

    #[test]
    fn a_change_is_one_object_for_programs() {
        insta::assert_snapshot!(lines(&Style { json: true, latency: true }), @r#"
        {"time":"2023-11-14T22:13:21.000000Z","kind":"written","path":"news/index.html","process":4294967295,"command":"php-fpm","latency_us":85.0}
        {"time":"2023-11-14T22:13:21.000000Z","kind":"moved","path":"page","from":"draft","process":4294967295,"command":"php-fpm","latency_us":85.0}
        {"time":"2023-11-14T22:13:21.000000Z","kind":"removed","path":"caf\\xe9","path_base64":"Y2Fm6Q==","process":4294967295,"command":"php-fpm","latency_us":85.0}
        {"time":"2023-11-14T22:13:22.000000Z","kind":"gap","path":".","reason":"the eBPF ring buffer was full","lost":7}
        "#);
    }
}
