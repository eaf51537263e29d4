// SPDX-License-Identifier: Apache-2.0
//! The command line.

use clap::{Parser, ValueEnum};

/// What each way to fill a dma-buf from a file costs.
#[derive(Clone, Debug, Parser)]
#[command(name = "VtsDmaBufLoaderBenchmark", version)]
pub struct Arguments {
    /// Buffers per measurement.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub buffers: u32,

    /// Size of a buffer in MiB.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub buffer_mib: u32,

    /// How often everything is measured, one round after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repetitions: u32,

    /// What to measure; by default everything.
    #[arg(long = "group", value_enum, value_delimiter = ',', value_name = "GROUP")]
    groups: Vec<Group>,

    /// Measure only the methods of these names, whatever their kind; by default all.
    #[arg(long = "method", value_name = "NAME")]
    pub methods: Vec<String>,

    /// The largest file of the group `file-sizes`, in MiB.
    #[arg(long, default_value_t = 4096)]
    pub largest_file_mib: u64,
}

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// The block device read into prefaulted memory: the limit.
    Raw,
    /// Buffers made and closed, without I/O.
    Allocation,
    /// Files of several sizes; before others have left the disk's free space in pieces, which costs more than size does.
    FileSizes,
    /// The methods of the public series, loading.
    Load,
    /// The methods of the public series, saving.
    Save,
    /// The paths of the engine, in-process.
    Engine,
    /// Loads that find their buffers in the engine's pool.
    Pool,
    /// The paths of the service, over binder.
    Service,
    /// Single binder calls.
    Calls,
    /// Where the kernel's time goes in two of the methods.
    CallTree,
    /// A load beside other buffers.
    LiveBuffers,
}

impl Arguments {
    /// The groups to measure, in the order of their declaration.
    pub fn groups(&self) -> impl Iterator<Item = Group> + '_ {
        let wanted = |group: &Group| self.groups.is_empty() || self.groups.contains(group);
        Group::value_variants().iter().copied().filter(wanted)
    }

    /// Size of a buffer in bytes.
    pub fn buffer_bytes(&self) -> u64 {
        u64::from(self.buffer_mib) << 20
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Arguments {
        Arguments::try_parse_from([&["bench"], words].concat()).unwrap()
    }

    #[test]
    fn everything_is_measured_unless_groups_are_named() {
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
