//! Knows whose replica a root is, by the note that the root keeps of its sources.
//!
//! Two sources that replicate into one directory would remove and replace each other's files, and
//! each would be right. So the note has the names of the sources that were let in: the first one,
//! and those that asked to share the root.

/// The file's name in the folder.
pub const NAME: &str = "sources";

/// Sources that one root remembers; of more, those that came first are forgotten.
const SOURCES_MAX: usize = 64;

/// Each line is the source's number and its name, which is no longer than this.
const NAME_BYTES_MAX: usize = 1_024;

/// A note is no longer than this.
pub const BYTES_MAX: u64 = (SOURCES_MAX * (NAME_BYTES_MAX + 64)) as u64;

/// What a person can do about a source that is not let in.
pub const REMEDY: &str = "give each source a directory of its own; if this one takes its place, or both are to \
                          write there, start it once with --shared-target";

/// The sources that are noted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sources {
    lines: Vec<String>,
}

impl Sources {
    pub fn of_note(bytes: &[u8]) -> Self {
        Self { lines: String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect() }
    }

    pub fn note(&self) -> Vec<u8> {
        (self.lines.join("\n") + "\n").into_bytes()
    }

    pub fn len(&self) -> usize {
        self.lines.len()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Lets `source` in, called `name`, if it is known, or the first one, or `shares` the root; else says
    /// whose that is. `true` says that it is new, and to be noted.
    pub fn admit(&mut self, source: &[u8; 16], name: &str, shares: bool) -> Result<bool, String> {
        let number = format!("{:032x}", u128::from_be_bytes(*source));
        if self.lines.iter().any(|line| line.starts_with(&number)) {
            return Ok(false);
        }
        if !self.is_empty() && !shares {
            let others: Vec<&str> =
                self.lines.iter().filter_map(|line| Some(line.split_once(' ')?.1)).collect();
            return Err(format!("the target is the replica of another source: {}", others.join(", ")));
        }
        let name: String = name.escape_default().take(NAME_BYTES_MAX).collect();
        self.lines.push(format!("{number} {name}"));
        let surplus = self.len().saturating_sub(SOURCES_MAX);
        self.lines.drain(..surplus);
        Ok(true)
    }
}
