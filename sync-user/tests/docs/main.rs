//! Writes down what the program says of itself: the reference pages in `docs/`, man pages and
//! completions. Without arguments it checks that the pages in `docs/` are not stale.
//!
//! ```text
//! cargo test --test docs                          checks
//! cargo test --test docs -- --write               writes docs/ (cargo xtask docs)
//! cargo test --test docs -- --package DIR         writes what a package has (cargo xtask package)
//! ```

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, ValueEnum as _};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use sync_user::{cli, settings};

/// Columns of the pages, whatever the terminal has.
const WIDTH: usize = 100;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--write"] => write(workspace, pages()),
        ["--package", directory] => write(Path::new(directory), packaged()),
        // Others, such as a filter, are for tests with names.
        _ => return check(workspace),
    }
    ExitCode::SUCCESS
}

fn check(workspace: &Path) -> ExitCode {
    let pages = pages();
    let is_stale = |(page, text): &&(PathBuf, Vec<u8>)| {
        fs::read(workspace.join(page)).map_or(true, |there| there != *text)
    };
    let mut stale: Vec<String> =
        pages.iter().filter(is_stale).map(|(page, _)| page.display().to_string()).collect();
    let known = |name: &Path| pages.iter().any(|(page, _)| page == name);
    for entry in fs::read_dir(workspace.join("docs/cli")).into_iter().flatten() {
        let page = Path::new("docs/cli").join(entry.unwrap().file_name());
        if !known(&page) {
            stale.push(format!("{} (of no command)", page.display()));
        }
    }
    let readme = fs::read_to_string(workspace.join("README.md")).unwrap();
    for exit in sync_user::exit::Exit::ALL {
        if !readme.contains(&format!("| {} | {} |", exit as u8, exit.meaning())) {
            stale.push(format!("README.md, on exit status {}", exit as u8));
        }
    }
    if stale.is_empty() {
        println!("docs: {} pages are as the program is", pages.len());
        return ExitCode::SUCCESS;
    }
    println!("docs: stale: {}\n`cargo xtask docs` writes those in docs/ anew", stale.join(", "));
    ExitCode::FAILURE
}

/// The pages in `docs/`.
fn pages() -> Vec<(PathBuf, Vec<u8>)> {
    let mut pages = vec![
        (PathBuf::from("docs/configuration.md"), settings::markdown().into_bytes()),
        (PathBuf::from("docs/man/ksyncd.toml.5"), settings::man_page().into_bytes()),
    ];
    for mut command in commands() {
        let name = command.get_name().to_owned();
        let title = command.get_bin_name().unwrap_or(&name).to_owned();
        let help = command.render_long_help().to_string();
        let help: Vec<&str> = help.lines().map(str::trim_end).collect();
        let text = format!(
            "# {}\n\n<!-- Written by `cargo xtask docs`. -->\n\n```text\n{}\n```\n",
            title,
            help.join("\n").trim_end()
        );
        pages.push((PathBuf::from(format!("docs/cli/{name}.md")), text.into_bytes()));
    }
    pages
}

/// Man pages, completions and the configuration to begin with, as a system has them.
fn packaged() -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = vec![
        (PathBuf::from("etc/ksyncd/ksyncd.toml"), settings::template().into_bytes()),
        (PathBuf::from("usr/share/man/man5/ksyncd.toml.5"), settings::man_page().into_bytes()),
    ];
    for command in commands() {
        let name = command.get_name().to_owned();
        let mut page = Vec::new();
        // An empty date would not count as a word.
        let man = Man::new(command).section("8").date(r#""""#).source("ksyncd");
        man.render(&mut page).unwrap();
        page.extend(see_also(&name).to_roff().into_bytes());
        files.push((PathBuf::from(format!("usr/share/man/man8/{name}.8")), page));
    }
    for shell in Shell::value_variants() {
        let (mut command, mut text) = (cli::command(), Vec::new());
        let path = match shell {
            Shell::Bash => "usr/share/bash-completion/completions/ksyncd",
            Shell::Zsh => "usr/share/zsh/vendor-completions/_ksyncd",
            Shell::Fish => "usr/share/fish/vendor_completions.d/ksyncd.fish",
            _ => continue,
        };
        clap_complete::generate(*shell, &mut command, "ksyncd", &mut text);
        files.push((PathBuf::from(path), text));
    }
    files
}

/// The last section of the page of a command.
fn see_also(name: &str) -> Roff {
    let mut section = Roff::new();
    section.control("SH", ["SEE ALSO"]);
    let program = (name != "ksyncd").then(|| [bold("ksyncd"), roman("(8), ")]);
    let others = program.into_iter().flatten().chain([bold("ksyncd.toml"), roman("(5)")]);
    section.text(others.collect::<Vec<_>>());
    section
}

/// The program itself and each of its commands, down to the last, named `ksyncd-state-check`.
fn commands() -> Vec<Command> {
    let mut program = cli::command().disable_help_subcommand(true).term_width(WIDTH);
    program.build();
    let mut found = Vec::new();
    add(&program, &[], &mut found);
    found
}

fn add(command: &Command, above: &[&str], found: &mut Vec<Command>) {
    let words: Vec<&str> = above.iter().copied().chain([command.get_name()]).collect();
    found.push(command.clone().name(words.join("-")).bin_name(words.join(" ")).term_width(WIDTH));
    for below in command.get_subcommands() {
        add(below, &words, found);
    }
}

fn write(directory: &Path, files: Vec<(PathBuf, Vec<u8>)>) {
    for (path, text) in files {
        let path = directory.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
}
