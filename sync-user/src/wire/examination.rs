//! Defines how both ends are compared by hash: what the source asks, and what the target answers.
//!
//! A question is about one directory, and has one answer in one frame. Where that has no room for
//! more, it says how far it came, and the source asks again from there.

use serde::{Deserialize, Serialize};

use super::limits::EXAMINED_MAX;
use crate::model::{Sight, TreePath};

/// Asks what a directory of the target holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The answer has the same. No two questions of a connection have the same.
    pub number: u64,
    pub directory: Vec<u8>,
    /// Names in it, in order, which are told of where they are there. An empty name stands for the
    /// directory itself.
    pub names: Vec<Vec<u8>>,
    /// Whether the content of these is hashed.
    pub hashes: bool,
    /// Where other names are to be told of as well, without hashes.
    pub others: Option<Stretch>,
}

/// Names between two others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    /// All are greater than this one; any is greater than an empty name.
    pub after: Vec<u8>,
    /// None is greater than this one.
    pub up_to: Option<Vec<u8>>,
}

/// Says what a directory of the target holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub number: u64,
    /// In the order of their names. What is asked for and not in it is not there.
    pub entries: Vec<Examined>,
    /// What is greater than this name was not looked at.
    pub rest_after: Option<Vec<u8>>,
}

/// One name of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    pub name: Vec<u8>,
    /// With owners by the source's numbers.
    pub sight: Sight,
}

impl Question {
    /// Why no source asks this; `None` when it is in order.
    pub fn fault(&self) -> Option<&'static str> {
        let is_sorted = self.names.is_sorted_by(|one, other| one < other);
        let is_name = |name: &Vec<u8>| name.is_empty() || is_one_name(name);
        if self.names.len() > EXAMINED_MAX {
            Some("it asks for too many names at once")
        } else if !is_sorted || !self.names.iter().all(is_name) {
            Some("it asks for names that are none, or not in order")
        } else if TreePath::new(&self.directory).is_err() {
            Some("it asks for a directory that is not inside the root")
        } else {
            None
        }
    }

    /// Whether an answer may tell of `name`.
    fn is_about(&self, name: &[u8]) -> bool {
        self.names.binary_search_by(|asked| asked.as_slice().cmp(name)).is_ok()
            || self.others.as_ref().is_some_and(|stretch| stretch.contains(name))
    }
}

impl Stretch {
    pub fn contains(&self, name: &[u8]) -> bool {
        name > self.after.as_slice() && self.up_to.as_ref().is_none_or(|last| name <= last.as_slice())
    }
}

impl Answer {
    /// Why this is no answer to `question`; `None` when it is one. That a rest begins within the
    /// question bounds how often it is asked again.
    pub fn fault(&self, question: &Question) -> Option<&'static str> {
        let names = || self.entries.iter().map(|entry| entry.name.as_slice());
        let is_name = |name: &[u8]| name.is_empty() || is_one_name(name);
        if self.entries.len() > EXAMINED_MAX {
            Some("it has too many entries")
        } else if !names().is_sorted_by(|one, other| one < other) {
            Some("its entries are not in order")
        } else if !names().all(|name| is_name(name) && question.is_about(name)) {
            Some("it tells of what was not asked for")
        } else if let Some(rest) = &self.rest_after
            && (!question.is_about(rest) || names().any(|name| name > rest.as_slice()))
        {
            Some("its rest does not follow what it tells of")
        } else {
            None
        }
    }
}

fn is_one_name(name: &[u8]) -> bool {
    !name.contains(&b'/') && TreePath::new(name).is_ok_and(|path| !path.is_root())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(names: &[&str], others: Option<(&str, Option<&str>)>) -> Question {
        let bytes = |name: &str| name.as_bytes().to_vec();
        Question {
            number: 1,
            directory: bytes("d"),
            names: names.iter().map(|name| bytes(name)).collect(),
            hashes: true,
            others: others.map(|(after, up_to)| Stretch { after: bytes(after), up_to: up_to.map(bytes) }),
        }
    }

    fn answer(names: &[&str], rest: Option<&str>) -> Answer {
        let examined = |name: &&str| Examined { name: name.as_bytes().to_vec(), sight: Sight::Foreign };
        Answer {
            number: 1,
            entries: names.iter().map(examined).collect(),
            rest_after: rest.map(|rest| rest.as_bytes().to_vec()),
        }
    }

    #[test]
    fn a_question_names_what_can_be_in_a_directory() {
        assert_eq!(question(&["", "a", "b"], None).fault(), None);
        for names in [["b", "a"], ["a", "a"], ["a", "b/c"], [".", "a"], ["..", "a"], ["a", "b\0"]] {
            assert!(question(&names, None).fault().is_some(), "{names:?}");
        }
        assert!(Question { directory: b"../d".to_vec(), ..question(&[], None) }.fault().is_some());
        let many: Vec<String> = (0..=EXAMINED_MAX).map(|number| format!("{number:05}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(question(&many, None).fault().is_some());
    }

    #[test]
    fn an_answer_tells_of_what_was_asked_and_comes_to_an_end() {
        let asked = question(&["c", "f"], Some(("b", Some("f"))));
        for (names, rest) in [
            (&["c", "d", "f"][..], None),
            (&[], None),
            (&["c"], Some("c")),
            (&[], Some("e")),
            (&["bb", "c"], Some("d")),
        ] {
            assert_eq!(answer(names, rest).fault(&asked), None, "{names:?} {rest:?}");
        }
        for (names, rest) in [
            (&["b"][..], None),
            (&["g"], None),
            (&["d", "c"], None),
            (&["c", "c"], None),
            (&["c/x"], None),
            (&["c", "d"], Some("c")),
            // It would be asked for ever.
            (&[], Some("b")),
            (&[], Some("g")),
        ] {
            assert!(answer(names, rest).fault(&asked).is_some(), "{names:?} {rest:?}");
        }
        assert!(answer(&["d"], None).fault(&question(&["c"], None)).is_some());
    }
}
