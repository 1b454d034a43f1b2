//! Follows docs/install.md to the letter, from the package to a running replication between two
//! small Debians.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::chroot::unpack;
use super::copy;
use crate::process::run;
use crate::workspace;

/// How many commands the guide promises.
const COMMANDS: usize = 5;

/// Has the commands of the guide run, as root of a server that never had ksyncd.
pub(super) fn follow(package: &Path) -> Result<()> {
    let guide = fs::read_to_string(workspace().join("docs/install.md")).context("read docs/install.md")?;
    let commands = guide.split("```\n").nth(1).context("docs/install.md has no commands")?;
    let count = commands.lines().count();
    ensure!(count == COMMANDS, "docs/install.md takes {count} commands, and README.md promises {COMMANDS}");
    let (web1, web2) = (unpack("web1")?, unpack("web2")?);
    fs::write(web1.join("root/first-day"), commands).context("write the commands")?;
    copy(package, &web1.join("root").join(package.file_name().unwrap_or_default()))?;
    let script = workspace().join("xtask/src/package/first_day.sh");
    run(Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "sh"])
        .args([&script, &web1, &web2]))
    .context("docs/install.md does not lead to a running replication")?;
    for root in [web1, web2] {
        fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    }
    Ok(())
}
