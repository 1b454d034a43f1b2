//! Shows what is wrong in a configuration file: the place, the line, and a proposal.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Something that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    file: PathBuf,
    /// Counted from 1.
    line: usize,
    column: usize,
    text: String,
    width: usize,
    what: String,
}

impl Complaint {
    /// About the bytes of `span` in `text`, which is what is in `file`.
    pub(super) fn new(file: &Path, text: &str, span: &Range<usize>, what: String) -> Self {
        let start = text.floor_char_boundary(span.start);
        let begin = text[..start].rfind('\n').map_or(0, |end| end + 1);
        let line = text[begin..].lines().next().unwrap_or_default();
        let column = text[begin..start].chars().count();
        let end = text.floor_char_boundary(span.end).clamp(start, begin + line.len().max(start - begin));
        Self {
            file: file.to_owned(),
            line: line_of(text, span.start),
            column: column + 1,
            text: line.to_owned(),
            width: text[start..end].chars().count().max(1),
            what,
        }
    }
}

/// The line of a place in a text, counted from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..text.floor_char_boundary(at)].matches('\n').count() + 1
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, text, width, what } = self;
        let number = line.to_string();
        writeln!(formatter, "{}:{line}:{column}: {what}", file.display())?;
        writeln!(formatter, "  {number} | {text}")?;
        let blank = " ".repeat(number.len());
        // A tab stays one, so that the marks stand below what they mean.
        let before: String = text
            .chars()
            .take(column - 1)
            .map(|character| if character == '\t' { '\t' } else { ' ' })
            .collect();
        write!(formatter, "  {blank} | {before}{}", "^".repeat(*width))
    }
}
