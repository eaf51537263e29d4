// SPDX-License-Identifier: Apache-2.0
//! The figures of the public series "Implement dmabuf direct I/O via copy_file_range", v4: one
//! phone, a processor at 1 GHz, 32 buffers of 32 MiB, one file of 1 GiB on F2FS.
//!
//! Source: the cover letter, Message-ID `20250603095245.17478-1-tao.wangtao@honor.com` (loads), and
//! its patch 4/4 (saves).

use vts_bench_record::Direction;

/// A row of a published table, in milliseconds per GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Creating the buffers.
    pub create_ms: u32,
    /// Closing the buffers.
    pub close_ms: u32,
    /// Moving the bytes.
    pub io_ms: u32,
}

const fn row(create_ms: u32, close_ms: u32, io_ms: u32) -> Published {
    Published { create_ms, close_ms, io_ms }
}

const LOAD: [Published; 23] = [
    row(52, 5, 1170),
    row(591, 326, 1281),
    row(1, 323, 2370),
    row(1, 321, 1058),
    row(1, 329, 1577),
    row(1, 327, 2672),
    row(2, 321, 1729),
    row(2, 324, 1528),
    row(1, 325, 1586),
    row(1, 323, 897),
    row(609, 344, 2207),
    row(580, 342, 737),
    row(582, 343, 1270),
    row(573, 344, 2254),
    row(584, 341, 1202),
    row(564, 340, 851),
    row(585, 344, 1244),
    row(578, 341, 581),
    row(585, 328, 1163),
    row(579, 328, 464),
    row(48, 5, 1058),
    row(48, 5, 316),
    row(48, 5, 1173),
];

const SAVE: [Published; 9] = [
    row(50, 5, 1405),
    row(580, 341, 1337),
    row(588, 331, 1820),
    row(585, 333, 662),
    row(577, 329, 1326),
    row(580, 330, 602),
    row(49, 5, 1330),
    row(49, 5, 344),
    row(50, 5, 1442),
];

/// Returns a row of a table, numbered from 1; `None` if the table has no such row.
pub fn find(direction: Direction, row: u32) -> Option<Published> {
    let index = usize::try_from(row).ok()?.checked_sub(1)?;
    match direction {
        Direction::Load => LOAD.get(index).copied(),
        Direction::Save => SAVE.get(index).copied(),
        Direction::None => None,
    }
}

impl Published {
    /// Returns the rate of the I/O, in percent of the rate of the table's first row.
    pub fn percent_of_first(self, direction: Direction) -> Option<f64> {
        find(direction, 1).map(|first| 100.0 * f64::from(first.io_ms) / f64::from(self.io_ms))
    }

    /// Returns the sum of create, I/O and close.
    pub fn total_ms(self) -> u32 {
        self.create_ms + self.io_ms + self.close_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_those_that_were_published() {
        let percent = |direction, row| {
            find(direction, row).unwrap().percent_of_first(direction).unwrap().floor()
        };
        assert_eq!(percent(Direction::Load, 22), 370.0);
        assert_eq!(percent(Direction::Load, 12), 158.0);
        assert_eq!(percent(Direction::Load, 6), 43.0);
        assert_eq!(percent(Direction::Save, 8), 408.0);
        assert_eq!(find(Direction::Load, 12).unwrap().total_ms(), 1659);
        assert_eq!(find(Direction::Load, 22).unwrap().total_ms(), 369);
    }

    #[test]
    fn rows_outside_of_the_tables_are_none() {
        assert_eq!(find(Direction::Load, 0), None);
        assert_eq!(find(Direction::Load, 24), None);
        assert_eq!(find(Direction::None, 1), None);
    }
}
