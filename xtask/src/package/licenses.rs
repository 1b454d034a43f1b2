//! Gathers the licences of what is linked into the program: those of the crates, and of the C
//! libraries that some of them bring as source.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::build;
use crate::process::output;

const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// It brings Lua's source, and is only there while that is built.
const LUA: &str = "lua-src";

/// How files are called that have a licence in them.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// Each licence with the names of those that it is of.
pub(super) fn gather() -> Result<String> {
    let told = output(build::cargo().args([
        "metadata",
        "--format-version=1",
        "--locked",
        &format!("--filter-platform={PLATFORM}"),
    ]))?;
    let metadata: Value = serde_json::from_str(&told).context("read what cargo says of the packages")?;
    let linked = linked(&metadata)?;
    let mut of_text: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in &linked {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        let texts = texts(Path::new(text(package, "manifest_path")))?;
        if texts.is_empty() {
            without.push(format!("{name}: {}", text(package, "license")));
        }
        for text in texts {
            of_text.entry(text).or_default().insert(name.clone());
        }
    }
    let mut out = String::from(
        "Licences of what is linked into ksyncd besides its own source. Where several are offered, any of them.\n",
    );
    if !without.is_empty() {
        // Writing to a string does not fail.
        let _infallible = writeln!(out, "\nWithout a text of their own:\n{}", without.join("\n"));
    }
    let mut all: Vec<_> = of_text.into_iter().collect();
    all.sort_by(|(_, one), (_, other)| one.cmp(other));
    for (text, names) in all {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let _infallible = write!(out, "\n{}\n{names}\n\n{}\n", "=".repeat(72), text.trim_end());
    }
    Ok(out)
}

/// The packages of others that end up in the program.
fn linked(metadata: &Value) -> Result<Vec<&Value>> {
    let packages: BTreeMap<&str, &Value> =
        array(&metadata["packages"]).map(|package| (text(package, "id"), package)).collect();
    let nodes: BTreeMap<&str, &Value> =
        array(&metadata["resolve"]["nodes"]).map(|node| (text(node, "id"), node)).collect();
    let named = |name| packages.iter().find(|(_, package)| text(package, "name") == name).map(|(id, _)| *id);
    let mut waiting: Vec<&str> = ["sync-user", LUA].into_iter().filter_map(named).collect();
    ensure!(waiting.len() == 2, "cargo knows no package sync-user, or none that brings Lua");
    let mut found = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        let (Some(package), Some(node)) = (packages.get(id), nodes.get(id)) else { continue };
        // What runs in the compiler is not linked.
        let is_macro =
            array(&package["targets"]).any(|target| array(&target["kind"]).any(|kind| kind == "proc-macro"));
        if is_macro || !found.insert(id) {
            continue;
        }
        let is_linked =
            |dependency: &&Value| array(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null());
        waiting.extend(array(&node["deps"]).filter(is_linked).map(|dependency| text(dependency, "pkg")));
    }
    let foreign = found.into_iter().filter_map(|id| packages.get(id).copied());
    Ok(foreign.filter(|package| !package["source"].is_null()).collect())
}

/// The licences beside a manifest, and in the directories there, where sources of others are.
fn texts(manifest: &Path) -> Result<Vec<String>> {
    let Some(root) = manifest.parent() else { return Ok(Vec::new()) };
    let mut texts = Vec::new();
    let mut directories = vec![root.to_owned()];
    for entry in fs::read_dir(root).with_context(|| format!("list {}", root.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            directories.push(path);
        }
    }
    for directory in directories {
        let listed = fs::read_dir(&directory).with_context(|| format!("list {}", directory.display()))?;
        let mut files: Vec<PathBuf> = listed.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        files.sort();
        for file in files.into_iter().filter(|file| file.is_file() && is_license(file)) {
            let bytes = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            texts.push(String::from_utf8_lossy(&bytes).replace("\r\n", "\n"));
        }
    }
    Ok(texts)
}

/// Source that is called so is none.
fn is_license(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().to_uppercase()).unwrap_or_default();
    let is_text =
        file.extension().is_none_or(|kind| !["rs", "c", "h", "py"].iter().any(|code| kind == *code));
    is_text && NAMES.iter().any(|begin| name.starts_with(begin))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_has_its_licence() {
        let all = gather().unwrap();
        for (name, holder) in [
            ("libssh2-sys ", "Copyright (C) 2004-2007 Sara Golemon"),
            ("zstd-sys ", "Copyright (c) Meta Platforms, Inc. and affiliates."),
            ("lua-src ", "Permission is hereby granted"),
            ("aya ", "Apache License"),
        ] {
            let part = all.split(&"=".repeat(72)).find(|part| {
                part.lines().nth(1).is_some_and(|names| names.contains(name)) && part.contains(holder)
            });
            assert!(part.is_some(), "{name}: {holder}");
        }
        assert!(!all.contains("clap_derive "), "what runs in the compiler is not linked");
    }
}
