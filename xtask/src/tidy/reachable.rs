//! Checks that every file is part of a program: the compiler does not miss what nobody names.

use super::{Complaint, Source};

pub(super) fn check(sources: &[Source]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for source in sources {
        let Some((folder, file)) = source.path.rsplit_once('/') else { continue };
        let name = file.trim_end_matches(".rs");
        // Roots of crates: cargo names them.
        if matches!(name, "main" | "lib" | "build") {
            continue;
        }
        let (module, parents) = match (name, folder.rsplit_once('/')) {
            ("mod", Some((above, module))) => (module, above),
            _ => (name, folder),
        };
        let declared = sources.iter().any(|other| {
            let is_parent = match other.path.rsplit_once('/') {
                Some((at, "main.rs" | "lib.rs" | "mod.rs")) => at == parents,
                _ => other.path.trim_end_matches(".rs") == parents,
            };
            is_parent && other.text.lines().any(|line| declares(line, module))
        });
        if !declared {
            let what = format!("no file says `mod {module};`: it is not compiled");
            complaints.push(Complaint { file: source.path.clone(), line: 1, what });
        }
    }
    complaints
}

fn declares(line: &str, module: &str) -> bool {
    let words = line.trim().trim_end_matches(';');
    line.trim().ends_with(';') && words.rsplit_once("mod ").is_some_and(|(_, name)| name == module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_that_nobody_names() {
        let sources = [
            ("a/src/lib.rs", "pub mod b;\nmod c;"),
            ("a/src/b.rs", ""),
            ("a/src/c/mod.rs", "pub(super) mod d;"),
            ("a/src/c/d.rs", ""),
            ("a/src/c/e.rs", ""),
        ]
        .map(|(path, text)| Source { path: path.to_owned(), text: text.to_owned() });
        let found: Vec<String> = check(&sources).into_iter().map(|complaint| complaint.file).collect();
        assert_eq!(found, ["a/src/c/e.rs"]);
    }
}
