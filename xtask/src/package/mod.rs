//! Makes the Debian package, and tries it in a system of its own.

mod chroot;
mod first_day;
mod licenses;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{output, run};
use crate::{build, docs, packages, workspace};

/// Files that are there as they are: from where, and to where.
const COPIED: [(&str, &str); 13] = [
    ("packaging/ksyncd.service", "usr/lib/systemd/system/ksyncd.service"),
    ("packaging/debian/copyright", "usr/share/doc/ksyncd/copyright"),
    ("LICENSE-MIT", "usr/share/doc/ksyncd/LICENSE-MIT"),
    ("LICENSE-APACHE", "usr/share/doc/ksyncd/LICENSE-APACHE"),
    ("README.md", "usr/share/doc/ksyncd/README.md"),
    ("CHANGELOG.md", "usr/share/doc/ksyncd/changelog"),
    ("docs/install.md", "usr/share/doc/ksyncd/install.md"),
    ("docs/migrating-from-lsyncd.md", "usr/share/doc/ksyncd/migrating-from-lsyncd.md"),
    ("docs/geo-replication.md", "usr/share/doc/ksyncd/geo-replication.md"),
    ("docs/configuration.md", "usr/share/doc/ksyncd/configuration.md"),
    ("docs/security.md", "usr/share/doc/ksyncd/security.md"),
    ("packaging/prometheus/ksyncd.rules.yml", "usr/share/doc/ksyncd/examples/prometheus-rules.yml"),
    ("packaging/grafana/ksyncd.json", "usr/share/doc/ksyncd/examples/grafana-dashboard.json"),
];

/// Scripts that dpkg runs, and what it reads.
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

/// Builds the package, says where it is, and with `test` installs, upgrades and purges it.
pub(crate) fn package(test: bool) -> Result<()> {
    for needs in [packages::BUILD, packages::PACKAGE] {
        packages::install(needs)?;
    }
    let program = build::build()?;
    let root = stage(&program)?;
    let version = version()?;
    let package = pack(&root, &version)?;
    println!("{}", package.display());
    if test {
        packages::install(packages::CHROOT)?;
        let later = pack(&root, &format!("{version}+later"))?;
        chroot::test(&package, &later)?;
        fs::remove_file(&later).with_context(|| format!("remove {}", later.display()))?;
        first_day::follow(&package)?;
        println!("installed, upgraded, removed and purged in a system of its own");
        println!("docs/install.md leads to a running replication");
    }
    Ok(())
}

/// Everything that is to be installed, in a folder.
fn stage(program: &Path) -> Result<PathBuf> {
    let root = workspace().join("target/package/root");
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    docs::package_into(&root)?;
    let bin = root.join("usr/bin/ksyncd");
    copy(program, &bin)?;
    // What it carries inside is data, and stays.
    run(Command::new("strip").arg("--strip-debug").arg(&bin))?;
    for (from, to) in COPIED {
        copy(&workspace().join(from), &root.join(to))?;
    }
    let licenses = root.join("usr/share/doc/ksyncd/licenses");
    fs::write(&licenses, licenses::gather()?).with_context(|| format!("write {}", licenses.display()))?;
    let mut compressed = vec![licenses, root.join("usr/share/doc/ksyncd/changelog")];
    for section in ["usr/share/man/man5", "usr/share/man/man8"] {
        let pages = root.join(section);
        for page in fs::read_dir(&pages).with_context(|| format!("list {}", pages.display()))? {
            compressed.push(page?.path());
        }
    }
    run(Command::new("gzip").args(["-9", "--no-name"]).args(compressed))?;
    set_modes(&root)?;
    // What is in it may be nobody else's business: names of hosts, and of keys.
    set_mode(&root.join("etc/ksyncd"), 0o750)?;
    set_mode(&bin, 0o755)?;
    Ok(root)
}

fn set_modes(directory: &Path) -> Result<()> {
    set_mode(directory, 0o755)?;
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            set_modes(&entry.path())?;
        } else {
            set_mode(&entry.path(), 0o644)?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("set the mode of {}", path.display()))
}

/// The package of what is in `root`.
fn pack(root: &Path, version: &str) -> Result<PathBuf> {
    let debian = workspace().join("packaging/debian");
    let control = root.join("DEBIAN");
    fs::create_dir_all(&control).with_context(|| format!("make {}", control.display()))?;
    let text = fs::read_to_string(debian.join("control")).context("read packaging/debian/control")?;
    let size =
        output(Command::new("du").args(["--summarize", "--apparent-size", "--block-size=1024"]).arg(root))?;
    let size = size.split_whitespace().next().unwrap_or("0").to_owned();
    let text = text
        .replace("@version@", version)
        .replace("@size@", &size)
        .replace("@depends@", &depends(&root.join("usr/bin/ksyncd"))?);
    fs::write(control.join("control"), text).context("write the package's control file")?;
    set_mode(&control.join("control"), 0o644)?;
    copy(&debian.join("conffiles"), &control.join("conffiles"))?;
    set_mode(&control.join("conffiles"), 0o644)?;
    for script in SCRIPTS {
        copy(&debian.join(script), &control.join(script))?;
        set_mode(&control.join(script), 0o755)?;
    }
    set_mode(&control, 0o755)?;
    let package = workspace().join(format!("target/package/ksyncd_{version}_amd64.deb"));
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-Zxz", "--build"]).arg(root).arg(&package))?;
    Ok(package)
}

/// The packages whose libraries the program is linked with, in the versions that it needs.
fn depends(program: &Path) -> Result<String> {
    // It wants to be in the folder of a source package.
    let folder = workspace().join("target/package/shlibdeps");
    fs::create_dir_all(folder.join("debian")).with_context(|| format!("make {}", folder.display()))?;
    fs::write(folder.join("debian/control"), "Source: ksyncd\n\nPackage: ksyncd\nArchitecture: any\n")?;
    let told = output(Command::new("dpkg-shlibdeps").arg("-O").arg(program).current_dir(&folder))?;
    match told.lines().find_map(|line| line.strip_prefix("shlibs:Depends=")) {
        Some(depends) => Ok(depends.to_owned()),
        None => bail!("dpkg-shlibdeps does not say what the program depends on: {told}"),
    }
}

fn version() -> Result<String> {
    let id = output(build::cargo().args(["pkgid", "--package", "sync-user"]))?;
    let version = id.trim().rsplit(['@', '#']).next().unwrap_or_default();
    Ok(version.to_owned())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    }
    fs::copy(from, to).map(drop).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}
