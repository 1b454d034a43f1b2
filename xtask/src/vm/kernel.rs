//! Gets Debian's kernels out of the archive that this machine's apt is set up for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;

use crate::process::{output, run};
use crate::workspace;

/// A kernel series, by the Debian release that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Series {
    #[value(name = "5.10")]
    Bullseye,
    #[value(name = "6.1")]
    Bookworm,
    #[value(name = "6.12")]
    Trixie,
    /// Whatever Debian has newest.
    #[value(name = "newest")]
    Sid,
}

impl Series {
    /// For people; of the newest it is known only once it is there.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bullseye => "5.10",
            Self::Bookworm => "6.1",
            Self::Trixie => "6.12",
            Self::Sid => "newest",
        }
    }

    fn release(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    /// Major and minor number: `6.12`.
    pub(super) version: String,
    pub(super) image: PathBuf,
    /// What has to be loaded for a disk of QEMU's, in this order.
    pub(super) modules: Vec<PathBuf>,
    /// What has to be loaded for other file systems.
    pub(super) file_systems: Vec<PathBuf>,
}

/// The flavour for virtual machines: small, with ext4, BTF and kprobes inside.
const PACKAGE: &str = "linux-image-cloud-amd64";

/// How the names of packages begin that hold the kernel or its modules.
const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

/// What a virtio disk with ext4 needs; the checksum is asked for by another name.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];

/// What other file systems need. btrfs measures its checksums when it is loaded, which takes
/// seconds in a machine, so this is loaded on demand.
const FILE_SYSTEMS: [&str; 3] = ["xfs", "btrfs", "overlay"];

/// Downloads and unpacks the newest kernel of `series`, once.
pub(super) fn fetch(series: Series) -> Result<Kernel> {
    let folder = workspace().join("target/vm").join(series.release());
    let unpacked = folder.join("unpacked");
    if !unpacked.exists() {
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let apt = Apt::new(series, &folder)?;
        let packages = apt.newest()?;
        eprintln!("xtask: downloading {}", packages.join(" "));
        let downloads = folder.join("downloads");
        fs::create_dir_all(&downloads).with_context(|| format!("make {}", downloads.display()))?;
        run(apt.command("apt-get").args(["-qq", "download"]).args(&packages).current_dir(&downloads))?;
        let partial = folder.join("partial");
        for archive in fs::read_dir(&downloads).context("list the packages")?.flatten() {
            run(Command::new("dpkg-deb").arg("--extract").arg(archive.path()).arg(&partial))?;
        }
        fs::rename(&partial, &unpacked).context("keep the unpacked kernel")?;
        fs::remove_dir_all(downloads).context("remove the kernel's packages")?;
    }
    let modules = modules_of(&unpacked)?;
    // Since Linux 7 Debian has it beside its modules.
    let image = match only(&unpacked.join("boot"), |name| name.starts_with("vmlinuz")) {
        Ok(image) => image,
        Err(_) => only(&modules, |name| name == "vmlinuz")?,
    };
    Ok(Kernel {
        version: version(&modules),
        image,
        modules: Kernel::modules(&modules, &MODULES)?,
        file_systems: Kernel::modules(&modules, &FILE_SYSTEMS)?,
    })
}

/// The folder of the modules, which is named after the kernel's release.
fn modules_of(unpacked: &Path) -> Result<PathBuf> {
    // Debian 13 has moved them below /usr.
    let base = [unpacked.join("lib/modules"), unpacked.join("usr/lib/modules")];
    let base = base.iter().find(|base| base.exists()).context("the kernel's package has no modules")?;
    only(base, |_| true)
}

