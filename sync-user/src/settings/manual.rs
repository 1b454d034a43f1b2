//! Writes the man page of the configuration file, `ksyncd.toml(5)`.

use roff::{Inline, Roff, bold, italic, line_break, roman};

use super::FILE;
use super::introduction::{Block, INTRODUCTION, OF_DAEMON, OF_SYNC};
use super::key::{Key, Scope};

/// The source of the page, for `man`.
pub fn man_page() -> String {
    let mut page = Roff::new();
    // An empty word would not count: the page has no date, since it is as old as the program.
    page.control("TH", ["ksyncd.toml", "5", r#""""#, "ksyncd", "File Formats Manual"]);
    page.control("SH", ["NAME"]).text([roman("ksyncd.toml - configuration of ksyncd")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(FILE), line_break(), bold(beside()), roman("/"), italic("*"), bold(".toml")]);
    page.control("SH", ["DESCRIPTION"]);
    for block in INTRODUCTION {
        write_block(&mut page, block);
    }
    let keys = Key::all();
    for (scope, title, where_they_stand) in [
        (Scope::Daemon, "SETTINGS OF THE WHOLE DAEMON", OF_DAEMON),
        (Scope::Sync, "SETTINGS OF EACH SECTION", OF_SYNC),
    ] {
        page.control("SH", [title]).text(marked(where_they_stand));
        for key in keys.iter().filter(|key| key.scope == scope) {
            write_key(&mut page, key);
        }
    }
    page.control("SH", ["FILES"]);
    for (file, what) in [
        (FILE, "The configuration, which only root may read."),
        ("/etc/default/ksyncd", "Settings as variables, for the service."),
        ("/usr/share/doc/ksyncd", "The same as Markdown, and guides."),
    ] {
        page.control("TP", []).text([bold(file)]).text([roman(what)]);
    }
    page.control("SH", ["SEE ALSO"]);
    let mut others = Vec::new();
    for other in ["ksyncd", "ksyncd-run", "ksyncd-config", "ksyncd-reload", "ksyncd-import-lsyncd"] {
        let end = if others.is_empty() { "" } else { ", " };
        others.extend([roman(end), bold(other), roman("(8)")]);
    }
    page.text(others);
    page.render()
}

/// The directory of further files.
fn beside() -> String {
    FILE.rsplit_once('/').map_or_else(String::new, |(directory, _)| format!("{directory}/conf.d"))
}

fn write_block(page: &mut Roff, block: &Block) {
    match block {
        Block::Text(text) => {
            page.control("PP", []).text(marked(text));
        }
        Block::Example(text) => {
            page.control("PP", []).control("RS", ["4"]).control("EX", []);
            for line in text.lines() {
                page.text([roman(line)]);
            }
            page.control("EE", []).control("RE", []);
        }
        Block::Steps(steps) => {
            for (number, step) in (1..).zip(*steps) {
                page.control("IP", [&format!("{number}."), "4"]).text(marked(step));
            }
        }
        Block::Points(points) => {
            for point in *points {
                page.control("IP", [r"\(bu", "4"]).text(marked(point));
            }
        }
    }
}

fn write_key(page: &mut Roff, key: &Key) {
    let value = italic(key.value_name());
    let mut line = vec![bold(key.name.as_str()), roman(" = ")];
    if key.is_list() {
        line.extend([roman("["), value, roman(", ...]")]);
    } else {
        line.push(value);
    }
    page.control("TP", []).text(line);
    page.text(marked(&format!("{}.", key.help())));
    let choices = key.choices();
    let mut choices = choices.iter().filter(|(_, meaning)| !meaning.is_empty()).peekable();
    if choices.peek().is_some() {
        page.control("RS", []);
        for (choice, meaning) in choices {
            page.control("TP", []).text([bold(choice.as_str())]).text(marked(meaning));
        }
        page.control("RE", []).control("IP", []);
    } else {
        page.control("IP", []);
    }
    let mut line = vec![bold(key.flag()), roman(" "), italic(key.value_name()), roman(", ")];
    line.push(bold(key.variable()));
    if let Some(default) = key.default() {
        line.extend([roman("; by default "), bold(default.to_string_lossy())]);
    }
    line.push(roman("."));
    page.text(line);
}

/// What is in backticks is bold. Lines are filled, so where they ended does not matter.
fn marked(text: &str) -> Vec<Inline> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let part = |(index, part): (usize, &str)| if index % 2 == 0 { roman(part) } else { bold(part) };
    text.split('`').enumerate().filter(|(_, part)| !part.is_empty()).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_paragraph() {
        let page = man_page();
        for key in Key::all() {
            let heading = format!(".TP\n\\fB{}\\fR = ", key.name);
            assert_eq!(page.matches(&heading).count(), 1, "{} in {page}", key.name);
            assert!(page.contains(&key.variable()), "{} in {page}", key.name);
        }
        assert!(!page.contains('`'), "{page}");
    }

    #[test]
    fn words_in_backticks_are_bold() {
        assert_eq!(marked("of `a b`,\n`c`"), [roman("of "), bold("a b"), roman(", "), bold("c")]);
    }
}
