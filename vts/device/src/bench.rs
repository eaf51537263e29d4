// SPDX-License-Identifier: Apache-2.0
//! `cargo vts bench`: runs a program on a device to measure on, and prints what it prints.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use vts_init::plan::{Step, SHELL_PATH};

use crate::device::Device;
use crate::flavour::Flavour;
use crate::host_memory::Size;
use crate::measure::{Measurement, Mode};
use crate::memory_settings::{MemorySettings, ShmemHugePages};
use crate::progress::Progress;
use crate::workspace::Workspace;

/// Options of `cargo vts bench`.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Count instructions; without --speed and --cost, both are measured.
    #[arg(long)]
    cost: bool,

    /// Measure time.
    #[arg(long)]
    speed: bool,

    /// Limit what can be read from /data in a second.
    #[arg(long, value_name = "MIB")]
    throttle_mib_per_s: Option<u64>,

    /// A program of the device's build.
    program: String,

    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Room for 400 huge pages and for buffers of as much beside them.
const SIZE: Size = Size { memory_mib: 4 * 1024, data_disk_mib: 6 * 1024 };

const MEMORY: MemorySettings = MemorySettings {
    huge_pages: Some(400),
    shmem_huge_pages: Some(ShmemHugePages::Advise),
    udmabuf_size_limit_mib: Some(2048),
};

/// By this machine's clock.
const TIME_LIMIT: Duration = Duration::from_secs(3600);

/// By the device's clock, which does not run steadily: the other limit is the one that counts.
const STEP_TIMEOUT_S: u64 = 30 * 24 * 3600;

/// Runs the program once for each flavour and mode.
pub fn run(
    workspace: &Workspace,
    flavours: &[Flavour],
    options: &Options,
    progress: &Progress,
) -> Result<()> {
    let device = Device::build(workspace, flavours, progress)?;
    let mut argv =
        [SHELL_PATH, "-c", "exec \"./$0\" \"$@\"", &options.program].map(String::from).to_vec();
    argv.extend_from_slice(&options.arguments);
    let step = Step { argv, ..Step::root(&options.program, "", STEP_TIMEOUT_S) };
    for &flavour in flavours {
        for mode in options.modes() {
            let phase = progress.phase(format!("{} on {flavour}, {mode:?}", options.program));
            let measurement = Measurement {
                flavour,
                mode,
                size: SIZE,
                data_read_limit_mib_per_s: options.throttle_mib_per_s,
                memory: MEMORY,
                programs: &[&options.program],
                steps: std::slice::from_ref(&step),
                time_limit: TIME_LIMIT,
            };
            measurement.run(&device, &phase, |_, line| phase.print(line))?;
        }
    }
    Ok(())
}

impl Options {
    fn modes(&self) -> Vec<Mode> {
        let all = self.cost == self.speed;
        let wanted = |mode: &Mode| all || (*mode == Mode::Cost) == self.cost;
        [Mode::Cost, Mode::Speed].into_iter().filter(wanted).collect()
    }
}
