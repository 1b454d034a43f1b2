//! Measures replication: what users wait for, where they would see it, at the target.

mod contender;
mod content;
mod disk;
mod large;
mod line;
mod place;
mod report;
mod wire;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

pub(crate) use contender::Contender;
pub(crate) use line::Line;
use place::Place;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// One new file of 4 KiB: from the end of its writing until its content is at the target
    Latency,
    /// The same, while a new file of 1 GiB is on its way
    Behind,
    /// 5,000 new files of 4 KiB: from the first write until the trees are equal
    Burst,
    /// A new file of 1 GiB, not the first one
    Bulk,
    /// A directory of 5,000 files is renamed: until the trees are equal
    Rename,
    /// 1 KiB is inserted into the middle of a file of 128 MiB
    Insert,
    /// 1 % of a file of 128 MiB is overwritten, in blocks of 4 KiB
    Scatter,
    /// 64 KiB are appended to a file of 128 MiB
    Append,
    /// A file of 128 MiB is copied
    Copy,
    /// All of a file of 128 MiB is new
    Whole,
    /// 200,000 files are in place, and one is new: from the start of the program until that is at the target
    Restart,
}

const FILES: usize = 5_000;
const FILES_IN_PLACE: usize = 200_000;

/// Samples of the latency. lsyncd takes a second for each.
const SAMPLES: usize = 200;
const SAMPLES_OF_SLOW: usize = 15;

/// How long something took, and how many bytes were on the wire for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) time: Duration,
    pub(crate) bytes: u64,
}

/// What one contender needed in one benchmark, sorted.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) bench: Bench,
    pub(crate) contender: Contender,
    pub(crate) times: Vec<Duration>,
    pub(crate) bytes: Vec<u64>,
}

/// What is measured, and whom: nothing stands for all.
type Only<'a> = (&'a [Bench], &'a [Contender]);

/// Runs the benchmarks in `only`, and gives the report. The target is on this machine, or `far`.
pub(crate) fn measure(ksyncd: &Path, only: Only<'_>, far: Option<Line>) -> Result<String> {
    wire::isolate()?;
    Ok(report::render(&run(ksyncd, only, far)?, far))
}

fn run(ksyncd: &Path, (benches, programs): Only<'_>, far: Option<Line>) -> Result<Vec<Figures>> {
    let benches = if benches.is_empty() { Bench::value_variants() } else { benches };
    let mut results = Vec::new();
    for bench in benches {
        let contenders: &[Contender] = match bench {
            Bench::Latency | Bench::Behind => &[Contender::Ksyncd, Contender::Lsyncd],
            Bench::Burst => &[
                Contender::Ksyncd,
                Contender::Lsyncd,
                Contender::Rsync,
                Contender::RsyncWhole,
                Contender::Tar,
            ],
            Bench::Bulk => &[Contender::Ksyncd, Contender::Rsync, Contender::Tar],
            Bench::Rename | Bench::Restart => &[Contender::Ksyncd, Contender::Lsyncd, Contender::Rsync],
            Bench::Whole => &[Contender::Ksyncd, Contender::Rsync, Contender::RsyncWhole],
            // lsyncd starts rsync for these, a second later.
            Bench::Insert | Bench::Scatter | Bench::Append | Bench::Copy => {
                &[Contender::Ksyncd, Contender::Rsync]
            }
        };
        for contender in contenders.iter().filter(|one| programs.is_empty() || programs.contains(one)) {
            eprintln!("perf: {bench:?}: {}", contender.name());
            let samples = match bench {
                Bench::Latency => latency(*contender, ksyncd, far),
                Bench::Behind => behind(*contender, ksyncd, far),
                Bench::Burst => thrice(|| burst(*contender, ksyncd, far)),
                Bench::Bulk => large::bulk(*contender, ksyncd, far),
                Bench::Rename => thrice(|| rename(*contender, ksyncd, far)),
                Bench::Restart => restart(*contender, ksyncd, far),
                Bench::Insert | Bench::Scatter | Bench::Append | Bench::Copy | Bench::Whole => {
                    large::measure(*bench, *contender, ksyncd, far)
                }
            }
            .with_context(|| format!("measure {} in {bench:?}", contender.name()))?;
            let (mut times, mut bytes): (Vec<_>, Vec<_>) =
                samples.iter().map(|sample| (sample.time, sample.bytes)).unzip();
            times.sort();
            bytes.sort_unstable();
            results.push(Figures { bench: *bench, contender: *contender, times, bytes });
        }
    }
    Ok(results)
}

