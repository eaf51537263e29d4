// SPDX-License-Identifier: Apache-2.0
//! The options of the service, which a device sets in the `.rc` file.

use anyhow::{bail, Context};
use dmabuf_engine::{HeapConfig, HugeUdmabufs, PoolConfig};

/// What the command line says.
#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// `--pool-mib N`: the pool holds up to N MiB of free buffers, with 0 the service has no pool.
    /// By default the pool retains only small buffers, for the client that released them.
    pub pool: PoolConfig,
    /// `--any-heap NAME`, any number of times, and `--huge-udmabufs auto|yes|no`.
    pub heaps: HeapConfig,
}

impl Options {
    /// Reads the arguments after the program's name.
    ///
    /// # Errors
    /// An unknown option, or a value that the option does not have.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self { pool: PoolConfig::SMALL_BUFFERS, heaps: HeapConfig::default() };
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{option} lacks a value"));
            match option.as_str() {
                "--pool-mib" => options.pool = pool(&value()?)?,
                "--any-heap" => options.heaps.any_heap.push(value()?),
                "--huge-udmabufs" => options.heaps.huge_udmabufs = huge_udmabufs(&value()?)?,
                _ => bail!(
                    "unknown option {option:?}, expected --pool-mib, --any-heap or --huge-udmabufs"
                ),
            }
        }
        Ok(options)
    }
}

fn pool(mib: &str) -> anyhow::Result<PoolConfig> {
    let mib: u32 =
        mib.parse().with_context(|| format!("--pool-mib: {mib:?}, expected a number of MiB"))?;
    Ok(PoolConfig::of_bytes(u64::from(mib) << 20))
}

fn huge_udmabufs(choice: &str) -> anyhow::Result<HugeUdmabufs> {
    match choice {
        "auto" => Ok(HugeUdmabufs::Auto),
        "yes" => Ok(HugeUdmabufs::Yes),
        "no" => Ok(HugeUdmabufs::No),
        _ => bail!("--huge-udmabufs: {choice:?}, expected auto, yes or no"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> anyhow::Result<Options> {
        Options::parse(arguments.iter().map(|argument| (*argument).to_owned()))
    }

    #[test]
    fn the_pool_retains_small_buffers_by_default() {
        assert_eq!(parsed(&[]).unwrap().pool, PoolConfig::SMALL_BUFFERS);
        assert_eq!(parsed(&["--pool-mib", "0"]).unwrap().pool, PoolConfig::OFF);
        assert_eq!(parsed(&["--pool-mib", "64"]).unwrap().pool.max_bytes, 64 << 20);
    }

    #[test]
    fn heaps_for_any_request_are_listed_in_order() {
        assert_eq!(parsed(&[]).unwrap().heaps, HeapConfig::default());
        let options = parsed(&["--any-heap", "b", "--pool-mib", "1", "--any-heap", "a"]).unwrap();
        assert_eq!(options.heaps.any_heap, ["b", "a"]);
        assert_eq!(options.pool.max_bytes, 1 << 20);
    }

    #[test]
    fn the_device_may_know_better_about_huge_pages() {
        for (choice, expected) in
            [("auto", HugeUdmabufs::Auto), ("yes", HugeUdmabufs::Yes), ("no", HugeUdmabufs::No)]
        {
            let options = parsed(&["--huge-udmabufs", choice]).unwrap();
            assert_eq!(options.heaps.huge_udmabufs, expected);
        }
    }

    #[test]
    fn wrong_options_are_refused() {
        for wrong in [
            &["--pool-mib"][..],
            &["--pool-mib", "-1"],
            &["--pool", "1"],
            &["--any-heap"],
            &["--huge-udmabufs", "maybe"],
            &["system"],
        ] {
            assert!(parsed(wrong).is_err(), "{wrong:?}");
        }
    }
}
