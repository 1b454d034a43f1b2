//! Apache with a configuration of its own, which serves one directory.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::host::PATIENCE;

/// Debian's place of the modules.
const MODULES: &str = "/usr/lib/apache2/modules";

/// A web server; dropping it kills it with all of its processes.
pub(super) struct Apache {
    child: Child,
    directory: PathBuf,
}

impl Apache {
    /// Serves `root` at port 80 of `address`, in the network that the thread is in. Files are not mapped:
    /// of one that is shorter than the one that had its name a moment ago, zeros would be sent behind.
    pub(super) fn start(directory: &Path, address: Ipv4Addr, root: &Path) -> Self {
        fs::create_dir_all(directory).unwrap();
        let (at, root) = (directory.display(), root.display());
        let modules: String = ["mpm_event", "authz_core", "dir"]
            .map(|name| format!("LoadModule {name}_module {MODULES}/mod_{name}.so\n"))
            .concat();
        let configuration = format!(
            "{modules}\
             ServerRoot {at}\nDefaultRuntimeDir {at}\nPidFile {at}/pid\nErrorLog {at}/error.log\n\
             ServerName site\nListen {address}:80\nUser www-data\nGroup www-data\n\
             DirectoryIndex index.html\nDocumentRoot {root}\nEnableMMAP off\n\
             <Directory {root}>\n  Require all granted\n</Directory>\n\
             <DirectoryMatch \"/\\.ksyncd(/|$)\">\n  Require all denied\n</DirectoryMatch>\n"
        );
        fs::write(directory.join("apache.conf"), configuration).unwrap();
        // It shall not outlive a test that was killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "/usr/sbin/apache2", "-D", "FOREGROUND", "-f"])
            .arg(directory.join("apache.conf"))
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start setpriv (package util-linux)");
        let mut apache = Self { child, directory: directory.to_owned() };
        let began = Instant::now();
        while std::net::TcpStream::connect((address, 80)).is_err() {
            if let Some(status) = apache.child.try_wait().unwrap() {
                panic!("Apache (package apache2-bin) ended with {status}: {}", apache.log());
            }
            assert!(began.elapsed() < PATIENCE, "Apache does not answer: {}", apache.log());
            std::thread::sleep(Duration::from_millis(10));
        }
        apache
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("error.log")).unwrap_or_default()
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _ended = killpg(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGKILL);
        let _ended = self.child.wait();
    }
}
