//! Three sites, of which each replicates to both others: whatever one does comes to the others by two
//! ways, and goes in no circle (I8).

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sync_user::demo::sshd::Sshd;

use super::host::{Daemon, KSYNCD, PATIENCE, capture};
use super::site::{Site, age, differences, logs, road, tree, wait_until_at_rest, wait_until_equal};

const NAMES: [&str; 3] = ["moscow", "amsterdam", "tokyo"];

const MOSCOW: usize = 0;
const AMSTERDAM: usize = 1;
const TOKYO: usize = 2;

/// Each with an SSH server of its own, and all daemons.
struct Mesh {
    sites: Vec<Site>,
    servers: Vec<Sshd>,
    daemons: Vec<Daemon>,
    /// The last, so that it is removed when nobody works in it.
    directory: tempfile::TempDir,
}

impl Mesh {
    /// Starts everything, with what is at each site before: a path and its content.
    fn start(before: &[(usize, &str, &str)]) -> Self {
        let directory = tempfile::Builder::new().prefix("ksyncd-mesh-").tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let sites = NAMES.map(|name| {
            let site =
                Site { name: name.to_owned(), root: at(name).join("www"), state: at(name).join("state") };
            fs::create_dir_all(&site.root).unwrap();
            site
        });
        let servers = NAMES.map(|name| Sshd::start(&at(name), "").unwrap());
        let roads: String = NAMES
            .iter()
            .zip(&servers)
            .map(|(name, sshd)| road(name, sshd, sshd.port(), directory.path()))
            .collect();
        fs::write(at("ssh_config"), roads).unwrap();
        for (index, path, text) in before {
            sites[*index].write(path, text);
        }
        let mut mesh = Self { sites: sites.into(), servers: servers.into(), daemons: Vec::new(), directory };
        mesh.daemons = (0..NAMES.len()).map(|index| Daemon::start(mesh.run(index))).collect();
        mesh.wait_until("all are connected", |mesh| mesh.sites.iter().all(is_connected));
        mesh.settle();
        mesh
    }

    fn run(&self, index: usize) -> Command {
        let mut command = Command::new(KSYNCD);
        command.args(["run", "--two-way", "--capture", &capture(), "--log-level", "debug", "--ssh-config"]);
        command.arg(self.directory.path().join("ssh_config"));
        command.arg("--source").arg(&self.sites[index].root).arg("--state-dir").arg(&self.sites[index].state);
        for other in self.sites.iter().filter(|other| other.name != self.sites[index].name) {
            command.arg("--target").arg(format!("{}:{}", other.name, other.root.display()));
        }
        command
    }

    fn wait_until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            let told = || format!("{}\n{}", logs(&self.daemons), differences(&self.sites));
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}\n{}", told());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until it is so everywhere, and each knows that of the others.
    fn wait_until_agreed(&self, what: &str, condition: impl FnMut(&Self) -> bool) {
        self.wait_until(what, condition);
        for site in &self.sites {
            assert!(site.wait(), "waited in vain until {what}: {}", logs(&self.daemons));
        }
    }

    /// Waits until all hold the same, and nothing is sent any more.
    fn settle(&self) {
        wait_until_equal(&self.sites, &self.daemons);
        wait_until_at_rest(&self.sites, &self.daemons);
        wait_until_equal(&self.sites, &self.daemons);
    }

    fn read(&self, path: &str) -> [Option<String>; 3] {
        [MOSCOW, AMSTERDAM, TOKYO].map(|index| self.sites[index].read(path))
    }

    /// What is kept anywhere.
    fn kept(&self) -> Vec<String> {
        let of =
            |site: &Site| -> Vec<String> { site.kept().iter().map(|line| site.kept_content(line)).collect() };
        self.sites.iter().flat_map(of).collect()
    }

    /// Nobody can reach it, and it notices nothing.
    fn switch_off(&mut self, index: usize) {
        self.daemons[index].end();
        self.servers[index].stop();
    }

    fn switch_on(&mut self, index: usize) {
        self.servers[index].restart().unwrap();
        let command = self.run(index);
        self.daemons[index].start_again(command);
    }
}