/// Major and minor number of the release after which `modules` is named.
fn version(modules: &Path) -> String {
    let release = modules.file_name().unwrap_or_default().to_string_lossy();
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// An apt with folders of its own, which knows only one release: this machine's own is not
/// touched.
struct Apt {
    folder: PathBuf,
    configuration: PathBuf,
}

impl Apt {
    fn new(series: Series, folder: &Path) -> Result<Self> {
        let at = folder.display();
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part)).with_context(|| format!("make {at}/{part}"))?;
        }
        let signed = "/usr/share/keyrings/debian-archive-keyring.gpg";
        let sources = format!("deb [signed-by={signed}] {} {} main\n", mirror()?, series.release());
        fs::write(folder.join("sources.list"), sources).context("write sources.list")?;
        let configuration = folder.join("apt.conf");
        let text = format!(
            "Dir::Etc::SourceList \"{at}/sources.list\";\nDir::Etc::SourceParts \"/dev/null\";\n\
             Dir::State \"{at}/state\";\nDir::State::status \"/dev/null\";\nDir::Cache \"{at}/cache\";\n\
             APT::Sandbox::User \"\";\n"
        );
        fs::write(&configuration, text).context("write apt.conf")?;
        let apt = Self { folder: folder.to_owned(), configuration };
        run(apt.command("apt-get").args(["-qq", "update"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration).current_dir(&self.folder);
        command
    }

    /// The packages of the newest kernel: that which stands for it depends on it, and since
    /// Linux 7 that one depends on its parts.
    fn newest(&self) -> Result<Vec<String>> {
        let mut packages = Vec::new();
        let mut waiting = vec![PACKAGE.to_owned()];
        while let Some(package) = waiting.pop() {
            let depends = output(self.command("apt-cache").args(["depends", "--important", &package]))?;
            for needed in depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")) {
                let is_part = PARTS.iter().any(|part| needed.starts_with(part));
                if is_part && !packages.iter().any(|known| known == needed) {
                    packages.push(needed.to_owned());
                    waiting.push(needed.to_owned());
                }
            }
        }
        if packages.is_empty() {
            bail!("{PACKAGE} depends on no kernel");
        }
        Ok(packages)
    }
}

/// Where this machine gets Debian from.
fn mirror() -> Result<String> {
    let sites = output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(SITE)",
        "Origin: Debian",
        "Label: Debian",
    ]))?;
    match sites.lines().next() {
        Some(site) => Ok(site.to_owned()),
        None => {
            bail!("apt knows no Debian archive: `apt-get update` on a Debian system is needed to get kernels")
        }
    }
}

impl Kernel {
    /// The files of the modules in `names`, uncompressed, each behind those that it needs. What
    /// the kernel has built in has no file.
    fn modules(version: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
        let table = version.join("modules.dep");
        if !table.exists() {
            let base = version.ancestors().nth(3).unwrap_or(version);
            let name = version.file_name().unwrap_or_default();
            run(Command::new("/sbin/depmod").arg("--basedir").arg(base).arg(name))?;
        }
        let table = fs::read_to_string(&table).with_context(|| format!("read {}", table.display()))?;
        let mut files: Vec<PathBuf> = Vec::new();
        for name in names {
            let is_it = |file: &str| {
                let base = file.rsplit('/').next().unwrap_or(file);
                base.split(".ko").next().is_some_and(|base| base.replace('-', "_") == *name)
            };
            let Some((file, needs)) =
                table.lines().filter_map(|line| line.split_once(':')).find(|(file, _)| is_it(file))
            else {
                continue;
            };
            // The farthest stand last.
            for file in needs.split_whitespace().rev().chain([file]) {
                let file = uncompressed(&version.join(file))?;
                if !files.contains(&file) {
                    files.push(file);
                }
            }
        }
        Ok(files)
    }
}

/// The same module without compression, beside it.
fn uncompressed(module: &Path) -> Result<PathBuf> {
    if module.extension().is_none_or(|extension| extension != "xz") {
        return Ok(module.to_owned());
    }
    let plain = module.with_extension("");
    if !plain.exists() {
        run(Command::new("xz").args(["--decompress", "--keep"]).arg(module))?;
    }
    Ok(plain)
}

/// The one file in `folder` whose name is so.
fn only(folder: &Path, is_it: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let mut found = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(&is_it));
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry.path()),
        _ => bail!("{} holds not exactly one such file; remove it and start again", folder.display()),
    }
}