fn thrice(measure: impl Fn() -> Result<Sample>) -> Result<Vec<Sample>> {
    (0..3).map(|_| measure()).collect()
}

fn latency(contender: Contender, ksyncd: &Path, far: Option<Line>) -> Result<Vec<Sample>> {
    let place = Place::new(far)?;
    let _running = contender::start(contender, ksyncd, &place)?;
    let samples = if contender == Contender::Ksyncd { SAMPLES } else { SAMPLES_OF_SLOW };
    (0..samples).map(|number| page(&place, number)).collect()
}

fn behind(contender: Contender, ksyncd: &Path, far: Option<Line>) -> Result<Vec<Sample>> {
    let place = Place::new(far)?;
    let _running = contender::start(contender, ksyncd, &place)?;
    let before = wire::bytes()?;
    large::write_new(&place, large::NAME)?;
    place::wait("the large file is on its way", Duration::from_millis(1), || {
        wire::bytes().is_ok_and(|bytes| bytes > before + (16 << 20))
    })?;
    let mut taken = Vec::new();
    while !place.target().join(large::NAME).exists() {
        taken.push(page(&place, taken.len())?);
    }
    Ok(taken)
}

/// Writes a file as web servers have many, and waits for it.
fn page(place: &Place, number: usize) -> Result<Sample> {
    let name = format!("page-{number}.html");
    let before = wire::bytes()?;
    fs::write(place.source().join(&name), content::page(u64::MAX - number as u64))?;
    let written = Instant::now();
    let copy = place.target().join(&name);
    place::wait("the file is at the target", Duration::from_micros(100), || {
        fs::metadata(&copy).is_ok_and(|metadata| metadata.len() == content::PAGE as u64)
    })?;
    let time = written.elapsed();
    // Not in step with anybody's clock.
    std::thread::sleep(Duration::from_millis(20 + number as u64 % 7));
    Ok(Sample { time, bytes: wire::bytes()? - before })
}

fn burst(contender: Contender, ksyncd: &Path, far: Option<Line>) -> Result<Sample> {
    let place = Place::new(far)?;
    let running = contender.is_daemon().then(|| contender::start(contender, ksyncd, &place)).transpose()?;
    let (began, before) = (Instant::now(), wire::bytes()?);
    write_files(&place.source().join("burst"), FILES)?;
    if running.is_none() {
        contender::copy(contender, &place)?;
    }
    place.wait_until_equal()?;
    Ok(Sample { time: began.elapsed(), bytes: wire::bytes()? - before })
}

fn rename(contender: Contender, ksyncd: &Path, far: Option<Line>) -> Result<Sample> {
    let place = Place::new(far)?;
    write_files(&place.source().join("before"), FILES)?;
    let running = contender::begin(contender, ksyncd, &place)?;
    let (began, before) = (Instant::now(), wire::bytes()?);
    fs::rename(place.source().join("before"), place.source().join("after"))?;
    if running.is_none() {
        contender::copy(contender, &place)?;
    }
    place.wait_until_equal()?;
    Ok(Sample { time: began.elapsed(), bytes: wire::bytes()? - before })
}

/// Starts the program again and again, each time with one file that is new since.
fn restart(contender: Contender, ksyncd: &Path, far: Option<Line>) -> Result<Vec<Sample>> {
    let place = Place::new(far)?;
    write_files(&place.source().join("pages"), FILES_IN_PLACE)?;
    drop(contender::begin(contender, ksyncd, &place)?);
    // First, in the middle and last of those that rsync compares one after the other, by name.
    let samples = ["0", "5", "999"].map(|directory| {
        let changed = Path::new("pages").join(directory).join("changed");
        fs::write(place.source().join(&changed), directory)?;
        let (began, before) = (Instant::now(), wire::bytes()?);
        let running =
            contender.is_daemon().then(|| contender::spawn(contender, ksyncd, &place)).transpose()?;
        if running.is_none() {
            contender::copy(contender, &place)?;
        }
        place::wait("the change is at the target", Duration::from_millis(1), || {
            fs::read(place.target().join(&changed)).is_ok_and(|there| there == directory.as_bytes())
        })?;
        Ok(Sample { time: began.elapsed(), bytes: wire::bytes()? - before })
    });
    let samples = samples.into_iter().collect();
    place.wait_until_equal()?;
    samples
}

fn write_files(top: &Path, files: usize) -> Result<()> {
    for number in 0..files {
        let directory = top.join(format!("{}", number % (files / 100)));
        if number < files / 100 {
            fs::create_dir_all(&directory)?;
        }
        fs::write(directory.join(format!("{number}.html")), content::page(number as u64))?;
    }
    Ok(())
}
