// SPDX-License-Identifier: Apache-2.0
//! The command line: groups, methods and sizes to measure.

use clap::{Parser, ValueEnum};

/// Measures the cost of every method that fills a dma-buf from a file, and of saving one.
#[derive(Clone, Debug, Parser)]
#[command(name = "VtsDmaBufLoaderBenchmark", version)]
pub struct Arguments {
    /// Buffers per measurement.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub buffers: u32,

    /// Size of a buffer in MiB.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub buffer_mib: u32,

    /// How often every measurement is repeated; a repetition measures everything once.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repetitions: u32,

    /// The groups to measure; by default all.
    #[arg(long = "group", value_enum, value_delimiter = ',', value_name = "GROUP")]
    groups: Vec<Group>,

    /// Measure only methods with these names, of any kind; by default all.
    #[arg(long = "method", value_name = "NAME")]
    pub methods: Vec<String>,

    /// The largest file of the group `file-sizes`, in MiB.
    #[arg(long, default_value_t = 4096)]
    pub largest_file_mib: u64,
}

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Reads of the block device into prefaulted memory: the limit.
    Raw,
    /// Allocation and closing of buffers, without I/O.
    Allocation,
    /// Loads of files of several sizes; run early, because fragmented free space on the disk costs
    /// more than file size does.
    FileSizes,
    /// Loads by the methods of the public series.
    Load,
    /// Saves by the methods of the public series.
    Save,
    /// Loads by the paths of the engine, in-process.
    Engine,
    /// Loads whose buffers come from the engine's pool.
    Pool,
    /// Loads by the paths of the service, over binder.
    Service,
    /// Single binder calls.
    Calls,
    /// Call trees of the kernel for two of the methods.
    CallTree,
    /// Loads while other buffers are alive.
    LiveBuffers,
}

impl Arguments {
    /// Returns the groups to measure, in the order of their declaration.
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        let wanted = |group: &Group| self.groups.is_empty() || self.groups.contains(group);
        Group::value_variants().iter().copied().filter(wanted)
    }

    /// Returns the size of a buffer in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        u64::from(self.buffer_mib) << 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["bench"], arguments].concat()).unwrap()
    }

    #[test]
    fn all_groups_are_measured_by_default() {
        assert_eq!(parsed(&[]).groups().count(), Group::value_variants().len());
        let some: Vec<Group> = parsed(&["--group", "calls,raw"]).groups().collect();
        assert_eq!(some, [Group::Raw, Group::Calls]);
    }

    #[test]
    fn sizes_are_limited() {
        assert_eq!(parsed(&["--buffer-mib", "2"]).buffer_bytes(), 2 << 20);
        assert!(Arguments::try_parse_from(["bench", "--buffers", "0"]).is_err());
        assert!(Arguments::try_parse_from(["bench", "--repetitions", "0"]).is_err());
    }
}
