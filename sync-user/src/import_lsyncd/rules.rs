//! Collects what is left out, in the order in which rsync asks.

use super::data::{Data, Table};
use super::part::Part;

/// Rules of one sync.
#[derive(Debug, Default)]
pub(super) struct Rules {
    lines: Vec<String>,
    files: Vec<String>,
    /// Whether there was a rule that cannot be told.
    lost: bool,
}

impl Rules {
    /// An option of rsync's own.
    pub(super) fn option(&mut self, about: &str, name: &str, value: &str, part: &mut Part) {
        match name {
            "exclude" => self.lines.push(value.to_owned()),
            "include" => self.lines.push(format!("+ {value}")),
            "exclude-from" => self.files.push(value.to_owned()),
            "filter" => {
                if let Some(rule) = filter(value) {
                    self.lines.push(rule);
                } else {
                    let what = "of rsync's filter rules only those that begin with + or - are understood";
                    self.lose(part, about, what);
                }
            }
            _ => self.lose(part, about, "write what is to be kept into include"),
        }
    }

    fn lose(&mut self, part: &mut Part, about: &str, what: &str) {
        self.lost = true;
        part.hand(about, what);
    }

    /// Reads the settings of lsyncd's own, and sets all rules.
    pub(super) fn read(mut self, table: &mut Table, part: &mut Part) {
        for name in ["filter", "exclude"] {
            let Some(value) = table.take(name) else { continue };
            let Some(words) = value.words() else {
                self.lose(part, &format!("{name} = {value}"), "it is not a list of patterns");
                continue;
            };
            for word in words {
                match filter(&word) {
                    // A sign in front of a pattern counts in either, the words only in a filter.
                    _ if name == "exclude" => self.lines.push(word),
                    Some(rule) => self.lines.push(rule),
                    None => self.lose(part, name, &format!("the rule {word:?} begins with neither + nor -")),
                }
            }
        }
        for name in ["filterFrom", "excludeFrom"] {
            if let Some(file) = table.take(name) {
                self.files.push(file.word().unwrap_or_default());
            }
        }
        if table.take("subdirs") == Some(Data::Switch(false)) {
            self.lines.push("/*/".to_owned());
        }
        let mut is_whole = part.set("exclude", "exclude", self.lines);
        is_whole &= part.set("excludeFrom", "exclude_from", self.files);
        if !is_whole || self.lost {
            part.leave_out(
                "exclude",
                "what a rule above leaves out would be sent; write that rule anew, and remove the #",
            );
        }
    }
}

/// A rule that says itself what it does, with one space behind the sign.
fn filter(rule: &str) -> Option<String> {
    let rule = rule.trim_start();
    for (word, sign) in [("+", "+"), ("-", "-"), ("include", "+"), ("exclude", "-")] {
        if let Some(pattern) = rule.strip_prefix(word).and_then(|rest| rest.strip_prefix([' ', '_'])) {
            return Some(format!("{sign} {pattern}"));
        }
    }
    None
}
