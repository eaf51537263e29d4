// SPDX-License-Identifier: Apache-2.0
//! What an importer sees of a buffer, compared with what the buffer should hold.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{ensure, Context, Result};
use rustix::io::Errno;
use vts_uapi::dma_buf_importer::{self, View};

use crate::outcome::skip;

/// The test importer.
pub struct Importer(OwnedFd);

/// A view that shows other bytes than the buffer should hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongView {
    /// The view.
    pub view: View,
    /// The first wrong byte, or the first that the view lacks.
    pub at: usize,
    /// Entries of the scatterlist.
    pub sg_entries: u32,
}

impl Importer {
    /// Opens the importer; skips the test on a kernel without it.
    pub fn open() -> Result<Self> {
        let opened = dma_buf_importer::open_importer();
        opened.map(Self).map_err(|errno| {
            skip(format!(
                "the kernel has no test importer ({}): {errno}",
                dma_buf_importer::IMPORTER_NODE
            ))
        })
    }

    /// The views in which a buffer does not begin with these bytes, of those that the kernel and
    /// the exporter have.
    pub fn wrong_views(&self, buffer: impl AsFd, expected: &[u8]) -> Result<Vec<WrongView>> {
        let (mut wrong, mut views) = (Vec::new(), 0);
        for view in View::ALL {
            // No byte of the buffer is left to chance.
            let mut bytes: Vec<u8> = expected.iter().map(|byte| !byte).collect();
            let seen = match dma_buf_importer::read(&self.0, &buffer, view, 0, &mut bytes) {
                Err(Errno::OPNOTSUPP) => continue,
                seen => seen.with_context(|| format!("importing by {view:?}"))?,
            };
            views += 1;
            let differs = bytes.iter().zip(expected).position(|(seen, expected)| seen != expected);
            if let Some(at) = differs {
                wrong.push(WrongView { view, at, sg_entries: seen.sg_entries });
            }
        }
        ensure!(views > 0, "no view shows the buffer");
        Ok(wrong)
    }

    /// Fails unless a buffer begins with these bytes in every view, and a part of it is the same.
    pub fn expect(&self, buffer: impl AsFd, expected: &[u8]) -> Result<()> {
        let wrong = self.wrong_views(&buffer, expected)?;
        ensure!(wrong.is_empty(), "of {} bytes: {wrong:?}", expected.len());
        let offset = expected.len() / 3;
        for view in View::ALL {
            let mut part = vec![0; expected.len() / 2];
            let seen = dma_buf_importer::read(&self.0, &buffer, view, offset as u64, &mut part);
            let seen = match seen {
                Err(Errno::OPNOTSUPP) => continue,
                seen => seen?,
            };
            ensure!(seen.len_bytes == part.len(), "{view:?}: {seen:?}");
            ensure!(part == expected[offset..offset + part.len()], "{view:?} from byte {offset}");
        }
        Ok(())
    }
}
