//! Networks of a test's own: namespaces, and pairs of virtual Ethernet between them.
//!
//! They have no names, so the kernel removes them, and what is in them, when the test has ended, in
//! whatever way.

use std::fs::File;
use std::marker::PhantomData;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::process::Command;

use nix::sched::{CloneFlags, setns, unshare};

/// The namespace that a thread is in.
const OF_THIS_THREAD: &str = "/proc/thread-self/ns/net";

/// A machine's network, as far as a test is concerned.
pub(crate) struct Network(File);

/// What a thread does is done in the network until this is dropped; programs that it starts stay there.
pub(crate) struct Inside {
    outside: File,
    /// It is the thread that is inside.
    _bound: PhantomData<*const ()>,
}

impl Network {
    pub(super) fn new() -> Self {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace: this test needs root");
            File::open(OF_THIS_THREAD).unwrap()
        });
        let network = Self(made.join().unwrap());
        network.ip(&["link", "set", "lo", "up"]);
        network
    }

    pub(crate) fn enter(&self) -> Inside {
        let outside = File::open(OF_THIS_THREAD).unwrap();
        setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
        Inside { outside, _bound: PhantomData }
    }

    /// Joins two networks by a link that has these names and addresses.
    pub(super) fn join(ends: [(&Self, &str, Ipv4Addr); 2]) {
        let [(one, name, _), (other, name_of_other, _)] = ends;
        let there = format!("/proc/{}/fd/{}", std::process::id(), other.0.as_raw_fd());
        let pair = ["link", "add", name, "type", "veth", "peer", "name", name_of_other, "netns", &there];
        one.ip(&pair);
        for (network, name, address) in ends {
            network.ip(&["address", "add", &format!("{address}/24"), "dev", name]);
            network.up(name);
        }
    }

    pub(super) fn up(&self, link: &str) {
        self.ip(&["link", "set", link, "up"]);
    }

    pub(super) fn down(&self, link: &str) {
        self.ip(&["link", "set", link, "down"]);
    }

    fn ip(&self, words: &[&str]) {
        let _inside = self.enter();
        let output = Command::new("ip").args(words).output().expect("start ip (package iproute2)");
        assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        setns(&self.outside, CloneFlags::CLONE_NEWNET).unwrap();
    }
}
