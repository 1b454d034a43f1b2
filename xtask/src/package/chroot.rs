//! Installs, upgrades, removes and purges the package in a small Debian of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{output, run};
use crate::workspace;

const SUITE: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";

/// What the package depends on, so that nothing has to be fetched when it is installed, and what
/// every server has.
const INCLUDED: &str = "libssl3,zlib1g,libgcc-s1,openssh-client,openssh-server";

/// A line of an operator's own, which an upgrade has to leave alone.
const EDITED: &str = "log_level = \"warn\"\n";

/// Tries `package`, and then `later` over it.
pub(super) fn test(package: &Path, later: &Path) -> Result<()> {
    let root = unpack("chroot")?;
    let before = files(&root)?;
    let chroot = Chroot(&root);
    chroot.dpkg("--install", package)?;

    let version = chroot.output(&["ksyncd", "--version"])?;
    ensure!(version.starts_with("ksyncd "), "it does not run: {version}");
    for file in [
        "/usr/lib/systemd/system/ksyncd.service",
        "/usr/share/man/man5/ksyncd.toml.5.gz",
        "/usr/share/bash-completion/completions/ksyncd",
        "/usr/share/zsh/vendor-completions/_ksyncd",
        "/usr/share/fish/vendor_completions.d/ksyncd.fish",
        "/usr/share/doc/ksyncd/copyright",
        "/usr/share/doc/ksyncd/licenses.gz",
    ] {
        ensure!(root.join(&file[1..]).is_file(), "{file} is missing");
    }
    documents_every_command(&chroot)?;
    let enabled = root.join("etc/systemd/system/multi-user.target.wants/ksyncd.service");
    ensure!(!enabled.exists(), "it is enabled");
    let check = chroot.command(&["ksyncd", "check", "/"]).output().context("run ksyncd check")?;
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    for inside in ["eBPF programs    in this program", "static receiver  in this program"] {
        ensure!(told.contains(inside), "it is not complete:\n{told}");
    }
    // As it comes it sets nothing, and says what is to be done.
    let refused = chroot.command(&["ksyncd", "run"]).output().context("run ksyncd run")?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(refused.status.code() == Some(78) && said.contains("[[sync]]"), "{}: {said}", refused.status);

    let config = root.join("etc/ksyncd/ksyncd.toml");
    let text = fs::read_to_string(&config).context("read the configuration")?;
    ensure!(text == chroot.output(&["ksyncd", "config", "default"])?, "the configuration is another one");
    let edited = format!("{EDITED}[[sync]]\nsource = \"/var\"\ntarget = \"web2:/var\"\n{text}");
    fs::write(&config, &edited).context("edit the configuration")?;
    chroot.output(&["ksyncd", "config", "check"])?;
    fs::create_dir_all(root.join("var/lib/ksyncd")).context("make the state directory")?;
    fs::write(root.join("var/lib/ksyncd/ledger.redb"), "").context("make a ledger")?;

    chroot.dpkg("--install", later)?;
    ensure!(fs::read_to_string(&config)? == edited, "an upgrade has changed the configuration");
    let installed = chroot.output(&["dpkg-query", "--show", "--showformat=${Version}", "ksyncd"])?;
    ensure!(installed.ends_with("+later"), "it was not upgraded: {installed}");
    ensure!(!enabled.exists(), "the upgrade has enabled it");

    chroot.output(&["dpkg", "--remove", "ksyncd"])?;
    ensure!(config.exists() && root.join("var/lib/ksyncd/ledger.redb").exists(), "removing has purged");
    ensure!(!root.join("usr/bin/ksyncd").exists(), "removing has left the program");
    chroot.output(&["dpkg", "--purge", "ksyncd"])?;
    let left: Vec<PathBuf> = files(&root)?.difference(&before).cloned().collect();
    ensure!(left.is_empty(), "a purge has left {left:?}");
    fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))
}

/// Each command has a man page, as it has one in docs/cli, and bash can read how to complete them.
fn documents_every_command(chroot: &Chroot<'_>) -> Result<()> {
    const COMPLETIONS: &str = "/usr/share/bash-completion/completions/ksyncd";
    let loaded = chroot.output(&["bash", "-c", &format!(". {COMPLETIONS} && complete -p ksyncd")])?;
    ensure!(loaded.contains("_ksyncd"), "bash completes nothing: {loaded}");
    for page in fs::read_dir(workspace().join("docs/cli")).context("list docs/cli")? {
        let page = page?.path();
        let command = page.file_stem().context("a page without a name")?.to_string_lossy();
        let man = chroot.0.join(format!("usr/share/man/man8/{command}.8.gz"));
        ensure!(man.is_file(), "{} is missing", man.display());
    }
    Ok(())
}

struct Chroot<'a>(&'a Path);

impl Chroot<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.0).args(words).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    fn output(&self, words: &[&str]) -> Result<String> {
        output(&mut self.command(words))
    }

    fn dpkg(&self, action: &str, package: &Path) -> Result<()> {
        let Some(name) = package.file_name().and_then(|name| name.to_str()) else {
            bail!("{} has no name", package.display());
        };
        let inside = self.0.join("root").join(name);
        fs::copy(package, &inside).with_context(|| format!("copy {}", package.display()))?;
        let result = self.output(&["dpkg", action, &format!("/root/{name}")]);
        fs::remove_file(&inside).with_context(|| format!("remove {}", inside.display()))?;
        result.map(drop)
    }
}

/// A new copy of the small Debian, in a folder of that name; what was fetched for it is kept.
pub(super) fn unpack(name: &str) -> Result<PathBuf> {
    let folder = workspace().join("target/package");
    let archive = folder.join(format!("{SUITE},{INCLUDED}.tar"));
    let root = folder.join(name);
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    if !archive.exists() {
        let include = format!("--include={INCLUDED}");
        run(Command::new("debootstrap").args(["--variant=minbase", &include, SUITE]).arg(&root).arg(MIRROR))?;
        run(Command::new("tar")
            .arg("--create")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(&root)
            .arg("."))?;
        return Ok(root);
    }
    fs::create_dir_all(&root).with_context(|| format!("make {}", root.display()))?;
    run(Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(&root))?;
    Ok(root)
}

/// All that is there, but for what dpkg keeps for itself.
fn files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let listed = output(Command::new("find").arg(root).args(["-xdev", "-printf", "%P\\n"]))?;
    let kept = ["var/lib/dpkg", "var/log", "var/cache"];
    let is_kept = |path: &&str| kept.iter().any(|kept| path.starts_with(kept));
    Ok(listed.lines().filter(|path| !is_kept(path)).map(PathBuf::from).collect())
}
