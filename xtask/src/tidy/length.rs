//! Checks that files are short, and begin by saying what they do.

use super::{Complaint, Source};

/// Lines of a file without its tests. A file that grows past it holds two ideas.
const LINES_MAX: usize = 600;

pub(super) fn check(sources: &[Source]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for source in sources {
        let complain = |line, what: String| Complaint { file: source.path.clone(), line, what };
        let lines = source.lines_without_tests().count();
        if lines > LINES_MAX {
            complaints.push(complain(
                LINES_MAX,
                format!("{lines} lines without tests: split it at its second idea"),
            ));
        }
        let documented = source.text.starts_with("//!") || source.text.starts_with("#![");
        if !documented && !source.path.ends_with("/tests.rs") {
            complaints.push(complain(1, "the file does not begin with what it is for (`//!`)".to_owned()));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_long_files_and_those_without_a_word_about_themselves() {
        let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(LINES_MAX));
        let sources = [("a.rs", long.as_str()), ("b.rs", "fn f() {}"), ("c.rs", "//! Fine.")]
            .map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() });
        let found: Vec<String> = check(&sources).into_iter().map(|complaint| complaint.file).collect();
        assert_eq!(found, ["a.rs", "b.rs"]);
    }
}
