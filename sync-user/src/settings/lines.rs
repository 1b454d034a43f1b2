//! Writes lines of a configuration file: a setting with its value, and comments.

use std::ffi::OsStr;
use std::fmt::Write as _;

use super::key::Key;

/// Columns of a comment.
const WIDTH: usize = 96;

/// The line that sets `name` to these values, of which only a list has several. An error says
/// why a configuration file may not have it, in the words in which it would be refused there.
pub fn assignment(name: &str, values: &[String]) -> Result<String, String> {
    let keys = Key::all();
    let key =
        keys.iter().find(|key| key.name == name).ok_or_else(|| format!("there is no setting {name:?}"))?;
    for value in values {
        if key.is_path() && !value.starts_with('/') {
            return Err("write the whole path, from / on".to_owned());
        }
        key.check(OsStr::new(value))?;
    }
    match values {
        [value] if !key.is_list() || name == "target" => Ok(format!("{name} = {}", quoted(value))),
        values if key.is_list() => {
            let values: Vec<String> = values.iter().map(|value| quoted(value)).collect();
            Ok(format!("{name} = [{}]", values.join(", ")))
        }
        values => Err(format!("{name} takes one value, not {}", values.len())),
    }
}

/// `text` as lines of a comment.
pub fn comment(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines().flat_map(|line| wrapped(line, WIDTH)) {
        // Writing to a string does not fail.
        let _infallible = writeln!(out, "# {line}");
    }
    out
}

/// A text as TOML has it, or a truth value or number as it is.
pub(super) fn quoted(text: &str) -> String {
    if matches!(text, "true" | "false") || text.parse::<u32>().is_ok_and(|number| number.to_string() == text)
    {
        return text.to_owned();
    }
    // What JSON escapes TOML escapes alike; a string is always JSON.
    serde_json::to_string(text).unwrap_or_default()
}

fn wrapped(line: &str, width: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|character| *character == ' ').collect();
    let mut lines = vec![indent.clone()];
    for word in line.split_whitespace() {
        let last = lines.len() - 1;
        if lines[last].len() + 1 + word.len() > width && lines[last] != indent {
            lines.push(format!("{indent}{word}"));
            continue;
        }
        let space = if lines[last] == indent { "" } else { " " };
        let _infallible = write!(lines[last], "{space}{word}");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, values: &[&str]) -> Result<String, String> {
        assignment(name, &values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_line_is_written_as_it_is_read() {
        assert_eq!(set("port", &["22"]).as_deref(), Ok("port = 22"));
        assert_eq!(set("target", &["web2:/srv"]).as_deref(), Ok("target = \"web2:/srv\""));
        assert_eq!(set("exclude", &["*.tmp"]).as_deref(), Ok("exclude = [\"*.tmp\"]"));
        assert_eq!(set("exclude", &["a\"b", "\\[x"]).as_deref(), Ok("exclude = [\"a\\\"b\", \"\\\\[x\"]"));
        assert_eq!(set("delete_extraneous", &["true"]).as_deref(), Ok("delete_extraneous = true"));
    }

    #[test]
    fn what_a_file_may_not_have_is_not_written() {
        for (name, values, why) in [
            ("prot", &["22"][..], "there is no setting \"prot\""),
            ("source", &["www"], "write the whole path, from / on"),
            ("exclude", &["["], "a bracket is never closed; write \\[ for a bracket in a name"),
            ("compress", &["auto", "never"], "compress takes one value, not 2"),
        ] {
            assert_eq!(set(name, values).as_ref().map_err(String::as_str), Err(why));
        }
    }
}
