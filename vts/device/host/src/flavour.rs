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
}

impl Flavour {
    /// Every flavour there is.
    pub const ALL: [Self; 2] = [Self::Patched, Self::Stock];
}

/// Its name on the command line, in results and of its log directory.
impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Patched => "patched",
            Self::Stock => "stock",
        })
    }
}
