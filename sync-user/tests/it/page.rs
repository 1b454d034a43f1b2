//! The status page as people see it: rendered by a browser, on a desktop and on a phone.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::browser::{Browser, Look};
use crate::host::{Daemon, Host};

/// Windows, each with the name of its picture, its size, and the reader's taste.
const WINDOWS: [(&str, u32, u32, &str); 3] = [
    ("status-page", 1280, 900, "light"),
    ("status-page-phone", 400, 800, "light"),
    ("status-page-dark", 1280, 900, "dark"),
];

/// Letters that can be read without a glass, in pixels.
const READABLE: f64 = 10.0;

/// A target at whose port nobody listens, as it is given and as it is called.
const AWAY: (&str, &str) = ("ssh://root@127.0.0.1:9/away", "root@127.0.0.1:/away (port 9)");

/// A picture of the page, to be looked at after the test.
fn keep(name: &str, png: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/test-output");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(name).with_extension("png");
    fs::write(&file, png).unwrap();
    file
}

/// How many pixels there are of each colour.
fn colours(png: &[u8], width: u32) -> HashMap<[u8; 3], usize> {
    let mut decoder = png::Decoder::new(std::io::Cursor::new(png));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(frame.width, width);
    let mut counts = HashMap::new();
    for pixel in pixels[..frame.buffer_size()].chunks_exact(frame.color_type.samples()) {
        *counts.entry([pixel[0], pixel[1], pixel[2]]).or_default() += 1;
    }
    counts
}

/// The part of the page from the heading `from` up to the heading `until`.
fn between<'a>(html: &'a str, from: &str, until: &str) -> &'a str {
    let (_, part) = html.split_once(from).unwrap_or_else(|| panic!("no {from} in {html}"));
    part.split_once(until).unwrap_or_else(|| panic!("no {until} behind {from} in {html}")).0
}

/// The heights of the bars in the picture with that label.
fn bars(html: &str, label: &str) -> Vec<f64> {
    let picture = between(html, &format!("aria-label=\"{label}"), "</svg>");
    let height = |bar: &str| between(bar, "height=\"", "\"").parse().unwrap();
    picture.split("<rect").skip(1).map(height).collect()
}

fn assert_is_readable(look: &Look, width: u32, is_dark: bool) {
    assert_eq!(look.complaints, Vec::<serde_json::Value>::new());
    assert!(look.width <= u64::from(width), "it is {} wide in a window of {width}", look.width);
    assert!(look.smallest_letters >= READABLE, "letters of {} pixels", look.smallest_letters);
    let colours = colours(&look.png, width);
    let all: usize = colours.values().sum();
    // By the style of the page: background, bars, and bars of what is wrong.
    let [back, bar, bad] = if is_dark {
        [[0x14, 0x17, 0x1a], [0x7a, 0xa5, 0xe8], [0xff, 0x7b, 0x6b]]
    } else {
        [[0xff, 0xff, 0xff], [0x38, 0x67, 0xb1], [0xc8, 0x34, 0x1f]]
    };
    let share = |colour: [u8; 3]| colours.get(&colour).copied().unwrap_or(0) as f64 / all as f64;
    assert!(share(back) > 0.1, "background: {}", share(back));
    assert!(share(bar) > 0.0005, "bars: {}", share(bar));
    assert!(share(bad) > 0.0001, "bars of what is wrong: {}", share(bad));
}

#[test]
fn the_page_shows_latencies_lag_throughput_and_problems() {
    let host = Host::new();
    let mut command = host.run();
    command.args(["--metrics-listen", "127.0.0.1:0", "--target", AWAY.0]);
    let mut daemon = Daemon::start(command);
    let present = format!("127.0.0.1:{}", host.target().display());
    let log = daemon.shared_log();
    daemon.wait_until("the page is served and the trees are compared", || {
        let log = log.lock().unwrap();
        log.contains("metrics are at") && log.contains("compared the trees")
    });
    let address = daemon.address();

    let mut browser = Browser::start();
    let address = format!("http://{address}/");
    let mut number = 0;
    // Until the history has bars of both targets: some readings, each 2 s after the one before.
    daemon.wait_until("pictures show some of the traffic", || {
        for _ in 0..20 {
            number += 1;
            fs::write(host.source().join(format!("page-{}", number % 200)), vec![b'x'; number * 10]).unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        let (_, html) = crate::http::get(address.split('/').nth(2).unwrap(), "/");
        let of_away = bars(&html, &format!("lag of {}", AWAY.1));
        bars(&html, &format!("changes of {present}")).len() >= 5 && of_away.len() >= 5
    });

    for (name, width, height, scheme) in WINDOWS {
        let look = browser.look(&address, width, height, scheme);
        let file = keep(name, &look.png);
        println!("{}", file.display());
        assert_is_readable(&look, width, scheme == "dark");
        assert!(!look.html.contains("<script"), "{}", look.html);
        for text in ["recent problems", "latency", "end to end p50", "Connection refused", &present] {
            assert!(look.text.contains(text), "no {text:?} in {}", look.text);
        }
        let (_, away) = AWAY;
        // The lag of who is away grows; what nobody takes is not sent.
        let lags = bars(&look.html, &format!("lag of {away}"));
        assert!(lags.is_sorted() && lags.len() >= 5, "{lags:?}");
        assert_eq!(bars(&look.html, &format!("changes of {away}")), [0.0; 0]);
        assert!(!bars(&look.html, &format!("failures of {away}")).is_empty());
        assert!(!bars(&look.html, &format!("bytes sent of {present}")).is_empty());
        assert!(!bars(&look.html, "latency of end to end").is_empty());
    }
    drop(daemon);
}
