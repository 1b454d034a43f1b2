//! Holds what a Lua value says, apart from Lua: a tree that can be looked at and taken apart.

use std::collections::BTreeMap;
use std::fmt;

/// A value of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Data {
    Switch(bool),
    Number(f64),
    Text(String),
    /// And the line on which it begins.
    Function(usize),
    Table(Table),
}

/// A table of Lua: values with names, and values in a row.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table {
    pub(super) named: BTreeMap<String, Data>,
    pub(super) row: Vec<Data>,
}

impl Data {
    /// What it says as one word, if it is one.
    pub(super) fn word(&self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Switch(_) | Self::Function(_) | Self::Table(_) => None,
        }
    }

    /// One word, or several in a row; `None` if it is anything else.
    pub(super) fn words(&self) -> Option<Vec<String>> {
        match self {
            Self::Table(Table { named, row }) if named.is_empty() => row.iter().map(Self::word).collect(),
            other => other.word().map(|word| vec![word]),
        }
    }
}

/// Short enough for a message.
impl fmt::Display for Data {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(is) => write!(formatter, "{is}"),
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Text(text) => write!(formatter, "{text:?}"),
            Self::Function(line) => write!(formatter, "the function of line {line}"),
            Self::Table(_) => formatter.write_str("{…}"),
        }
    }
}

impl Table {
    pub(super) fn take(&mut self, name: &str) -> Option<Data> {
        self.named.remove(name)
    }

    /// Takes over what `from` has and this one has not, as lsyncd lays layers over each other: by
    /// name, tables within tables too, and all tables that stand in the row of `from`.
    pub(super) fn inherit(&mut self, from: &Self) {
        for (name, value) in &from.named {
            match (self.named.get_mut(name), value) {
                (None, value) => drop(self.named.insert(name.clone(), value.clone())),
                (Some(Data::Table(own)), Data::Table(table)) => own.inherit(table),
                (Some(_), _) => {}
            }
        }
        for (place, value) in from.row.iter().enumerate() {
            match value {
                Data::Table(layer) => self.inherit(layer),
                value if place >= self.row.len() => self.row.push(value.clone()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(named: &[(&str, Data)], row: &[Data]) -> Table {
        let named = named.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Table { named, row: row.to_vec() }
    }

    #[test]
    fn the_upper_layer_wins_and_tables_are_merged() {
        let number = Data::Number;
        let below = Data::Table(table(
            &[("delay", number(15.0)), ("rsync", Data::Table(table(&[("perms", Data::Switch(true))], &[])))],
            &[Data::Table(table(&[("deepest", number(1.0))], &[]))],
        ));
        let above = table(
            &[("delay", number(1.0)), ("rsync", Data::Table(table(&[("archive", Data::Switch(true))], &[])))],
            &[below],
        );
        let mut whole = Table::default();
        whole.inherit(&above);
        let rsync = table(&[("archive", Data::Switch(true)), ("perms", Data::Switch(true))], &[]);
        let expected =
            table(&[("deepest", number(1.0)), ("delay", number(1.0)), ("rsync", Data::Table(rsync))], &[]);
        assert_eq!(whole, expected);
    }
}
