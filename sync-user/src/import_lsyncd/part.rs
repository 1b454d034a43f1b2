//! Holds one part of the configuration that is made: what stands above all sections, or a section.

use crate::settings::assignment;

/// What a person should know of an imported setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// It cannot be told in settings: a person has to do something.
    Hand,
    /// ksyncd does it, in another way.
    Differs,
    /// ksyncd does without.
    NotNeeded,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Hand => "needs a hand",
            Self::Differs => "differs",
            Self::NotNeeded => "not needed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) kind: Kind,
    /// The setting, as it is in the file.
    pub(super) about: String,
    pub(super) what: String,
}

/// A key and its values.
pub(super) type Setting = (&'static str, Vec<String>);

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Part {
    /// Where it is declared; 0 if that cannot be told.
    pub(super) line: usize,
    /// In force.
    pub(super) settings: Vec<Setting>,
    /// Written behind a `#`: for a person to decide.
    pub(super) proposed: Vec<Setting>,
    pub(super) notes: Vec<Note>,
    /// All of it is written behind `#`: as it stands it would not do what lsyncd does.
    pub(super) left_out: bool,
}

impl Part {
    pub(super) fn at(line: usize) -> Self {
        Self { line, ..Self::default() }
    }

    /// Sets `name` to those of the values that it can have, and notes why it cannot have the others;
    /// says whether there are none of these.
    pub(super) fn set(&mut self, about: &str, name: &'static str, values: Vec<String>) -> bool {
        let (all, mut good) = (values.len(), Vec::new());
        for value in values {
            match assignment(name, std::slice::from_ref(&value)) {
                Ok(_) => good.push(value),
                Err(why) => self.hand(about, &format!("{name} cannot be {value:?}: {why}")),
            }
        }
        let is_whole = good.len() == all;
        if !good.is_empty() {
            // As on a command line, the last one counts.
            self.settings.retain(|(known, _)| *known != name);
            self.settings.push((name, good));
        }
        is_whole
    }

    pub(super) fn set_one(&mut self, about: &str, name: &'static str, value: &str) {
        let _noted = self.set(about, name, vec![value.to_owned()]);
    }

    /// Writes `name` behind a `#`.
    pub(super) fn propose(&mut self, name: &'static str, value: &str) {
        self.proposed.push((name, vec![value.to_owned()]));
    }

    /// The first value of a setting.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let setting = self.settings.iter().find(|(known, _)| *known == name);
        setting.and_then(|(_, values)| values.first()).map(String::as_str)
    }

    pub(super) fn values(&self, name: &str) -> &[String] {
        let setting = self.settings.iter().find(|(known, _)| *known == name);
        setting.map_or(&[], |(_, values)| values.as_slice())
    }

    pub(super) fn hand(&mut self, about: &str, what: &str) {
        self.note(Kind::Hand, about, what);
    }

    pub(super) fn differs(&mut self, about: &str, what: &str) {
        self.note(Kind::Differs, about, what);
    }

    pub(super) fn not_needed(&mut self, about: &str, what: &str) {
        self.note(Kind::NotNeeded, about, what);
    }

    /// Notes why the part must not be in force as it stands.
    pub(super) fn leave_out(&mut self, about: &str, what: &str) {
        self.left_out = true;
        self.hand(about, what);
    }

    fn note(&mut self, kind: Kind, about: &str, what: &str) {
        // Each is one line.
        let line = |text: &str| text.replace(char::is_control, " ");
        let note = Note { kind, about: line(about), what: line(what) };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
