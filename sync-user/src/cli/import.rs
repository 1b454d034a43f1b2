//! Turns an lsyncd.conf into a configuration, on standard output.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{fail, print};
use crate::exit::Exit;
use crate::import_lsyncd::{self, ImportError, Imported};

/// Bytes of a configuration; one with a thousand targets has some ten thousand.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Flags of `ksyncd import-lsyncd`.
#[derive(Debug, Args)]
pub(super) struct ImportLsyncd {
    /// The configuration of lsyncd, such as `/etc/lsyncd/lsyncd.conf.lua`
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn import_lsyncd(flags: &ImportLsyncd) -> Exit {
    let file = flags.file.display().to_string();
    let imported = read(&flags.file)
        .map_err(ImportError::Read)
        .and_then(|program| import_lsyncd::import(&file, &program));
    match imported {
        Ok(Imported { toml, notes, needs_a_hand }) => {
            print(&toml);
            // There is nobody left to tell when standard error is closed.
            let _closed = write!(io::stderr().lock(), "{notes}");
            if needs_a_hand { Exit::Incomplete } else { Exit::Success }
        }
        Err(error) => {
            let place = error.line().map(|line| format!(":{line}")).unwrap_or_default();
            let exit = if matches!(error, ImportError::Read(_)) { Exit::NoSource } else { Exit::Failure };
            fail(exit, &format!("{file}{place}: {error}"), Some(error.remedy()))
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut program = Vec::new();
    std::fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut program)?;
    if program.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(program)
}
