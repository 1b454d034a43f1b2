//! Checks what compilers and lints do not: the layout of the sources.

mod banned;
mod layers;
mod length;
mod reachable;
mod sources;

use std::fmt;

use anyhow::{Result, bail};

use sources::Source;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Complaint {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Complaint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// Checks the sources of the workspace.
pub(crate) fn check() -> Result<()> {
    let sources = sources::read(&crate::workspace())?;
    let complaints = complaints(&sources);
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    if !complaints.is_empty() {
        bail!("{} places are not tidy", complaints.len());
    }
    Ok(())
}

fn complaints(sources: &[Source]) -> Vec<Complaint> {
    [layers::check(sources), length::check(sources), banned::check(sources), reachable::check(sources)]
        .concat()
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_workspace_is_tidy() {
        let sources = super::sources::read(&crate::workspace()).unwrap();
        assert!(sources.len() > 50, "the sources were found");
        let complaints: Vec<String> = super::complaints(&sources).iter().map(ToString::to_string).collect();
        assert_eq!(complaints, Vec::<String>::new());
    }
}
