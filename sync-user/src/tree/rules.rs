//! Keeps exclude and include rules in their order, each with where it came from.

use std::fmt;
use std::io;
use std::path::Path;

/// Bytes of a file of rules: some hundred thousand of them.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What is done with what a rule matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Exclude,
    Include,
}

/// A pattern and what it decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub verdict: Verdict,
    /// As it was written; names need not be text.
    pub pattern: Vec<u8>,
    /// Where it was written, for people.
    pub origin: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Exclude => "exclude",
            Verdict::Include => "include",
        };
        write!(formatter, "{word} {:?} ({})", String::from_utf8_lossy(&self.pattern), self.origin)
    }
}

/// Rules in the order in which they are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(pub(super) Vec<Rule>);

impl Rules {
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// Adds what one flag, or one line of a file, says: a pattern, for which `verdict` holds unless
    /// `+ ` or `- ` stands before it; `!` alone takes back all rules before it.
    pub fn add(&mut self, text: &[u8], verdict: Verdict, origin: String) {
        let (verdict, pattern) = match text {
            b"!" => return self.0.clear(),
            [b'+', b' ', pattern @ ..] => (Verdict::Include, pattern),
            [b'-', b' ', pattern @ ..] => (Verdict::Exclude, pattern),
            pattern => (verdict, pattern),
        };
        self.0.push(Rule { verdict, pattern: pattern.to_vec(), origin });
    }

    /// Adds the lines of a file; empty ones, and those that begin with `#` or `;`, say nothing.
    pub fn read(&mut self, file: &Path) -> io::Result<()> {
        let size = std::fs::metadata(file)?.len();
        if size > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it has {size} bytes, and {FILE_BYTES_MAX} are allowed")));
        }
        let text = std::fs::read(file)?;
        for (index, line) in text.split(|byte| matches!(byte, b'\n')).enumerate() {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() && !line.starts_with(b"#") && !line.starts_with(b";") {
                self.add(line, Verdict::Exclude, format!("{} line {}", file.display(), index + 1));
            }
        }
        Ok(())
    }
}
