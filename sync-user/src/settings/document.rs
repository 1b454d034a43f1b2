//! Reads one configuration file: its settings with their places, or all that is wrong with it.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::complaint::{Complaint, line_of};
use super::key::{Key, Scope, alike};
use super::layers::{Origin, Value};

/// The name of a section.
const SYNC: &str = "sync";

/// The settings of a file.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// What stands above all sections.
    pub(super) top: Vec<Entry>,
    pub(super) sections: Vec<Section>,
}

/// A `[[sync]]`, or what stands for one where there is no file.
#[derive(Debug, Default)]
pub(super) struct Section {
    /// The file, and the line, for people; empty where there is no file.
    pub(super) place: String,
    pub(super) entries: Vec<Entry>,
}

/// A key and its values.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) values: Vec<Value>,
}

/// Reads `text`, which is what is in `file`.
pub(super) fn read(file: &Path, text: &str, keys: &[Key]) -> Result<Document, Vec<Complaint>> {
    let mut reader = Reader { file, text, keys, complaints: Vec::new() };
    let document = match DeTable::parse(text) {
        Ok(table) => reader.document(table.get_ref()),
        Err(error) => {
            let what = error.message().lines().next().unwrap_or_default().to_owned();
            reader.complain(&error.span().unwrap_or(0..0), what);
            Document::default()
        }
    };
    if reader.complaints.is_empty() { Ok(document) } else { Err(reader.complaints) }
}

struct Reader<'a> {
    file: &'a Path,
    text: &'a str,
    keys: &'a [Key],
    complaints: Vec<Complaint>,
}

impl Reader<'_> {
    fn complain(&mut self, span: &Range<usize>, what: String) {
        self.complaints.push(Complaint::new(self.file, self.text, span, what));
    }

    fn document(&mut self, table: &DeTable<'_>) -> Document {
        let mut document = Document::default();
        for (name, value) in in_order(table) {
            if name.get_ref() == SYNC {
                document.sections = self.sections(&name.span(), value);
            } else {
                document.top.extend(self.entry(name.get_ref(), &name.span(), value, None));
            }
        }
        document
    }

    fn sections(&mut self, name: &Range<usize>, value: &Spanned<DeValue<'_>>) -> Vec<Section> {
        let DeValue::Array(sections) = value.get_ref() else {
            self.complain(
                name,
                "write a section as [[sync]], with two brackets: there may be several".to_owned(),
            );
            return Vec::new();
        };
        let mut read = Vec::new();
        for section in sections {
            let DeValue::Table(table) = section.get_ref() else {
                self.complain(&section.span(), "that is no [[sync]] section".to_owned());
                continue;
            };
            let mut entries = Vec::new();
            for (name, value) in in_order(table) {
                entries.extend(self.entry(name.get_ref(), &name.span(), value, Some(Scope::Sync)));
            }
            let line = line_of(self.text, section.span().start);
            read.push(Section { place: format!("{} line {line}", self.file.display()), entries });
        }
        read
    }

    /// One setting; `within` is the scope that the place allows.
    fn entry(
        &mut self,
        name: &str,
        span: &Range<usize>,
        value: &Spanned<DeValue<'_>>,
        within: Option<Scope>,
    ) -> Option<Entry> {
        let Some(key) = self.keys.iter().find(|key| key.name == name) else {
            let names = self.keys.iter().map(|key| key.name.as_str()).chain([SYNC]);
            let proposed = alike(&name.replace('-', "_"), names);
            let proposed = proposed.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
            self.complain(span, format!("there is no setting {name:?}{proposed}"));
            return None;
        };
        if within.is_some_and(|within| within != key.scope) {
            let what = format!("{name} is a setting of the whole daemon: move it above the first [[sync]]");
            self.complain(span, what);
            return None;
        }
        let values = match value.get_ref() {
            DeValue::Array(values) if key.is_list() => self.list(key, values),
            DeValue::Array(_) => {
                self.complain(&value.span(), format!("{name} takes one value, not a list"));
                Vec::new()
            }
            _ => self.value(key, value).into_iter().collect(),
        };
        Some(Entry { key: name.to_owned(), values })
    }

    fn list(&mut self, key: &Key, values: &DeArray<'_>) -> Vec<Value> {
        values.iter().filter_map(|value| self.value(key, value)).collect()
    }

    fn value(&mut self, key: &Key, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let span = value.span();
        let Some(text) = text(value.get_ref()) else {
            self.complain(&span, format!("{} takes a text in quotes", key.name));
            return None;
        };
        if key.is_path() && !text.starts_with('/') {
            self.complain(&span, "write the whole path, from / on".to_owned());
            return None;
        }
        if let Err(what) = key.check(text.as_ref()) {
            self.complain(&span, what);
            return None;
        }
        let origin = Origin::File(self.file.to_owned(), line_of(self.text, span.start));
        Some(Value { text: text.into(), origin })
    }
}

/// The values of a list as one writes it in a file; `None` if `text` is none.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    let line = format!("list = {text}");
    let table = DeTable::parse(&line).ok()?;
    let (_, value) = table.get_ref().iter().next()?;
    let DeValue::Array(values) = value.get_ref() else { return None };
    values.iter().map(|value| self::text(value.get_ref())).collect()
}

/// What a plain value says. Numbers stay as they are written.
fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Boolean(is) => Some(is.to_string()),
        _ => None,
    }
}

/// The entries of a table as they stand in the file.
fn in_order<'a, 'b>(
    table: &'a DeTable<'b>,
) -> Vec<(&'a Spanned<toml::de::DeString<'b>>, &'a Spanned<DeValue<'b>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}
