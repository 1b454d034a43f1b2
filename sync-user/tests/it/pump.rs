//! Makes a connection long: all bytes are passed on, each after a delay.
//!
//! The kernel's own way (netem) is not in every kernel.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::article::network::Network;

/// What may be on its way, in pieces: more than a window of SSH (2 MiB) is never.
const PIECES_MAX: usize = 256;

const PIECE_BYTES: usize = 64 << 10;

/// How often it looks for new connections.
const LOOK: Duration = Duration::from_millis(5);

/// Takes connections at a port of loopback, and makes one to the other side for each.
pub(crate) struct Pump {
    port: u16,
    over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Pump {
    /// From loopback to `to`, with `delay` each way; in `network`, if that is not the machine's own.
    pub(crate) fn start(network: Option<&Arc<Network>>, to: SocketAddrV4, delay: Duration) -> Self {
        let listener = {
            let _inside = network.map(|network| network.enter());
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
        };
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let over = Arc::new(AtomicBool::new(false));
        let acceptor = std::thread::spawn({
            let (network, over) = (network.cloned(), Arc::clone(&over));
            move || {
                let _inside = network.as_ref().map(|network| network.enter());
                accept(&listener, to, delay, &over);
            }
        });
        Self { port, over, acceptor: Some(acceptor) }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
    }
}

fn accept(listener: &TcpListener, to: SocketAddrV4, delay: Duration, over: &AtomicBool) {
    let mut open: Vec<TcpStream> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let Ok((near, _)) = listener.accept() else {
            std::thread::sleep(LOOK);
            continue;
        };
        // Without the other side the connection ends at once.
        let Ok(far) = TcpStream::connect(to) else { continue };
        for stream in [&near, &far] {
            stream.set_nonblocking(false).unwrap();
            // Nothing is to wait for company, beyond the delay.
            stream.set_nodelay(true).unwrap();
            open.push(stream.try_clone().unwrap());
        }
        pump(near.try_clone().unwrap(), far.try_clone().unwrap(), delay);
        pump(far, near, delay);
    }
    for stream in open {
        let _closed = stream.shutdown(Shutdown::Both);
    }
}

/// Passes on in one direction until either end closes.
fn pump(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, pieces) = mpsc::sync_channel::<(Instant, Vec<u8>)>(PIECES_MAX);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES];
        while let Ok(count) = from.read(&mut buffer) {
            let is_taken =
                count > 0 && sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_ok();
            if !is_taken {
                break;
            }
        }
    });
    std::thread::spawn(move || {
        for (due, piece) in pieces {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _closed = to.shutdown(Shutdown::Both);
    });
}
