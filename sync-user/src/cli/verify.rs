//! Compares source and targets by hash, and prints what differs.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use serde::Serialize;

use super::ask::{Ask, text_of, told};
use super::print;
use crate::clock;
use crate::control::{Daemon, Verifying};
use crate::daemon::{Found, News, Outcome, Unverified, Verification, Verified, VerifiedTarget};
use crate::exit::Exit;
use crate::model::Stamp;

/// How often progress is told where it cannot be written over.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// Flags of `ksyncd verify`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
It ends with 0 when everything is the same, with 4 when something differs, and otherwise with 3 when \
something could not be compared: a target that is not connected, a path that cannot be read, or one \
that changes all the time. What --repair has mended does not count.

Compared are content, kind, mode, owner, time, extended attributes and where links lead, as far as \
they are replicated, but not which names are hard links of each other. What is left out by rules is \
not looked at. Replication goes on meanwhile: both ends hash beside it, with little claim to processor \
and disk.")]
pub(super) struct Verify {
    /// Only this path and what is below it: below the source, or absolute
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// Send again what differs; what only a target has stays there
    #[arg(long)]
    repair: bool,

    #[command(flatten)]
    ask: Ask,

    /// Print JSON: one object a line for each path that differs, and one for each daemon at the end
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(flags: &Verify) -> Exit {
    let daemons = match flags.ask.daemons() {
        Ok(daemons) => daemons,
        Err(exit) => return exit,
    };
    let path = match flags.path.as_deref().map(text_of).transpose() {
        Ok(path) => path,
        Err(exit) => return exit,
    };
    let (mut exit, mut failed) = (None, None);
    for daemon in daemons {
        match one(daemon, path, flags) {
            Ok(verified) if verified.differs() => exit = Some(Exit::Different),
            Ok(verified) if verified.is_complete() => exit = exit.or(Some(Exit::Success)),
            Ok(_) if exit != Some(Exit::Different) => exit = Some(Exit::Incomplete),
            Ok(_) => {}
            // An absolute path is below one source, and not below others.
            Err(error) => failed = Some(error),
        }
    }
    match (exit, failed) {
        (Some(exit), None) => exit,
        (Some(exit), Some(_)) if path.is_some() => exit,
        (_, Some(error)) => told(&error),
        (None, None) => Exit::Success,
    }
}

fn one(mut daemon: Daemon, path: Option<&str>, flags: &Verify) -> Result<Verified, crate::control::Error> {
    let mut progress = Progress::new();
    let verified = daemon.verify(path, flags.repair, |news| match news {
        News::Progress(so_far) => progress.show(so_far),
        news if flags.json => progress.beside(|| print_json(&Verifying::News(news.clone()))),
        News::Found(found) => progress.beside(|| print(&line(found))),
        News::Unverified(unverified) => progress.beside(|| print(&unread(unverified))),
    });
    progress.clear();
    let verified = verified?;
    if flags.json {
        print_json(&Verifying::Verified(verified.clone()));
    } else {
        print(&summary(&verified));
    }
    Ok(verified)
}

fn print_json(line: &impl Serialize) {
    // Plain data is always JSON.
    if let Ok(line) = serde_json::to_string(line) {
        print(&line);
    }
}

/// Tells on standard error how far it is: over and over in one line of a terminal, elsewhere a line
/// now and then.
struct Progress {
    is_terminal: bool,
    told: Stamp,
    width: usize,
}

impl Progress {
    fn new() -> Self {
        Self { is_terminal: io::stderr().is_terminal(), told: clock::now(), width: 0 }
    }

    fn show(&mut self, so_far: &Verification) {
        let text = format!("ksyncd: compared {}", amount(so_far));
        // There is nobody to tell when standard error is closed.
        if self.is_terminal {
            let _closed = write!(io::stderr(), "\r{text:<width$}", width = self.width);
            self.width = text.len();
        } else if clock::now().since(self.told) >= STATUS_EVERY {
            self.told = clock::now();
            let _closed = writeln!(io::stderr(), "{text}");
        }
    }

    fn clear(&mut self) {
        if self.width > 0 {
            // As above.
            let _closed = write!(io::stderr(), "\r{:width$}\r", "", width = self.width);
            self.width = 0;
        }
    }

    /// Prints something else.
    fn beside(&mut self, print: impl FnOnce()) {
        self.clear();
        print();
    }
}

fn amount(Verification { paths, files, bytes, seconds }: &Verification) -> String {
    let rate = ByteSize((*bytes as f64 / seconds.max(0.001)) as u64);
    format!("{paths} paths, {files} files, {} in {seconds:.1} s, {rate}/s", ByteSize(*bytes))
}

fn line(Found { target, path, outcome, differs }: &Found) -> String {
    let differs = differs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match outcome {
        Outcome::Different => format!("{target}  {path}: {differs}"),
        Outcome::Mended => format!("{target}  {path}: {differs}, mended"),
        Outcome::Changing => format!("{target}  {path}: changing all the time, so nothing can be said"),
    }
}

fn unread(Unverified { target, path, cause }: &Unverified) -> String {
    let end = target.as_deref().unwrap_or("the source");
    format!("{end}  {path}: cannot be read: {cause}")
}

fn summary(Verified { compared, unreadable, targets }: &Verified) -> String {
    let mut lines = vec![format!("compared {}", amount(compared))];
    if *unreadable > 0 {
        lines.push(format!("the source: {unreadable} cannot be read"));
    }
    lines.extend(targets.iter().map(target));
    lines.join("\n")
}

fn target(target: &VerifiedTarget) -> String {
    let VerifiedTarget { name, ended, different, by_kind, mended, changing, unreadable } = target;
    let mut parts = Vec::new();
    if *different > 0 {
        let kinds: Vec<String> =
            by_kind.iter().map(|(differs, count)| format!("{count} {differs}")).collect();
        parts.push(format!("{different} different ({})", kinds.join(", ")));
    }
    for (count, what) in [(mended, "mended"), (changing, "changing"), (unreadable, "cannot be read")] {
        if *count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    match ended {
        Some(why) => parts.push(format!("not all was compared: {why}")),
        None if *different + *changing + *unreadable == 0 => parts.push("equal".to_owned()),
        None => {}
    }
    format!("{name}: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::Differs;

    #[test]
    fn each_target_has_a_line() {
        let equal = VerifiedTarget { name: "web2:/srv".to_owned(), ..VerifiedTarget::default() };
        let other = VerifiedTarget {
            name: "web3:/srv".to_owned(),
            different: 3,
            by_kind: [(Differs::Extra, 1), (Differs::Content, 2), (Differs::Mode, 1)].into(),
            mended: 4,
            changing: 1,
            ..VerifiedTarget::default()
        };
        let away = VerifiedTarget { ended: Some("it is not connected".to_owned()), ..equal.clone() };
        let compared = Verification { paths: 9, files: 7, bytes: 3 << 20, seconds: 2.0 };
        let verified = Verified { compared, unreadable: 1, targets: vec![equal, other, away] };
        assert!(verified.differs() && !verified.is_complete());
        insta::assert_snapshot!(summary(&verified), @r"
        compared 9 paths, 7 files, 3.0 MiB in 2.0 s, 1.5 MiB/s
        the source: 1 cannot be read
        web2:/srv: equal
        web3:/srv: 3 different (1 extra, 2 content, 1 mode), 4 mended, 1 changing
        web2:/srv: not all was compared: it is not connected
        ");
    }
}
