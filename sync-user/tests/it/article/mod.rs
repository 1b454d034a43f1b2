//! A site in two data centres: two servers that replicate to each other, each with a web server, and
//! a name with both addresses. One is switched off and on again, and both are busy at once.

mod apache;
mod author;
mod client;
pub(crate) mod network;
mod press;
mod server;

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use author::Author;
use client::{Client, NoPage, Readers};
use network::Network;
use press::Press;
use server::Server;

use crate::host::PATIENCE;
use crate::pump::Pump;
use crate::site::tree;

/// What readers see of each server.
const PUBLIC: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 1, 1), Ipv4Addr::new(10, 77, 2, 1)];

/// The readers' own addresses.
const READERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 1, 9), Ipv4Addr::new(10, 77, 2, 9)];

/// Between the servers.
const PRIVATE: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 3, 1), Ipv4Addr::new(10, 77, 3, 2)];

/// From Moscow to Amsterdam; there and back it is 45 ms.
const ONE_WAY: Duration = Duration::from_micros(22_500);

/// What an author does before something else happens to it.
const ACTS: usize = 200;

const MOSCOW: usize = 0;
const AMSTERDAM: usize = 1;

struct Site {
    servers: [Server; 2],
    client: Arc<Client>,
    press: Arc<Press>,
    _pumps: Vec<Pump>,
    /// The last, so that it is removed when nobody works in it.
    _directory: tempfile::TempDir,
}

