// SPDX-License-Identifier: Apache-2.0
//! `dmabufload bench`: how long each path takes to load a file of the user.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use dmabuf_loader_client::aidl::{LoadResult::LoadResult, LoaderError::LoaderError};
use dmabuf_loader_client::ClientError;
use nix::fcntl::{posix_fadvise, PosixFadviseAdvice};
use serde::Serialize;

use crate::args::{BenchArgs, PolicyArg, ServiceArgs, TransferArgs, VerityArgs};
use crate::connect::{connect, Connection};
use crate::interrupt::Interrupt;
use crate::load::plan;
use crate::load_plan::{open, Options};
use crate::output::{bytes_text, path_label, path_name, print_json};
use crate::progress::Progress;
use crate::task;

/// The paths by which the tool asks for a load.
const PATHS: [PolicyArg; 4] =
    [PolicyArg::CopyFileRange, PolicyArg::UdmabufDirect, PolicyArg::Bounce, PolicyArg::Buffered];

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    file: &'a Path,
    bytes: u64,
    service: &'static str,
    paths: Vec<PathTimes>,
}

/// What the loads by one path have taken, or why the path cannot be taken.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PathTimes {
    path: String,
    #[serde(flatten)]
    times: Option<Times>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Times {
    heap: String,
    direct_bytes: i64,
    min_nanos: u64,
    median_nanos: u64,
    max_nanos: u64,
    bytes_per_second: u64,
}

/// Loads the file by each path, and prints the times.
pub fn run(service: &ServiceArgs, interrupt: &Interrupt, args: &BenchArgs) -> anyhow::Result<()> {
    let shown = args.file.display();
    let file = open(&args.file)?;
    let connection = connect(service, interrupt)?;
    let bench = Bench { connection: &connection, interrupt, file: &file, args };
    let paths: anyhow::Result<Vec<PathTimes>> =
        PATHS.into_iter().map(|policy| bench.path(policy)).collect();
    let paths = paths.with_context(|| format!("{shown}"))?;
    let bytes = file.metadata()?.len();
    let output = Output { file: &args.file, bytes, service: connection.service, paths };
    if args.json {
        return print_json(&output);
    }
    let cache = if args.warm { "as it is" } else { "dropped before each" };
    println!(
        "{shown}: {}, {} loads by each path, page cache {cache}",
        bytes_text(bytes),
        args.count
    );
    for path in &output.paths {
        println!("  {}", path.text());
    }
    Ok(())
}

struct Bench<'a> {
    connection: &'a Connection,
    interrupt: &'a Interrupt,
    file: &'a File,
    args: &'a BenchArgs,
}

impl Bench<'_> {
    fn path(&self, policy: PolicyArg) -> anyhow::Result<PathTimes> {
        let transfer = TransferArgs::of(&self.args.heap, policy);
        let options = Options { transfer: &transfer, verity: &VerityArgs::default() };
        let plan = plan(self.file, &[])?;
        let spec = plan.request(&plan.segments, None, options)?;
        let mut times = Vec::new();
        let mut progress = Progress::new("loading", plan.total_bytes * u64::from(self.args.count));
        let mut last: Option<LoadResult> = None;
        for _ in 0..self.args.count {
            // One buffer at a time.
            drop(last.take());
            if !self.args.warm {
                posix_fadvise(self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
                    .context("dropping the page cache of the file")?;
            }
            let begun = Instant::now();
            let start = || self.connection.loader.start_load(&spec, None);
            let loaded = match task::run(self.interrupt, &mut progress, start) {
                Err(error) if is_unavailable(&error) => {
                    return Ok(PathTimes::unavailable(policy, &error))
                }
                other => other?,
            };
            times.push(begun.elapsed());
            progress.request_ended(plan.total_bytes);
            last = Some(loaded);
        }
        drop(progress);
        PathTimes::of(times, plan.total_bytes, last.context("there was no load")?)
    }
}

fn is_unavailable(error: &anyhow::Error) -> bool {
    let code = error.downcast_ref::<ClientError>().and_then(ClientError::code);
    code == Some(LoaderError::PATH_UNAVAILABLE)
}

impl PathTimes {
    fn of(mut times: Vec<Duration>, bytes: u64, loaded: LoadResult) -> anyhow::Result<Self> {
        times.sort();
        let nanos = |time: Option<&Duration>| {
            let nanos = time.context("there was no load")?.as_nanos();
            anyhow::Ok(u64::try_from(nanos)?)
        };
        let median_nanos = nanos(times.get(times.len() / 2))?;
        let rate = u128::from(bytes) * 1_000_000_000 / u128::from(median_nanos.max(1));
        let times = Times {
            heap: loaded.buffer.context("the service returned no buffer")?.heap,
            direct_bytes: loaded.report.directBytes,
            min_nanos: nanos(times.first())?,
            median_nanos,
            max_nanos: nanos(times.last())?,
            bytes_per_second: u64::try_from(rate)?,
        };
        let path = path_label(path_name(loaded.report.path), loaded.report.direct);
        Ok(Self { path, times: Some(times), unavailable: None })
    }

    fn unavailable(policy: PolicyArg, error: &anyhow::Error) -> Self {
        let (_, paths) = policy.fields();
        let path = paths.first().map_or("any path", |path| path_name(*path)).to_owned();
        Self { path, times: None, unavailable: Some(format!("{error:#}")) }
    }

    fn text(&self) -> String {
        let Some(times) = &self.times else {
            return format!("{}: {}", self.path, self.unavailable.as_deref().unwrap_or(""));
        };
        let millis = |nanos: u64| nanos as f64 / 1e6;
        format!(
            "{}: {}/s, {:.2} ms ({:.2} to {:.2}), heap {}, {} bytes direct",
            self.path,
            bytes_text(times.bytes_per_second),
            millis(times.median_nanos),
            millis(times.min_nanos),
            millis(times.max_nanos),
            times.heap,
            times.direct_bytes
        )
    }
}

#[cfg(test)]
mod tests {
    use dmabuf_loader_client::aidl::DmaBuf::DmaBuf;

    use super::*;

    #[test]
    fn the_rate_is_that_of_the_median() {
        let times = [9, 1, 2].map(Duration::from_millis).to_vec();
        let buffer = Some(DmaBuf { heap: "system".to_owned(), ..DmaBuf::default() });
        let loaded = LoadResult { buffer, ..LoadResult::default() };
        let path = PathTimes::of(times, 2 << 20, loaded).unwrap();
        let text = path.text();
        let times = path.times.unwrap();
        assert_eq!((times.min_nanos, times.max_nanos), (1_000_000, 9_000_000));
        assert_eq!(times.bytes_per_second, 1000 << 20);
        assert!(text.starts_with("BUFFERED: 1000.0 MiB/s, 2.00 ms (1.00 to 9.00)"), "{text}");
        assert!(PathTimes::of(Vec::new(), 1, LoadResult::default()).is_err());
    }
}
