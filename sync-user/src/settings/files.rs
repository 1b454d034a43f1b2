//! Reads the configuration file, and what lies beside it in `conf.d`.

use std::io;
use std::path::{Path, PathBuf};

use super::FILE;
use super::document::{self, Entry, Section};
use super::key::Key;
use super::layers::Trouble;

/// Bytes of one file; a section has some hundred of them.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What all files say.
#[derive(Debug)]
pub(super) struct Files {
    /// What stands above all sections, the strongest first.
    pub(super) top: Vec<Entry>,
    pub(super) sections: Vec<Section>,
    pub(super) paths: Vec<PathBuf>,
}

/// Reads `file`, or the usual one, and `conf.d/*.toml` beside it in the order of their names.
/// Everything that is wrong in them is told at once.
pub(super) fn read(file: Option<PathBuf>, keys: &[Key]) -> Result<Files, Trouble> {
    let is_usual = file.is_none();
    let file = file.unwrap_or_else(|| PathBuf::from(FILE));
    let unreadable = |path: &Path, error: io::Error| Trouble {
        what: format!("read the configuration file {}: {error}", path.display()),
        remedy: Some(if is_usual {
            format!(
                "give --source DIR and --target [USER@]HOST:DIR, or write that file: ksyncd config default > {FILE}"
            )
        } else {
            "give one that exists and that this user may read: --config FILE".to_owned()
        }),
        in_file: true,
    };
    let more = file.with_file_name("conf.d");
    let paths = [vec![file.clone()], beside(&more).map_err(|error| unreadable(&more, error))?].concat();
    let (mut tops, mut sections, mut complaints) = (Vec::new(), Vec::new(), Vec::new());
    for path in &paths {
        let text = text(path).map_err(|error| unreadable(path, error))?;
        match document::read(path, &text, keys) {
            Ok(document) => {
                tops.push(document.top);
                sections.extend(document.sections);
            }
            Err(found) => complaints.extend(found.iter().map(ToString::to_string)),
        }
    }
    if !complaints.is_empty() {
        return Err(Trouble { what: complaints.join("\n"), remedy: None, in_file: true });
    }
    if sections.is_empty() {
        let remedy = "add one with source = \"DIR\" and target = \"[USER@]HOST:DIR\"; ksyncd config default shows an example";
        return Err(Trouble {
            what: format!("there is no [[sync]] section in {}", file.display()),
            remedy: Some(remedy.to_owned()),
            in_file: true,
        });
    }
    Ok(Files { top: tops.into_iter().rev().flatten().collect(), sections, paths })
}

fn beside(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths: io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut paths = paths?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    Ok(paths)
}

fn text(path: &Path) -> io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has {size} bytes, and {FILE_BYTES_MAX} are allowed")));
    }
    String::from_utf8(std::fs::read(path)?)
        .map_err(|error| io::Error::other(format!("it is not UTF-8: {error}")))
}
