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
}

impl Series {
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::Bullseye => "5.10",
            Self::Bookworm => "6.1",
            Self::Trixie => "6.12",
        }
    }

    fn release(self) -> &'static str {
        match self {
            Self::Bullseye => "bullseye",
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
        }
    }
}

/// An unpacked kernel.
#[derive(Debug)]
pub(super) struct Kernel {
    pub(super) image: PathBuf,
    /// What has to be loaded for a disk of QEMU's, in this order.
    pub(super) modules: Vec<PathBuf>,
    /// What has to be loaded for other file systems.
    pub(super) file_systems: Vec<PathBuf>,
}

/// The flavour for virtual machines: small, with ext4, BTF and kprobes inside.
const PACKAGE: &str = "linux-image-cloud-amd64";

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
        let package = apt.newest()?;
        eprintln!("xtask: downloading {package}");
        run(apt.command("apt-get").args(["-qq", "download", &package]))?;
        let archive = only(&folder, |name| name.starts_with("linux-image"))?;
        let partial = folder.join("partial");
        run(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&partial))?;
        fs::rename(&partial, &unpacked).context("keep the unpacked kernel")?;
        fs::remove_file(archive).context("remove the kernel's package")?;
    }
    let image = only(&unpacked.join("boot"), |name| name.starts_with("vmlinuz"))?;
    let modules = Kernel::modules(&unpacked, &MODULES)?;
    let file_systems = Kernel::modules(&unpacked, &FILE_SYSTEMS)?;
    Ok(Kernel { image, modules, file_systems })
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

    /// The package that stands for the newest kernel depends on it.
    fn newest(&self) -> Result<String> {
        let depends = output(self.command("apt-cache").args(["depends", "--important", PACKAGE]))?;
        let named = depends.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
        named.map(str::to_owned).with_context(|| format!("{PACKAGE} depends on no kernel"))
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
    fn modules(unpacked: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
        // Debian 13 has moved them below /usr.
        let base =
            if unpacked.join("lib/modules").exists() { unpacked.to_owned() } else { unpacked.join("usr") };
        let version = only(&base.join("lib/modules"), |_| true)?;
        let table = version.join("modules.dep");
        if !table.exists() {
            let name = version.file_name().unwrap_or_default();
            run(Command::new("/sbin/depmod").arg("--basedir").arg(&base).arg(name))?;
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
