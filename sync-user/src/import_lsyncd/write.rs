//! Writes what was made of an lsyncd.conf: a configuration file, and a list of what to know.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::part::{Kind, Note, Part};
use crate::settings::{assignment, comment};

/// The order in which settings of a section are written; others follow.
const ORDER: [&str; 3] = ["source", "target", "name"];

/// Bytes of what is rather told again.
const REPEATED_MAX: usize = 60;

/// What was told already: once is enough.
#[derive(Default)]
struct Told(BTreeSet<String>);

impl Told {
    fn tell(&mut self, note: &Note) -> String {
        let Note { kind, about, what } = note;
        let is_new = self.0.insert(what.clone()) || what.len() < REPEATED_MAX;
        format!("{}: {about}: {}", kind.name(), if is_new { what } else { "as above" })
    }
}

/// The configuration, with what differs and what needs a hand above each part.
pub(super) fn toml(file: &str, whole: &Part, sections: &[Part]) -> String {
    let mut out = comment(&format!(
        "Made of {file} by ksyncd import-lsyncd. What lsyncd did in another way, and what needs a hand, stands above the settings that it is about."
    ));
    let mut told = Told::default();
    write_part(&mut out, whole, "settings", "", &mut told);
    for section in sections {
        write_part(&mut out, section, "sync", "[[sync]]", &mut told);
    }
    out
}

fn write_part(out: &mut String, part: &Part, what: &str, head: &str, told: &mut Told) {
    let notes: Vec<_> = part.notes.iter().filter(|note| note.kind != Kind::NotNeeded).collect();
    if head.is_empty() && notes.is_empty() && part.settings.is_empty() {
        return;
    }
    out.push('\n');
    if part.line > 0 {
        out.push_str(&comment(&format!("{what}{{}} of line {}", part.line)));
    }
    for note in notes {
        out.push_str(&comment(&told.tell(note)));
    }
    let mark = if part.left_out { "#" } else { "" };
    if !head.is_empty() {
        // Writing to a string does not fail.
        let _infallible = writeln!(out, "{mark}{head}");
    }
    let place = |name: &str| ORDER.iter().position(|known| *known == name).unwrap_or(ORDER.len());
    let mut settings: Vec<_> = part.settings.iter().collect();
    settings.sort_by_key(|(name, _)| place(name));
    for (name, values) in settings {
        let _infallible = writeln!(out, "{mark}{}", line(name, values));
    }
    for (name, values) in &part.proposed {
        let _infallible = writeln!(out, "#{}", line(name, values));
    }
}

/// Behind a `#` there may be what no file may have: a person will change it.
fn line(name: &str, values: &[String]) -> String {
    assignment(name, values)
        .unwrap_or_else(|_to_be_changed| format!("{name} = {:?}", values.first().map_or("", String::as_str)))
}

/// One line for each note, as compilers write them, and one that sums them up.
pub(super) fn list(file: &str, whole: &Part, sections: &[Part]) -> String {
    let (mut out, mut told) = (String::new(), Told::default());
    let parts = || [whole].into_iter().chain(sections);
    for part in parts() {
        let place = if part.line > 0 { format!("{file}:{}", part.line) } else { file.to_owned() };
        for note in &part.notes {
            let _infallible = writeln!(out, "{place}: {}", told.tell(note));
        }
    }
    let count = |kind| parts().flat_map(|part| &part.notes).filter(|note| note.kind == kind).count();
    let (imported, left): (Vec<&Part>, Vec<&Part>) = sections.iter().partition(|part| !part.left_out);
    let targets: usize = imported.iter().map(|part| part.values("target").len()).sum();
    let counted =
        |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    let _infallible = writeln!(
        out,
        "{} with {} imported, {} written behind #; {}, {}, {}",
        counted(imported.len(), "section", "sections"),
        counted(targets, "target", "targets"),
        left.len(),
        counted(count(Kind::Differs), "setting differs", "settings differ"),
        counted(count(Kind::NotNeeded), "is not needed", "are not needed"),
        counted(count(Kind::Hand), "needs a hand", "need a hand"),
    );
    out
}
