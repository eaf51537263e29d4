// SPDX-License-Identifier: Apache-2.0
//! The flavours of the device: which kernel it has.

use std::fmt;

use clap::ValueEnum;

/// Which kernel a device has; everything else is the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Flavour {
    /// Debian's source with this project's patches and configuration.
    Patched,
    /// Debian's packaged kernel as it is.
    Stock,
    /// As `patched`, with the kernel's checks of itself.
    Debug,
    /// As `patched`, from the newest source that Debian's archive has.
    Newest,
}

impl Flavour {
    /// The flavours of a run that names none.
    pub const DEFAULT: [Self; 2] = [Self::Patched, Self::Stock];

    /// How many times as long as on the default flavours a step may take.
    pub fn slowness(self) -> u32 {
        match self {
            Self::Patched | Self::Stock | Self::Newest => 1,
            Self::Debug => 8,
        }
    }
}

/// Its name on the command line, in results and of its log directory.
impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Patched => "patched",
            Self::Stock => "stock",
            Self::Debug => "debug",
            Self::Newest => "newest",
        })
    }
}
