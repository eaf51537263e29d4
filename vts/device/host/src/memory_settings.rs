// SPDX-License-Identifier: Apache-2.0
//! Settings of the device's kernel that decide which pages buffers consist of.

use clap::ValueEnum;
use vts_init::step::Step;

/// When tmpfs gives files, memfds among them, transparent huge pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShmemHugePages {
    /// Never.
    Never,
    /// Where madvise(2) asks for them.
    Advise,
    /// Always.
    Always,
}

impl ShmemHugePages {
    fn value(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Advise => "advise",
            Self::Always => "always",
        }
    }
}

/// The settings; those that are `None` are left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemorySettings {
    /// Huge pages of 2 MiB set apart for hugetlb.
    pub huge_pages: Option<u32>,
    /// Transparent huge pages of tmpfs.
    pub shmem_huge_pages: Option<ShmemHugePages>,
    /// Largest size of a udmabuf.
    pub udmabuf_size_limit_mib: Option<u32>,
}

impl MemorySettings {
    /// The step that makes the settings; it fails if the kernel refuses one or grants less.
    pub fn step(&self) -> Step {
        let mut script = PUT.to_owned();
        let mut put = |file: &str, value: &str| script.push_str(&format!("put {file} {value}\n"));
        if let Some(pages) = self.huge_pages {
            put("/proc/sys/vm/drop_caches", "3");
            put("/proc/sys/vm/compact_memory", "1");
            put("/proc/sys/vm/nr_hugepages", &pages.to_string());
        }
        if let Some(when) = self.shmem_huge_pages {
            put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", when.value());
        }
        if let Some(limit) = self.udmabuf_size_limit_mib {
            put("/sys/module/udmabuf/parameters/size_limit_mb", &limit.to_string());
        }
        if let Some(pages) = self.huge_pages {
            script.push_str(&format!(
                "got=$(cat /proc/sys/vm/nr_hugepages)\n\
                 [ $got -ge {pages} ] || {{ echo \"only $got huge pages\" >&2; exit 1; }}\n"
            ));
        }
        Step::root("memory settings", script, STEP_TIMEOUT_S)
    }
}

const STEP_TIMEOUT_S: u64 = 120;

/// Writes a value to a file.
const PUT: &str = "put() { echo $2 > $1 || exit; }\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_given_is_set() {
        let script = |settings: MemorySettings| settings.step().argv[2].clone();
        assert_eq!(script(MemorySettings::default()), PUT);
        let all = script(MemorySettings {
            huge_pages: Some(400),
            shmem_huge_pages: Some(ShmemHugePages::Advise),
            udmabuf_size_limit_mib: Some(1024),
        });
        for line in [
            "put /proc/sys/vm/nr_hugepages 400\n",
            "put /sys/kernel/mm/transparent_hugepage/shmem_enabled advise\n",
            "put /sys/module/udmabuf/parameters/size_limit_mb 1024\n",
        ] {
            assert!(all.contains(line), "{all}");
        }
    }
}
