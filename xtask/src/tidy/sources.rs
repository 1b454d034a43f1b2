//! Reads the Rust sources of the workspace.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// From the workspace on, with slashes.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// The lines with their numbers, up to the unit tests at the end of the file.
    pub(super) fn lines_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let whole = if self.is_test() { 0 } else { usize::MAX };
        let end = self.text.lines().collect::<Vec<_>>().windows(2).position(|pair| {
            pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
        });
        lines.take(end.unwrap_or(usize::MAX).min(whole))
    }

    /// Whether the whole file is test code.
    pub(super) fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

/// All sources of the members' `src` and `tests` folders.
pub(super) fn read(workspace: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for member in ["sync-ebpf", "sync-user", "xtask", "perf"] {
        for folder in ["src", "tests"] {
            read_folder(workspace, &format!("{member}/{folder}"), &mut sources)?;
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn read_folder(workspace: &Path, folder: &str, sources: &mut Vec<Source>) -> Result<()> {
    let Ok(entries) = fs::read_dir(workspace.join(folder)) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read_folder(workspace, &path, sources)?;
        } else if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(workspace.join(&path)).with_context(|| format!("read {path}"))?;
            sources.push(Source { path, text });
        }
    }
    Ok(())
}