fn is_connected(site: &Site) -> bool {
    let targets = site.targets();
    targets.len() == NAMES.len() - 1 && targets.iter().all(sync_user::control::TargetStatus::is_up)
}

fn everywhere(text: &str) -> [Option<String>; 3] {
    [(); 3].map(|()| Some(text.to_owned()))
}

#[test]
fn what_any_of_three_sites_changes_is_at_all_of_them() {
    let mesh = Mesh::start(&[
        (MOSCOW, "moscow.html", "from moscow"),
        (AMSTERDAM, "amsterdam.html", "from amsterdam"),
        (TOKYO, "tokyo.html", "from tokyo"),
    ]);
    for name in NAMES {
        assert_eq!(mesh.read(&format!("{name}.html")), everywhere(&format!("from {name}")));
    }
    // Published at one, edited at another, removed at the third.
    for (one, name) in NAMES.iter().enumerate() {
        let [one, other, third] = [0, 1, 2].map(|step| &mesh.sites[(one + step) % NAMES.len()]);
        let page = format!("news-{name}.html");
        one.write(&page, "published");
        mesh.wait_until_agreed("it is published", |mesh| mesh.read(&page) == everywhere("published"));
        other.write(&page, "edited");
        mesh.wait_until_agreed("it is edited", |mesh| mesh.read(&page) == everywhere("edited"));
        fs::remove_file(third.root.join(&page)).unwrap();
        mesh.wait_until_agreed("it is removed", |mesh| mesh.read(&page) == [None, None, None]);
    }
    let root = &mesh.sites[TOKYO].root;
    fs::create_dir(root.join("a")).unwrap();
    fs::rename(root.join("moscow.html"), root.join("a/moscow.html")).unwrap();
    fs::write(mesh.sites[MOSCOW].root.join("large"), vec![b'x'; 3 << 20]).unwrap();
    mesh.settle();
    assert_eq!(mesh.read("a/moscow.html"), everywhere("from moscow"));
    assert_eq!(mesh.read("moscow.html"), [None, None, None]);
    fs::remove_dir_all(mesh.sites[AMSTERDAM].root.join("a")).unwrap();
    mesh.settle();
    for site in &mesh.sites {
        assert!(!site.root.join("a").exists(), "{}", site.name);
    }
    assert_eq!(mesh.kept(), Vec::<String>::new(), "nothing was in conflict");
}

/// Nothing old comes back with it, nor anything that was removed, though it has two others to ask.
#[test]
fn a_site_that_was_away_takes_what_the_others_have_and_gives_what_it_has() {
    let mut mesh = Mesh::start(&[
        (MOSCOW, "old", "agreed"),
        (MOSCOW, "gone", "agreed"),
        (AMSTERDAM, "gone-here", "agreed"),
        (AMSTERDAM, "both", "agreed"),
        (TOKYO, "edited-here", "agreed"),
    ]);
    for (site, daemon) in mesh.sites.iter().zip(&mesh.daemons) {
        site.wait_until_stored(daemon);
    }
    mesh.switch_off(TOKYO);
    let [moscow, amsterdam, tokyo] = [MOSCOW, AMSTERDAM, TOKYO].map(|index| mesh.sites[index].clone());
    moscow.write("old", "newer");
    fs::remove_file(amsterdam.root.join("gone")).unwrap();
    moscow.write("both", "edited in moscow");
    mesh.wait_until("the two that are left hold the same", |mesh| {
        mesh.read("old")[AMSTERDAM].as_deref() == Some("newer")
            && mesh.read("both")[AMSTERDAM].as_deref() == Some("edited in moscow")
            && mesh.read("gone")[MOSCOW].is_none()
    });
    tokyo.write("edited-here", "edited in tokyo");
    tokyo.write("both", "edited in tokyo, and later");
    fs::remove_file(tokyo.root.join("gone-here")).unwrap();
    mesh.switch_on(TOKYO);
    mesh.settle();
    assert_eq!(mesh.read("old"), everywhere("newer"));
    assert_eq!(mesh.read("edited-here"), everywhere("edited in tokyo"));
    assert_eq!(mesh.read("both"), everywhere("edited in tokyo, and later"));
    assert_eq!([mesh.read("gone"), mesh.read("gone-here")], [[None, None, None], [None, None, None]]);
    assert!(mesh.kept().contains(&"edited in moscow".to_owned()), "{:?}", mesh.kept());
    // And it is a site like before.
    tokyo.write("old", "newest");
    mesh.settle();
    assert_eq!(mesh.read("old"), everywhere("newest"));
}