impl Site {
    /// Starts everything; what travels between the servers takes `delay` each way.
    fn start(delay: Option<Duration>) -> Self {
        let directory = tempfile::Builder::new().prefix("ksyncd-article-").tempdir().unwrap();
        // Apache reads as a user of its own.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let [moscow, amsterdam, readers] = [Network::new(), Network::new(), Network::new()];
        Network::join([(&moscow, "amsterdam", PRIVATE[0]), (&amsterdam, "moscow", PRIVATE[1])]);
        Network::join([(&moscow, "readers", PUBLIC[0]), (&readers, "moscow", READERS[0])]);
        Network::join([(&amsterdam, "readers", PUBLIC[1]), (&readers, "amsterdam", READERS[1])]);
        let start = |index: usize, name: &'static str, network, links| {
            Server::start(directory.path().join(name), name, network, links, [PUBLIC[index], PRIVATE[index]])
        };
        let mut servers = [
            start(MOSCOW, "moscow", moscow, ["amsterdam", "readers"]),
            start(AMSTERDAM, "amsterdam", amsterdam, ["moscow", "readers"]),
        ];
        let mut pumps = Vec::new();
        for index in [MOSCOW, AMSTERDAM] {
            let (own, other) = (&servers[index], &servers[1 - index]);
            let there = SocketAddrV4::new(PRIVATE[1 - index], other.sshd.port());
            let road = delay.map_or(there, |delay| {
                pumps.push(Pump::start(Some(&own.network), there, delay));
                SocketAddrV4::new(Ipv4Addr::LOCALHOST, pumps[index].port())
            });
            own.configure(other, road);
        }
        for server in &mut servers {
            server.start_daemon();
        }
        let (client, press) = (Arc::new(Client(readers)), Arc::new(Press::default()));
        let mut site = Self { servers, client, press, _pumps: pumps, _directory: directory };
        for index in [MOSCOW, AMSTERDAM] {
            site.wait_until("both are connected", |site| {
                site.servers[index].target_status().is_some_and(|status| status.is_up())
            });
        }
        site
    }

    fn publish(&self, at: usize, page: &str) -> String {
        let server = &self.servers[at];
        self.press.publish(&server.root(), page, server.name, 3000)
    }

    /// What one server answers.
    fn read(&self, at: usize, page: &str) -> Result<String, NoPage> {
        let text = self.client.read(&[PUBLIC[at]], page)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn wait_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let began = Instant::now();
        while !condition(self) {
            assert!(began.elapsed() < PATIENCE, "waited in vain until {what}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until both servers answer alike.
    fn wait_until_both_answer(&mut self, page: &str, answer: &Result<String, NoPage>) {
        self.wait_until(&format!("both answer {page}"), |site| {
            [MOSCOW, AMSTERDAM].iter().all(|at| site.read(*at, page) == *answer)
        });
    }

    /// Waits until both roots are equal, and stay so for a moment.
    fn wait_until_equal(&mut self) {
        let mut equal_since = None;
        self.wait_until("both roots are equal", |site| {
            let [moscow, amsterdam] = [MOSCOW, AMSTERDAM].map(|at| tree(&site.servers[at].root()));
            if moscow != amsterdam {
                equal_since = None;
                return false;
            }
            equal_since.get_or_insert_with(Instant::now).elapsed() > Duration::from_millis(500)
        });
    }

    /// Waits until nothing more is sent (I8: no change circulates).
    fn wait_until_at_rest(&mut self) {
        let mut before = (None, Instant::now());
        self.wait_until("nothing is sent any more", |site| {
            let sent =
                site.servers.each_ref().map(|server| server.target_status().map(|is| is.bytes_shipped));
            if sent.contains(&None) || before.0 != Some(sent) {
                before = (Some(sent), Instant::now());
            }
            before.1.elapsed() > Duration::from_secs(3)
        });
    }

    /// What is not alike, and what was logged.
    fn logs(&self) -> String {
        let [moscow, amsterdam] = self.servers.each_ref().map(|server| tree(&server.root()));
        let paths: BTreeSet<&PathBuf> = moscow.keys().chain(amsterdam.keys()).collect();
        let differ = |path: &&&PathBuf| moscow.get(**path) != amsterdam.get(**path);
        let line = |path: &PathBuf| {
            let told = self.servers.each_ref().map(|server| server.why(path)).concat();
            format!("{}: {:?}, {:?}\n{told}", path.display(), moscow.get(path), amsterdam.get(path))
        };
        let differences: String = paths.iter().filter(differ).map(|path| line(path)).collect();
        format!("{}\nthey differ in:\n{differences}", self.servers.each_ref().map(Server::log).join("\n"))
    }
}

fn not_found() -> Result<String, NoPage> {
    Err(NoPage::Status("404".to_owned()))
}

#[test]
fn a_site_stays_up_while_one_of_its_servers_is_off_and_both_are_equal_afterwards() {
    let mut site = Site::start(None);

    // Published at one, read at both; edited at the other, read at both.
    let pages: Vec<String> = ["index.html", "news/today.html", "about/us.html"].map(str::to_owned).to_vec();
    for page in pages.iter().map(String::as_str).chain(["news/removed.html", "old/one.html", "old/two.html"])
    {
        let text = site.publish(MOSCOW, page);
        site.wait_until_both_answer(page, &Ok(text));
    }
    let text = site.publish(AMSTERDAM, "news/today.html");
    site.wait_until_both_answer("news/today.html", &Ok(text));
    fs::remove_dir_all(site.servers[AMSTERDAM].root().join("old")).unwrap();
    site.wait_until_both_answer("old/one.html", &not_found());
    let forbidden = Err(NoPage::Status("403".to_owned()));
    assert!(site.servers[MOSCOW].root().join(".ksyncd/id").exists());
    site.wait_until_both_answer(".ksyncd/id", &forbidden);
    site.wait_until_equal();
    site.wait_until("what was agreed on is stored", |site| site.servers.iter().all(Server::has_stored));

    // As two A records are given out: now the one first, now the other.
    let habits = vec![PUBLIC.to_vec(), PUBLIC.iter().rev().copied().collect()];
    let readers = Readers::start(&site.client, &site.press, &pages, habits);
    readers.wait_for(20);

    site.servers[MOSCOW].switch_off();
    readers.wait_for(4);
    assert!(matches!(site.read(MOSCOW, "index.html"), Err(NoPage::NoAnswer(_))), "it is off");
    let edited = site.publish(AMSTERDAM, "news/today.html");
    let added = site.publish(AMSTERDAM, "new/page.html");
    fs::remove_file(site.servers[AMSTERDAM].root().join("news/removed.html")).unwrap();
    fs::rename(
        site.servers[AMSTERDAM].root().join("about/us.html"),
        site.servers[AMSTERDAM].root().join("about/them.html"),
    )
    .unwrap();
    let us = site.publish(AMSTERDAM, "about/us.html");
    assert_eq!(site.read(AMSTERDAM, "news/today.html"), Ok(edited.clone()));
    assert_eq!(site.read(AMSTERDAM, "news/removed.html"), not_found());
    readers.wait_for(4);

    site.servers[MOSCOW].switch_on();
    let waited = site.servers[AMSTERDAM].ask(&["wait", "--timeout", "2m"]);
    assert!(waited.status.success(), "{waited:?}\n{}", site.logs());
    // Only now: nobody is to read what is old.
    site.servers[MOSCOW].start_apache();
    for (page, answer) in [
        ("news/today.html", Ok(edited)),
        ("new/page.html", Ok(added)),
        ("about/us.html", Ok(us)),
        ("news/removed.html", not_found()),
        ("old/two.html", not_found()),
    ] {
        for at in [MOSCOW, AMSTERDAM] {
            assert_eq!(site.read(at, page), answer, "{page} at {at}\n{}", site.logs());
        }
    }
    site.wait_until_equal();
    site.wait_until_at_rest();
    site.wait_until_equal();
    for page in ["news/removed.html", "old/one.html", "old/two.html"] {
        for at in [MOSCOW, AMSTERDAM] {
            assert_eq!(site.read(at, page), not_found(), "it stays removed\n{}", site.logs());
        }
    }

    // And it is a server like before.
    let text = site.publish(MOSCOW, "index.html");
    site.wait_until_both_answer("index.html", &Ok(text));
    readers.wait_for(20);
    let read = readers.stop();
    eprintln!("{read} pages were read");
}

/// What was removed, or moved away, is gone.
fn nothing_came_back(site: &Site, work: &[author::Work]) {
    let is_of_archive = |path: &PathBuf| path.starts_with("archive") && path.extension().is_some();
    let is_left =
        |path: &PathBuf| path.to_str().is_some_and(|path| work.iter().any(|work| work.contains_key(path)));
    let left = tree(&site.servers[MOSCOW].root()).into_keys().filter(is_of_archive);
    let came_back: Vec<PathBuf> = left.filter(|path| !is_left(path)).collect();
    let told = || -> String {
        let told = |path: &PathBuf| site.servers.each_ref().map(|server| server.why(path)).concat();
        came_back.iter().map(told).collect()
    };
    assert!(came_back.is_empty(), "{}\ncame back: {came_back:?}\n{}", site.logs(), told());
}

/// Both work at once, far from each other; `meanwhile` is what happens to the servers.
fn both_at_once(meanwhile: impl FnOnce(&mut Site, &[Author])) -> (Site, [author::Work; 2]) {
    let mut site = Site::start(Some(ONE_WAY));
    let shared: Vec<String> = (0..6).map(|number| format!("shared/{number}.html")).collect();
    let own = ["moscow", "amsterdam"]
        .map(|name| -> Vec<String> { (0..4).map(|number| format!("{name}/{number}.html")).collect() });
    let pages = [shared.clone(), own.concat()].concat();
    for page in &pages {
        site.publish(MOSCOW, page);
    }
    site.wait_until_equal();
    // Each page is there all the time from now on.
    let habits = vec![vec![PUBLIC[0]], vec![PUBLIC[1]], PUBLIC.to_vec()];
    let mut readers = Readers::start(&site.client, &site.press, &pages, habits);
    for server in &site.servers {
        readers.read_below(server.root());
    }
    let authors = [MOSCOW, AMSTERDAM].map(|at| {
        let server = &site.servers[at];
        Author::start(server.root(), server.name, &site.press, shared.clone(), own[at].clone())
    });
    meanwhile(&mut site, &authors);
    let work = authors.map(Author::stop);
    site.wait_until_equal();
    site.wait_until_at_rest();
    site.wait_until_equal();
    readers.wait_for(20);
    let read = readers.stop();
    eprintln!("{read} pages were read");
    // What only one has touched is as that one has left it, at both.
    for at in [MOSCOW, AMSTERDAM] {
        for (path, text) in work.iter().flatten() {
            let there = fs::read_to_string(site.servers[at].root().join(path)).ok();
            assert!(there.as_ref() == Some(text), "{path} at {at}: {there:?}\n{}", site.logs());
        }
    }
    (site, work)
}

#[test]
fn two_busy_servers_far_from_each_other_hold_the_same_in_the_end() {
    let (site, work) = both_at_once(|_, authors| {
        for author in authors {
            author.wait_for(ACTS);
        }
    });
    nothing_came_back(&site, &work);
}

#[test]
fn two_busy_servers_hold_the_same_in_the_end_though_their_daemons_are_killed() {
    both_at_once(|site, authors| {
        for at in [MOSCOW, AMSTERDAM, AMSTERDAM, MOSCOW] {
            authors[at].wait_for(ACTS / 4);
            site.servers[at].kill_daemon();
            authors[at].wait_for(ACTS / 10);
            site.servers[at].start_daemon();
        }
        for author in authors {
            author.wait_for(ACTS / 4);
        }
    });
}
