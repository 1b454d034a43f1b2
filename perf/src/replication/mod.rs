//! Measures replication: what users wait for, where they would see it, at the target.

mod contender;
mod place;
mod report;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use contender::Contender;
use place::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// One new file of 4 KiB: from the end of its writing until its content is at the target
    Latency,
    /// 5,000 new files of 4 KiB: from the first write until the trees are equal
    Burst,
    /// A directory of 5,000 files is renamed: until the trees are equal
    Rename,
}

/// A file as web servers have many.
const FILE: [u8; 4096] = [b'x'; 4096];

const FILES: usize = 5_000;

/// Samples of the latency. lsyncd takes a second for each.
const SAMPLES: usize = 200;
const SAMPLES_OF_SLOW: usize = 15;

/// Sorted times of one contender in one benchmark.
#[derive(Debug)]
pub(crate) struct Times {
    pub(crate) bench: Bench,
    pub(crate) contender: Contender,
    pub(crate) sorted: Vec<Duration>,
}

/// Runs the benchmarks in `only`, or all, and gives the report.
pub(crate) fn measure(ksyncd: &Path, only: &[Bench]) -> Result<String> {
    Ok(report::render(&run(ksyncd, only)?))
}

fn run(ksyncd: &Path, only: &[Bench]) -> Result<Vec<Times>> {
    let benches = if only.is_empty() { Bench::value_variants() } else { only };
    let mut results = Vec::new();
    for bench in benches {
        let contenders: &[Contender] = match bench {
            Bench::Latency => &[Contender::Ksyncd, Contender::Lsyncd],
            Bench::Burst | Bench::Rename => &[Contender::Ksyncd, Contender::Lsyncd, Contender::Rsync],
        };
        for contender in contenders {
            eprintln!("perf: {bench:?}: {}", contender.name());
            let mut sorted = match bench {
                Bench::Latency => latency(*contender, ksyncd),
                Bench::Burst => thrice(|| burst(*contender, ksyncd)),
                Bench::Rename => thrice(|| rename(*contender, ksyncd)),
            }
            .with_context(|| format!("measure {} in {bench:?}", contender.name()))?;
            sorted.sort();
            results.push(Times { bench: *bench, contender: *contender, sorted });
        }
    }
    Ok(results)
}

fn thrice(measure: impl Fn() -> Result<Duration>) -> Result<Vec<Duration>> {
    (0..3).map(|_| measure()).collect()
}

fn latency(contender: Contender, ksyncd: &Path) -> Result<Vec<Duration>> {
    let place = Place::new()?;
    let _running = contender::start(contender, ksyncd, &place)?;
    let samples = if contender == Contender::Ksyncd { SAMPLES } else { SAMPLES_OF_SLOW };
    let mut times = Vec::new();
    for number in 0..samples {
        let name = format!("page-{number}.html");
        fs::write(place.source().join(&name), FILE)?;
        let written = Instant::now();
        let copy = place.target().join(&name);
        place::wait("the file is at the target", Duration::from_micros(100), || {
            fs::metadata(&copy).is_ok_and(|metadata| metadata.len() == FILE.len() as u64)
        })?;
        times.push(written.elapsed());
        // Not in step with anybody's clock.
        std::thread::sleep(Duration::from_millis(20 + number as u64 % 7));
    }
    Ok(times)
}

fn burst(contender: Contender, ksyncd: &Path) -> Result<Duration> {
    let place = Place::new()?;
    let running = match contender {
        Contender::Rsync => None,
        _ => Some(contender::start(contender, ksyncd, &place)?),
    };
    let began = Instant::now();
    write_files(&place.source().join("burst"))?;
    if running.is_none() {
        contender::rsync(&place)?;
    }
    place.wait_until_equal()?;
    Ok(began.elapsed())
}

fn rename(contender: Contender, ksyncd: &Path) -> Result<Duration> {
    let place = Place::new()?;
    write_files(&place.source().join("before"))?;
    let running = match contender {
        Contender::Rsync => {
            contender::rsync(&place)?;
            None
        }
        _ => Some(contender::start(contender, ksyncd, &place)?),
    };
    let began = Instant::now();
    fs::rename(place.source().join("before"), place.source().join("after"))?;
    if running.is_none() {
        contender::rsync(&place)?;
    }
    place.wait_until_equal()?;
    Ok(began.elapsed())
}

fn write_files(top: &Path) -> Result<()> {
    for number in 0..FILES {
        let directory = top.join(format!("{}", number % 50));
        if number < 50 {
            fs::create_dir_all(&directory)?;
        }
        fs::write(directory.join(format!("{number}.html")), FILE)?;
    }
    Ok(())
}