#[test]
fn of_three_edits_at_once_one_stays_everywhere_and_the_others_are_kept() {
    let mesh = Mesh::start(&[(MOSCOW, "page", "agreed"), (MOSCOW, "fought-over", "agreed")]);
    for round in 0..5_u64 {
        for daemon in &mesh.daemons {
            daemon.pause();
        }
        let text = |name: &str, path: &str| format!("{path} of {name}, round {round}");
        for (index, site) in mesh.sites.iter().enumerate() {
            for path in ["page", "new"] {
                let there = site.root.join(path);
                // Nothing is written into what was kept.
                fs::write(site.root.join(".new"), text(&site.name, path)).unwrap();
                age(&site.root.join(".new"), 100 - round * 10 - (index as u64 + round) % 3);
                fs::rename(site.root.join(".new"), there).unwrap();
            }
        }
        // Somebody removes what the two others edit.
        let remover = round as usize % NAMES.len();
        let fought_over = mesh.sites[remover].root.join("fought-over");
        fs::remove_file(&fought_over).unwrap();
        for site in mesh.sites.iter().filter(|site| site.name != NAMES[remover]) {
            site.write("fought-over", &text(&site.name, "fought-over"));
        }
        for daemon in &mesh.daemons {
            daemon.signal(Signal::SIGCONT);
        }
        mesh.settle();
        for path in ["page", "new", "fought-over"] {
            let is = mesh.sites[MOSCOW].read(path);
            let kept = mesh.kept();
            for site in &mesh.sites {
                let text = text(&site.name, path);
                if (path, site.name.as_str()) == ("fought-over", NAMES[remover]) {
                    continue;
                }
                let told = || mesh.sites.iter().map(|site| site.why(Path::new(path))).collect::<String>();
                assert!(
                    is.as_ref() == Some(&text) || kept.contains(&text),
                    "{text} is lost; {is:?}, kept {kept:?}\n{}\n{}",
                    told(),
                    logs(&mesh.daemons)
                );
            }
        }
    }
}

/// As programs do with temporary files: what is made and removed is on its way round in both directions.
/// A removal that meets it there may be undone, and then it is for good: nothing goes on for ever.
#[test]
fn what_comes_and_goes_quickly_does_not_circulate() {
    let mesh = Mesh::start(&[]);
    for round in 0..60 {
        for site in &mesh.sites {
            let [new, renamed] =
                ["new", "renamed"].map(|name| site.root.join(format!("{name}-{}-{round}", site.name)));
            fs::write(&new, format!("{round} of {}", site.name)).unwrap();
            std::thread::sleep(Duration::from_millis(7));
            if round % 2 == 0 {
                fs::rename(&new, &renamed).unwrap();
                std::thread::sleep(Duration::from_millis(3));
                fs::remove_file(&renamed).unwrap();
            } else {
                fs::remove_file(&new).unwrap();
            }
        }
    }
    mesh.settle();
    for path in tree(&mesh.sites[MOSCOW].root).into_keys() {
        fs::remove_file(mesh.sites[MOSCOW].root.join(path)).unwrap();
    }
    mesh.settle();
    for site in &mesh.sites {
        let left: Vec<_> = tree(&site.root).into_keys().collect();
        let told =
            || left.iter().flat_map(|path| mesh.sites.iter().map(|site| site.why(path))).collect::<String>();
        assert!(left.is_empty(), "at {} {left:?} came back\n{}\n{}", site.name, logs(&mesh.daemons), told());
    }
}
